"""PSNR, SSIM and MS-SSIM on planes, and on luma as super-resolution papers report them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .planes import Plane, cut_border, filter_valid, halve, luma, same_shape

PEAK = 255.0
MOST_DB = 99.0
"""What equal pictures count in means, limits and JSON, and the most any others do: 99 dB is an
error of 0.003 levels."""

SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
"""An 11x11 Gaussian window, sigma 1.5 (Wang et al. 2004)."""
SSIM_C1 = (0.01 * PEAK) ** 2
SSIM_C2 = (0.03 * PEAK) ** 2

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang, Simoncelli and Bovik 2003, section 3.2)."""

SSIM_LEAST_PX = 2 * SSIM_RADIUS + 1
MS_SSIM_LEAST_PX = 2 * SSIM_RADIUS * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1
"""Least side: the window must fit the coarsest scale."""


def psnr(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB against a peak of 255; infinite when equal.

    Args:
        output: Array of values in [0, 255], any shape.
        truth: Array of the same shape.
        border: Pixels left out on each side of the first two axes.

    Raises:
        ValueError: The shapes differ.
    """
    same_shape(output, truth)
    difference = cut_border(output, border).astype(np.float32) - cut_border(truth, border)
    error = float(np.mean(np.square(difference), dtype=np.float64))
    return psnr_of(error)


def psnr_of(mean_square: float) -> float:
    """PSNR in dB of a mean squared error in levels; infinite where there is none."""
    return math.inf if mean_square <= 0 else 10 * math.log10(PEAK**2 / mean_square)


def finite_db(value: float) -> float:
    """A PSNR or another ratio in dB, at most `MOST_DB`: infinity has no mean and no JSON."""
    return min(value, MOST_DB)


def psnr_y(output: Levels, truth: Levels, border: int = 0) -> float:
    """`psnr` on luma of two (H, W, 3) uint8 RGB images."""
    return psnr(luma(output), luma(truth), border)


def ssim(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Mean structural similarity of two planes (Wang et al. 2004), valid windows only.

    Args:
        output: (H, W) values in [0, 255]; at least 11x11 after the border.
        truth: The same shape.
        border: Pixels left out on each side.

    Raises:
        ValueError: The shapes differ, or a side is under `SSIM_LEAST_PX`.
    """
    total, difference = _sum_and_difference(output, truth, border, SSIM_LEAST_PX)
    return _similarity(total, difference)[0]


def ssim_y(output: Levels, truth: Levels, border: int = 0) -> float:
    """`ssim` on luma of two (H, W, 3) uint8 RGB images."""
    return ssim(luma(output), luma(truth), border)


def ssim_rgb(output: Levels, truth: Levels) -> float:
    """Mean of `ssim` over the channels of two (H, W, 3) uint8 RGB images, as REDS is measured."""
    return sum(ssim(output[..., each], truth[..., each]) for each in range(3)) / 3


def ms_ssim(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Multi-scale structural similarity of two planes (Wang, Simoncelli and Bovik 2003).

    Five scales by means of 2x2 blocks; contrast and structure at every scale, luminance at the
    coarsest. A scale whose mean is negative counts as 0, as in the common implementations.

    Args:
        output: (H, W) values in [0, 255]; at least 161x161 after the border.
        truth: The same shape.
        border: Pixels left out on each side.

    Raises:
        ValueError: The shapes differ, or a side is under `MS_SSIM_LEAST_PX`.
    """
    total, difference = _sum_and_difference(output, truth, border, MS_SSIM_LEAST_PX)
    result = 1.0
    for weight in MS_SSIM_WEIGHTS[:-1]:
        result *= max(_similarity(total, difference)[1], 0.0) ** weight
        total, difference = halve(total), halve(difference)
    return float(result * max(_similarity(total, difference)[0], 0.0) ** MS_SSIM_WEIGHTS[-1])


def ms_ssim_y(output: Levels, truth: Levels, border: int = 0) -> float:
    """`ms_ssim` on luma of two (H, W, 3) uint8 RGB images."""
    return ms_ssim(luma(output), luma(truth), border)


def _sum_and_difference(
    output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int, least_px: int
) -> tuple[Plane, Plane]:
    same_shape(output, truth)
    x = cut_border(output, border).astype(np.float32)
    y = cut_border(truth, border).astype(np.float32)
    if min(x.shape) < least_px:
        raise ValueError(f"{x.shape[1]}x{x.shape[0]} pixels, needs at least {least_px} a side")
    return x + y, x - y


def _similarity(total: Plane, difference: Plane) -> tuple[float, float]:
    """Mean SSIM, and mean of its contrast and structure term alone.

    With s = x + y and d = x - y the definition needs four filtered planes instead of five:
    2xy = (s² - d²) / 2 and x² + y² = (s² + d²) / 2, for means as for variances.
    """
    mean_s, var_s = _moments(total)
    mean_d, var_d = _moments(difference)
    contrast = _ratio(var_s, var_d, SSIM_C2)
    score = _ratio(np.square(mean_s), np.square(mean_d), SSIM_C1)
    score *= contrast
    return float(score.mean(dtype=np.float64)), float(contrast.mean(dtype=np.float64))


def _moments(plane: Plane) -> tuple[Plane, Plane]:
    """Windows' means and variances, taken about the plane's mean: float32 is enough then."""
    centre = plane.mean()
    centred = plane - centre
    mean = _blur(centred)
    variance = _blur(np.square(centred))
    variance -= np.square(mean)
    mean += centre
    return mean, variance


def _ratio(s: Plane, d: Plane, constant: float) -> Plane:
    """(2xy + c) / (x² + y² + c) in terms of s and d, as 1 - what is lost: exact where little is."""
    lost: Plane = d / (s + d + np.float32(2 * constant))
    lost *= np.float32(-2)
    lost += np.float32(1)
    return lost


def _blur(plane: Plane) -> Plane:
    """Gaussian window over valid positions."""
    kernel = np.exp(-(np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1) ** 2) / (2 * SSIM_SIGMA**2))
    return filter_valid(plane, kernel / kernel.sum())
