"""PSNR and SSIM, on RGB or on luma as super-resolution papers report them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]

PEAK = 255.0
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
"""An 11x11 Gaussian window, sigma 1.5 (Wang et al. 2004)."""
SSIM_C1 = (0.01 * PEAK) ** 2
SSIM_C2 = (0.03 * PEAK) ** 2


def luma(image: Image) -> npt.NDArray[np.float64]:
    """BT.601 limited-range luma of RGB, the Y of the super-resolution literature.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) float64 in [16, 235], not rounded.
    """
    weights = np.array([65.481, 128.553, 24.966]) / 255.0
    result: npt.NDArray[np.float64] = image.astype(np.float64) @ weights + 16.0
    return result


def psnr(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Peak signal-to-noise ratio in dB against a peak of 255; infinite when equal.

    Args:
        output: Array of values in [0, 255], any shape.
        truth: Array of the same shape.
        border: Pixels left out on each side of the first two axes.

    Raises:
        ValueError: The shapes differ.
    """
    output, truth = _pair(output, truth, border)
    error = float(np.mean((output - truth) ** 2))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 / error)


def psnr_y(output: Image, truth: Image, border: int = 0) -> float:
    """`psnr` on luma of two (H, W, 3) uint8 RGB images."""
    return psnr(luma(output), luma(truth), border)


def ssim(output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int = 0) -> float:
    """Mean structural similarity of two planes (Wang et al. 2004), valid windows only.

    Args:
        output: (H, W) values in [0, 255]; at least 11x11 after the border.
        truth: The same shape.
        border: Pixels left out on each side.

    Raises:
        ValueError: The shapes differ.
    """
    x, y = _pair(output, truth, border)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    score = ((2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mean_x**2 + mean_y**2 + SSIM_C1) * (var_x + var_y + SSIM_C2)
    )
    return float(score.mean())


def ssim_y(output: Image, truth: Image, border: int = 0) -> float:
    """`ssim` on luma of two (H, W, 3) uint8 RGB images."""
    return ssim(luma(output), luma(truth), border)


def _pair(
    output: npt.NDArray[Any], truth: npt.NDArray[Any], border: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    if output.shape != truth.shape:
        raise ValueError(f"shapes differ: {output.shape} against {truth.shape}")
    inner = slice(border, -border or None)
    return output[inner, inner].astype(np.float64), truth[inner, inner].astype(np.float64)


def _blur(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Gaussian window over valid positions, separable."""
    offsets = np.arange(-SSIM_RADIUS, SSIM_RADIUS + 1)
    kernel = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(plane, len(kernel), axis=axis)
        plane = windows @ kernel
    return plane
