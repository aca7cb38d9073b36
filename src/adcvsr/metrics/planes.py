"""What the measures share: luma planes, halving, separable filters. float32 throughout.

Filters run as products with small banded matrices: BLAS does a row of eleven taps six times faster
than a sum of shifted copies.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Levels

Plane = npt.NDArray[np.float32]

LUMA_BLACK, LUMA_SPAN = 16.0, 219.0
"""BT.601 limited range: black at 16, white at 235."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""BT.601."""

BAND = 16
"""Outputs a product; 8 to 64 measure alike."""

SERIAL_PRODUCT = 1 << 18
"""Multiply-adds from which OpenBLAS starts threads. Waking them costs more than such a product, and
where processors are shared they spin for each other."""


def luma(image: Levels) -> Plane:
    """BT.601 limited-range luma of RGB, the Y of the super-resolution literature.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float32 in [16, 235], not rounded.
    """
    weights = np.array(LUMA_WEIGHTS, np.float32) * np.float32(LUMA_SPAN / 255)
    plane: Plane = image.astype(np.float32) @ weights
    plane += np.float32(LUMA_BLACK)
    return plane


CHROMA_WEIGHTS = ((-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
"""Cb and Cr of BT.601 limited range, of RGB in [0, 1]."""


def chroma_420(image: Levels) -> Plane:
    """BT.601 limited-range Cb and Cr of RGB, means of 2x2 pixels.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (2, (H + 1) / 2, (W + 1) / 2) float32 in [16, 240], not rounded.
    """
    weights = np.array(CHROMA_WEIGHTS, np.float32).T / np.float32(255)
    planes: Plane = np.moveaxis(halve(image.astype(np.float32) @ weights), -1, 0)
    planes += np.float32(128)
    return planes


def full_range(plane: Plane) -> Plane:
    """Stretch limited-range luma [16, 235] to [0, 255]."""
    stretched: Plane = (plane - np.float32(LUMA_BLACK)) * np.float32(255 / LUMA_SPAN)
    return stretched


def cut_border(plane: npt.NDArray[Any], border: int) -> npt.NDArray[Any]:
    """Leave `border` pixels out on each side of the first two axes."""
    inner = slice(border, -border or None)
    return plane[inner, inner]


def same_shape(output: npt.NDArray[Any], truth: npt.NDArray[Any]) -> None:
    """Check that two pictures can be compared.

    Raises:
        ValueError: They differ in shape.
    """
    if output.shape != truth.shape:
        raise ValueError(f"shapes differ: {output.shape} against {truth.shape}")


def halve(plane: Plane) -> Plane:
    """Means of 2x2 blocks of (H, W) or (H, W, C); an odd last row or column is repeated first."""
    odd = [(0, plane.shape[axis] % 2 if axis < 2 else 0) for axis in range(plane.ndim)]
    if any(after for _, after in odd):
        plane = np.pad(plane, odd, mode="edge")
    rows = plane[::2] + plane[1::2]
    half: Plane = rows[:, ::2] + rows[:, 1::2]
    half *= np.float32(0.25)
    return half


def filter_valid(plane: Plane, kernel: npt.NDArray[np.float64]) -> Plane:
    """Correlate (H, W) with an odd symmetric kernel along both axes, valid positions only.

    Args:
        plane: (H, W), each side at least the kernel's length k.
        kernel: (k,).

    Returns:
        (H - k + 1, W - k + 1).
    """
    down = band_rows(_valid_matrix(plane.shape[0], kernel), plane)
    return band_columns(_valid_matrix(plane.shape[1], kernel), down)


def filter_same(
    plane: Plane,
    down: npt.NDArray[np.float64],
    across: npt.NDArray[np.float64],
    *,
    repeat_edges: bool,
) -> Plane:
    """Correlate (H, W) with an odd kernel along each axis, keeping the size.

    Args:
        plane: (H, W).
        down: (k,), along the first axis.
        across: (k,), along the second.
        repeat_edges: What lies beyond the picture is its edge, or else 0.
    """
    rows = band_rows(_same_matrix(plane.shape[0], tuple(down), repeat_edges), plane)
    return band_columns(_same_matrix(plane.shape[1], tuple(across), repeat_edges), rows)


def require_side(output: Levels, truth: Levels, least_px: int) -> None:
    """Check that two pictures can be compared and are large enough.

    Raises:
        ValueError: They differ in shape, or a side is too small.
    """
    same_shape(output, truth)
    height, width = output.shape[:2]
    if min(height, width) < least_px:
        raise ValueError(f"{width}x{height} pixels, needs {least_px} a side")


def as_levels(plane: Plane) -> Levels:
    """Round to uint8 levels."""
    levels: Levels = (plane + np.float32(0.5)).clip(0, 255).astype(np.uint8)
    return levels


def band_rows(matrix: Plane, planes: Plane) -> Plane:
    """Apply a banded (M, H) to the rows of (..., H, W), leaving out what is zero: (..., M, W)."""
    out = np.empty((*planes.shape[:-2], matrix.shape[0], planes.shape[-1]), np.float32)
    for block, band, step in _bands(matrix):
        factor = np.ascontiguousarray(matrix[block, band])
        for start in range(0, planes.shape[-1], step):
            part = slice(start, start + step)
            np.matmul(factor, planes[..., band, part], out=out[..., block, part])
    return out


def band_columns(matrix: Plane, planes: Plane) -> Plane:
    """Apply a banded (M, W) to the columns of (..., H, W), as `band_rows`: (..., H, M)."""
    out = np.empty((*planes.shape[:-1], matrix.shape[0]), np.float32)
    for block, band, step in _bands(matrix):
        factor = np.ascontiguousarray(matrix[block, band].T)
        for start in range(0, planes.shape[-2], step):
            part = slice(start, start + step)
            np.matmul(planes[..., part, band], factor, out=out[..., part, block])
    return out


def _bands(matrix: Plane) -> Iterator[tuple[slice, slice, int]]:
    """Blocks of rows, the columns outside which they are zero, and the other side of a product."""
    for start in range(0, matrix.shape[0], BAND):
        block = slice(start, start + BAND)
        used = np.flatnonzero(matrix[block].any(axis=0))
        band = slice(int(used[0]), int(used[-1]) + 1)
        yield block, band, max(SERIAL_PRODUCT // (BAND * (band.stop - band.start)), 1)


@lru_cache(maxsize=64)
def _same_matrix(extent: int, taps: tuple[float, ...], repeat_edges: bool) -> Plane:
    """The filter of `filter_same` along one axis as a matrix (extent, extent)."""
    radius = len(taps) // 2
    matrix = np.zeros((extent, extent))
    index = np.arange(extent)
    for offset, tap in enumerate(taps):
        source = index + offset - radius
        inside = (source >= 0) & (source < extent)
        rows = index if repeat_edges else index[inside]
        columns = source.clip(0, extent - 1) if repeat_edges else source[inside]
        np.add.at(matrix, (rows, columns), tap)
    return matrix.astype(np.float32)


def _valid_matrix(extent: int, kernel: npt.NDArray[np.float64]) -> Plane:
    """The filter as a matrix (extent - k + 1, extent)."""
    count = extent - len(kernel) + 1
    matrix = np.zeros((count, extent), np.float32)
    index = np.arange(count)
    for offset, weight in enumerate(kernel):
        matrix[index, index + offset] = weight
    return matrix
