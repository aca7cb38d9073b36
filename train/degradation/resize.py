"""Resizing by the filters of real software, always about the picture's centre.

The whole extent of the source maps to the whole extent of the result, whatever the sizes, so no
chain of resizes shifts the low-resolution clip against its truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .draw import (
    Range,
    check_range,
    check_steps,
    check_weights,
    draw_kind,
    draw_walk,
)

FILTERS = ("bilinear", "bicubic", "area", "antialiased")
"""`bilinear` and `bicubic` as OpenCV has them, without antialiasing; `area` averages the covered
pixels; `antialiased` is the widened bicubic of Pillow and MATLAB, the field's clean reduction."""

DIRECTIONS = ("up", "down", "keep")

LEAST_SIDE_PX = 8
"""No intermediate picture gets smaller; blocks of 8x8 need it."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Random resizing between two stages; defaults of RealBasicVSR's first round."""

    directions: Mapping[str, float] = field(
        default_factory=lambda: {"up": 0.2, "down": 0.7, "keep": 0.1}
    )
    """Weights of growing, shrinking and keeping the size; second round: 0.3, 0.4, 0.3."""

    scale: Range = (0.15, 1.5)
    """Smallest and largest factor; second round: 0.3 to 1.2."""

    filters: Mapping[str, float] = field(
        default_factory=lambda: {"bilinear": 1.0, "area": 1.0, "bicubic": 1.0}
    )
    """Weight of each of `FILTERS`."""

    scale_step: float = 0.015
    """Largest change of the factor from frame to frame; second round: 0.03."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_weights("resize.directions", self.directions, DIRECTIONS)
        check_weights("resize.filters", self.filters, FILTERS)
        check_range("resize.scale", self.scale, 0.01, 4.0)
        check_steps(scale_step=self.scale_step)


def resize_frames(frames: list[Tensor], resize: Resize, rng: np.random.Generator) -> list[Tensor]:
    """Resize each frame of a clip by a drifting factor, to even sizes.

    Args:
        frames: T planes (3, H, W) float32.
        resize: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes whose sizes may differ from each other.
    """
    method = draw_kind(rng, resize.filters)
    direction = draw_kind(rng, resize.directions)
    low, high = resize.scale
    start = {
        "up": rng.uniform(min(1.0, high), high),
        "down": rng.uniform(low, max(1.0, low)),
        "keep": 1.0,
    }[direction]
    limits = (min(low, start), max(high, start))
    scales = draw_walk(rng, limits, resize.scale_step, len(frames), start=start)
    return [
        resize_planes(
            frame, (_even(frame.shape[-2] * scale), _even(frame.shape[-1] * scale)), method
        )
        for frame, scale in zip(frames, scales, strict=True)
    ]


def resize_planes(planes: Tensor, size: tuple[int, int], method: str) -> Tensor:
    """Resize planes.

    Args:
        planes: (C, H, W) float32.
        size: Height and width of the result.
        method: One of `FILTERS`.

    Returns:
        (C, *size) float32; bicubic filters may overshoot the range.
    """
    if tuple(planes.shape[-2:]) == size:
        return planes
    if method == "area":
        rows, columns = (_area_matrix(*pair) for pair in zip(planes.shape[-2:], size, strict=True))
        return rows @ planes @ columns.T
    return F.interpolate(
        planes[None],
        size=size,
        mode="bilinear" if method == "bilinear" else "bicubic",
        antialias=method == "antialiased",
    )[0]


def _area_matrix(source: int, target: int) -> Tensor:
    """Weights (target, source): the share of each target pixel that a source pixel covers."""
    ratio = source / target
    edges = np.arange(target)[:, None] * ratio
    cells = np.arange(source)[None]
    overlap = np.minimum(edges + ratio, cells + 1) - np.maximum(edges, cells)
    return torch.from_numpy((overlap.clip(0) / ratio).astype(np.float32))


def _even(extent: float) -> int:
    """Round down to an even size (RealBasicVSR's `is_size_even`), as 4:2:0 chroma needs."""
    return max(int(extent) // 2 * 2, LEAST_SIDE_PX)
