"""What pictures are like, in the figures that say whether a network was proven on their kind.

Calibration chooses its runs by them, statements say which kinds they hold for, and `adcvsr live`
watches them.

    covered = covered_classes(coverage)  # of a manifest
    leaves = outside("noise", 4.2, covered["noise"])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

CLASS_EDGES: dict[str, tuple[float, ...]] = {
    "luminance": (50.0, 85.0, 120.0, 155.0),
    "motion": (0.5, 2.0, 6.0),
    "noise": (0.6, 1.2, 2.5),
    "compression": (0.12, 0.25, 0.5),
}
"""Borders of the classes of each trait; what they are in: see `ContentTraits`."""

MARGIN = 0.1
"""A trait is outside the classes that were proven where it is beyond their border by this share:
a camera at the border is no other kind of picture."""

NOISE_KERNEL_GAIN = 36.0
"""Sum of the squared weights of the kernel (1, -2, 1) x (1, -2, 1)."""

FLAT_SHARE = 0.25
"""Share of the picture, its flattest blocks, where what is left is noise rather than texture."""

BLOCK_PX = 8

WINDOW_PX = (384, 640)
"""Height and width of the middle of large pictures, which is enough for noise and compression."""

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ContentTraits:
    """One frame in a few figures."""

    luminance: float
    """Mean luma, 16 to 235 levels."""

    motion: float
    """Mean absolute change of a 64x36 luma picture since the frame before, levels."""

    noise: float
    """Standard deviation of noise in flat areas, levels (Immerkaer 1996, flattest blocks)."""

    compression: float
    """How much more the picture changes at the borders of a codec's 8x8 blocks than elsewhere:
    about 0.05 of none, 0.1 to 0.2 of H.264 as cameras make it, over 0.3 at its lowest rates."""


@dataclass(frozen=True)
class Covered:
    """The classes of one trait that were proven, as the range they cover."""

    low: float
    """Where the lowest begins; -inf for the very lowest."""

    high: float
    """Where the highest ends; inf for the very highest."""


def measure_content(plane: Plane, small: Plane, before: Plane | None) -> ContentTraits:
    """Look at a frame.

    Args:
        plane: (H, W) limited-range luma, levels.
        small: (36, 64) luma of the same frame, see `scene_cuts.small_luma`.
        before: Of the frame before; None at the start of a scene.
    """
    top, left = ((side - most) // 2 for side, most in zip(plane.shape, WINDOW_PX, strict=True))
    middle = plane[max(top, 0) :, max(left, 0) :][: WINDOW_PX[0], : WINDOW_PX[1]]
    return ContentTraits(
        luminance=float(plane.mean()),
        motion=0.0 if before is None else float(np.abs(small - before).mean()),
        noise=estimate_noise(middle),
        compression=estimate_compression(middle),
    )


def estimate_noise(plane: Plane) -> float:
    """Estimate the noise of a picture.

    The kernel takes away what is locally linear. Texture is left, so only the blocks with the least
    response count; these are rather the quiet ones of noise, which is why the figure is for
    comparing frames, not an unbiased measurement.

    Args:
        plane: (H, W) luma in levels.

    Returns:
        Standard deviation in levels; 0 for pictures smaller than one block.
    """
    second = np.diff(np.diff(plane, 2, axis=0), 2, axis=1)  # (H - 2, W - 2)
    rows, columns = (side // BLOCK_PX * BLOCK_PX for side in second.shape)
    if not rows or not columns:
        return 0.0
    blocks = np.square(second[:rows, :columns]).reshape(
        rows // BLOCK_PX, BLOCK_PX, columns // BLOCK_PX, BLOCK_PX
    )
    power = np.sort(blocks.mean((1, 3)), axis=None)
    flattest = power[: max(1, int(len(power) * FLAT_SHARE))]
    return float(np.sqrt(flattest.mean() / NOISE_KERNEL_GAIN))


def estimate_compression(plane: Plane) -> float:
    """Estimate how visible a codec's blocks are.

    Args:
        plane: (H, W) luma in levels.

    Returns:
        Mean change across the lines of the 8x8 grid with most of it, over the median of the eight
        possible grids, less 1; mean of both directions. 0 for pictures smaller than two blocks, and
        without any change.
    """
    found = []
    for axis in (0, 1):
        change = np.abs(np.diff(plane, axis=axis)).mean(1 - axis)
        whole = len(change) // BLOCK_PX * BLOCK_PX
        if whole < BLOCK_PX:
            return 0.0
        grids = change[:whole].reshape(-1, BLOCK_PX).mean(0)
        usual = float(np.median(grids))
        found.append(float(grids.max()) / usual - 1 if usual > 0 else 0.0)
    return float(np.mean(found))


def count_classes(name: str, values: Iterable[float]) -> dict[str, list[Any]]:
    """Borders of a trait's classes, and how many of the values fall into each."""
    edges = CLASS_EDGES[name]
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[int(np.searchsorted(edges, value, side="right"))] += 1
    return {"edges": list(edges), "runs": counts}


def covered_classes(coverage: Mapping[str, Any]) -> dict[str, Covered]:
    """Read what a manifest says was covered.

    Args:
        coverage: By trait `edges` and `runs`, as `count_classes` gives them; other entries are
            left out.

    Returns:
        By trait, those with a run in any class.
    """
    found = {}
    for name, entry in coverage.items():
        if name not in CLASS_EDGES or not isinstance(entry, Mapping):
            continue
        borders = [-np.inf, *map(float, entry["edges"]), np.inf]
        taken = [index for index, runs in enumerate(entry["runs"]) if runs]
        if taken:
            found[name] = Covered(borders[taken[0]], borders[taken[-1] + 1])
    return found


def outside(value: float, covered: Covered) -> str | None:
    """Whether a trait is `below` or `above` what was covered; None where it is within."""
    if value > covered.high * (1 + MARGIN):
        return "above"
    return "below" if value < covered.low * (1 - MARGIN) else None
