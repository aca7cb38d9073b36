"""Measures of real clips, which have no truth: what is left of their faults, and what was added.

Each is held against bicubic interpolation of the same input, never taken alone: an edge may be
sharp because it is a staircase. Faults of the input are looked for at the input's size, where a
codec's blocks are 8 pixels and a camera's noise differs from pixel to pixel; an enlarged picture is
reduced to it by means of areas.
"""

from __future__ import annotations

import numpy as np

from ..config import nearest
from ..errors import ConfigError
from .catalogue import METRICS, Metric, UsableMetrics, names_of
from .planes import Plane, filter_same

BLOCK_PX = 8
"""Of MPEG and JPEG, in pixels of the input; H.264's are 4 and 8, its macroblocks 16."""

EDGES = 0.05
"""Share of the pixels that count as edges: those with the steepest slopes."""

FLAT = 0.25
"""Share of the blocks that noise is measured in: those with the least in them."""

STATIC_LEVELS = 2.0
"""Mean change of a neighbourhood below which it stands still, in levels."""

MOVING_LEVELS = 16.0
"""Mean change of its pixels, whatever their sign, from which it does not."""

STATIC_RADIUS = 2
"""Of that neighbourhood, in pixels of the input: noise cancels out in 5x5 of them."""

LEAST_PX = 64
"""Least side of the enlarged picture."""

NO_REFERENCE = {
    metric.name: metric
    for metric in (
        Metric(
            name="sharpness",
            title="sharpness",
            unit="levels/px",
            digits=2,
            higher_is_better=True,
            least_px=LEAST_PX,
        ),
        Metric(
            name="blockiness",
            title="blockiness",
            digits=3,
            higher_is_better=False,
            least_px=LEAST_PX,
        ),
        Metric(
            name="noise",
            title="noise",
            unit="levels",
            digits=2,
            higher_is_better=False,
            least_px=LEAST_PX,
        ),
        Metric(
            name="flicker",
            title="flicker",
            unit="levels",
            digits=3,
            higher_is_better=False,
            temporal=True,
            least_px=LEAST_PX,
        ),
        METRICS["delta_e"],
    )
}
"""What is measured without a truth; `delta_e` against bicubic interpolation of the input."""


def usable_without_truth(text: str) -> UsableMetrics:
    """Choose measures that need no truth.

    Args:
        text: Names with commas; `default` and `all` are all of them.

    Raises:
        ConfigError: A name is unknown, or its measure needs a truth.
    """
    chosen: set[str] = set()
    for name in names_of(text):
        if name in ("default", "all"):
            chosen |= NO_REFERENCE.keys()
        elif name in NO_REFERENCE:
            chosen.add(name)
        elif name in METRICS:
            raise ConfigError(
                f"'{name}' compares with a truth, and --no-reference has none; it measures "
                f"{', '.join(NO_REFERENCE)}"
            )
        else:
            raise ConfigError(f"no metric '{name}'{nearest(name, dict(NO_REFERENCE))}")
    return UsableMetrics(tuple(m for name, m in NO_REFERENCE.items() if name in chosen))


def sharpness(luma: Plane) -> float:
    """Mean slope of the steepest edges, in levels a pixel.

    Args:
        luma: (H, W) full range.
    """
    down, across = np.gradient(luma)
    slope = np.hypot(down, across).ravel()
    count = max(int(EDGES * slope.size), 1)
    return float(np.partition(slope, slope.size - count)[-count:].mean())


def reduce_areas(plane: Plane, factor: int) -> Plane:
    """Means of factor x factor pixels; rows and columns that fill no area are left out."""
    height, width = (side // factor for side in plane.shape)
    cut = plane[: height * factor, : width * factor]
    reduced: Plane = cut.reshape(height, factor, width, factor).mean((1, 3), dtype=np.float32)
    return reduced


def blockiness(plane: Plane) -> float:
    """How much higher steps are at the borders of the codec's blocks than between them.

    A step is what is left of the difference of two neighbours beside those before and after it, so
    that slopes count for nothing. 1 is a picture without blocks.

    Args:
        plane: (h, w) luma at the input's size, from its first pixel on.
    """
    found = []
    for lines in (plane, plane.T):
        differences = np.diff(lines, axis=1)
        steps = np.abs(differences[:, 1:-1] - (differences[:, :-2] + differences[:, 2:]) / 2)
        means = steps.mean(0)
        # Step i is between pixels i + 1 and i + 2.
        at_border = (np.arange(len(means)) + 2) % BLOCK_PX == 0
        found.append(float(means[at_border].mean()) / max(float(means[~at_border].mean()), 1e-3))
    return sum(found) / 2


def noise_level(plane: Plane, flat: Plane) -> float:
    """Standard deviation of the noise in flat parts (Immerkaer 1996), in levels.

    Args:
        plane: (h, w) luma at the input's size.
        flat: Luma of the same size that says where it is flat, the same for all that are compared.
    """
    corner = plane[:-2, :-2] + plane[:-2, 2:] + plane[2:, :-2] + plane[2:, 2:]
    side = plane[:-2, 1:-1] + plane[2:, 1:-1] + plane[1:-1, :-2] + plane[1:-1, 2:]
    response = np.abs(corner - 2 * side + 4 * plane[1:-1, 1:-1])
    blocks = reduce_areas(response, BLOCK_PX)
    smooth = reduce_areas(flat[1:-1, 1:-1], 2)
    height, width = (extent * BLOCK_PX // 2 for extent in blocks.shape)
    parts = smooth[:height, :width].reshape(blocks.shape[0], BLOCK_PX // 2, -1, BLOCK_PX // 2)
    busy = parts.std((1, 3))
    chosen = busy <= np.quantile(busy, FLAT)
    return float(np.sqrt(np.pi / 2) / 6 * blocks[chosen].mean())


def flicker(now: Plane, before: Plane, still_now: Plane, still_before: Plane) -> float | None:
    """Mean change from frame to frame where the input stands still, in levels.

    Args:
        now: (H, W) luma of the enlarged frame.
        before: Of the one before.
        still_now: (h, w) of the input's frame.
        still_before: Of the input's frame before.

    Returns:
        None where nothing stands still.
    """
    change = still_now - still_before
    box = np.full(2 * STATIC_RADIUS + 1, 1 / (2 * STATIC_RADIUS + 1))
    mean, most = (filter_same(x, box, box, repeat_edges=True) for x in (change, np.abs(change)))
    static = (np.abs(mean) <= STATIC_LEVELS) & (most <= MOVING_LEVELS)
    if not static.any():
        return None
    factor = now.shape[0] // static.shape[0]
    changed = reduce_areas(np.abs(now - before), factor)[: static.shape[0], : static.shape[1]]
    return float(changed[static].mean())
