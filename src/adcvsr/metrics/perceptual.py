"""HaarPSI and GMSD: two cheap measures that follow human judgement better than PSNR and SSIM.

Both see the picture at half its size, as from a usual distance, and full-range luma.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .planes import Plane, cut_border, full_range, halve, luma, same_shape

HAARPSI_C = 30.0
HAARPSI_ALPHA = 4.2
"""Fitted by the authors to four databases of judged pictures (Reisenhofer et al. 2018)."""

GMSD_T = 170.0
"""For values in [0, 255] (Xue et al. 2014)."""

PERCEPTUAL_LEAST_PX = 16
"""Least side: after halving, the widest Haar filter has 8 taps."""


def haarpsi(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Haar wavelet perceptual similarity of two planes, in [0, 1], 1 when equal.

    The grey-level form of Reisenhofer et al. (2018): agreement of the two finest Haar scales,
    weighted by the third, for horizontal and vertical detail.

    Args:
        output: (H, W) values in [0, 255]; at least 16x16 after the border.
        truth: The same shape.
        border: Pixels left out on each side.

    Raises:
        ValueError: The shapes differ, or a side is under `PERCEPTUAL_LEAST_PX`.
    """
    x, y = _halves(output, truth, border)
    x, y = (np.pad(plane, ((3, 4), (3, 4))) for plane in (x, y))
    weighted, weights = 0.0, 0.0
    for turned_x, turned_y in ((x, y), (x.T, y.T)):
        local = _haar_agreement(turned_x, turned_y, 2) + _haar_agreement(turned_x, turned_y, 4)
        local *= np.float32(-HAARPSI_ALPHA / 2)
        weight = np.maximum(_haar(turned_x, 8), _haar(turned_y, 8))
        weights += float(weight.sum(dtype=np.float64))
        # weight * sigmoid(alpha * local)
        np.exp(local, out=local)
        local += np.float32(1)
        weight /= local
        weighted += float(weight.sum(dtype=np.float64))
    if weights == 0:
        return 1.0  # both black all over
    mean = weighted / weights
    return (math.log(mean / (1 - mean)) / HAARPSI_ALPHA) ** 2


def haarpsi_y(output: Levels, truth: Levels, border: int = 0) -> float:
    """`haarpsi` on full-range luma of two (H, W, 3) uint8 RGB images."""
    return haarpsi(full_range(luma(output)), full_range(luma(truth)), border)


def gmsd(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Gradient magnitude similarity deviation of two planes (Xue et al. 2014), 0 when equal.

    The spread, over the picture, of how well the gradients agree: error that is concentrated
    somewhere counts more than the same error everywhere.

    Args:
        output: (H, W) values in [0, 255]; at least 16x16 after the border.
        truth: The same shape.
        border: Pixels left out on each side.

    Raises:
        ValueError: The shapes differ, or a side is under `PERCEPTUAL_LEAST_PX`.
    """
    x, y = _halves(output, truth, border)
    agreement = _agreement(_gradient(x), _gradient(y), GMSD_T)
    return float(agreement.std(dtype=np.float64))


def gmsd_y(output: Levels, truth: Levels, border: int = 0) -> float:
    """`gmsd` on full-range luma of two (H, W, 3) uint8 RGB images."""
    return gmsd(full_range(luma(output)), full_range(luma(truth)), border)


def _halves(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int) -> tuple[Plane, Plane]:
    same_shape(output, truth)
    x, y = (cut_border(plane, border).astype(np.float32) for plane in (output, truth))
    if min(x.shape) < PERCEPTUAL_LEAST_PX:
        raise ValueError(
            f"{x.shape[1]}x{x.shape[0]} pixels, needs at least {PERCEPTUAL_LEAST_PX} a side"
        )
    return halve(x), halve(y)


def _agreement(x: Plane, y: Plane, constant: float) -> Plane:
    """(2xy + c) / (x² + y² + c) of two planes of magnitudes: 1 where equal."""
    product = x * y
    product *= np.float32(2)
    product += np.float32(constant)
    squares = np.square(x)
    squares += np.square(y)
    squares += np.float32(constant)
    product /= squares
    return product


def _haar_agreement(x: Plane, y: Plane, size: int) -> Plane:
    return _agreement(_haar(x, size), _haar(y, size), HAARPSI_C)


def _haar(padded: Plane, size: int) -> Plane:
    """Haar detail across rows: |lower half - upper half| of size x size windows, over `size`.

    Args:
        padded: (H + 7, W + 7), the plane with 3 zeros before and 4 after on both axes.
        size: 2, 4 or 8.

    Returns:
        (H, W), aligned as MATLAB's `conv2(..., 'same')` with kernels of even size.
    """
    start, half = 4 - size // 2, size // 2
    height, width = padded.shape[0] - 7, padded.shape[1] - 7
    window = padded[start : start + height + size - 1, start : start + width + size - 1]
    boxes = _running_sum(_running_sum(window, half).T, size).T
    detail: Plane = np.abs(boxes[half:] - boxes[:-half])
    detail /= np.float32(size)
    return detail


def _running_sum(plane: Plane, count: int) -> Plane:
    """Sums of `count` (a power of two) consecutive rows."""
    width = 1
    while width < count:
        plane = plane[width:] + plane[:-width]
        width *= 2
    return plane


def _gradient(plane: Plane) -> Plane:
    """Magnitude of the Prewitt gradient (thirds), zeros beyond the border."""
    padded = np.pad(plane, 1)
    across, down = padded[:, 2:] - padded[:, :-2], padded[2:] - padded[:-2]
    x = across[2:] + across[1:-1] + across[:-2]
    y = down[:, 2:] + down[:, 1:-1] + down[:, :-2]
    magnitude: Plane = np.sqrt(np.square(x) + np.square(y))
    magnitude /= np.float32(3)
    return magnitude
