"""Bicubic and Lanczos resizing with antialiasing; bicubic is how low-resolution inputs are made.

Kernels are widened by the reduction factor, cut and renormalised at the borders: what Pillow's
BICUBIC and LANCZOS and MATLAB's imresize compute, up to rounding.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .planes import Plane, band_columns, band_rows

Kernel = Literal["bicubic", "lanczos"]

KEYS_A = -0.5
"""Keys' free parameter; -0.5 makes the kernel third-order accurate (Keys 1981)."""

LANCZOS_LOBES = 3
"""Lobes of the sinc on each side."""


def resize_bicubic(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize an image.

    Args:
        image: (H, W, C) uint8.
        height: Output height in pixels.
        width: Output width in pixels.

    Returns:
        (height, width, C) uint8, rounded half up.
    """
    return _resize(image, height, width, "bicubic")


def resize_lanczos(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize an image with a Lanczos kernel of three lobes; otherwise as `resize_bicubic`."""
    return _resize(image, height, width, "lanczos")


def limit_size(image: npt.NDArray[np.uint8], max_side_px: int) -> npt.NDArray[np.uint8]:
    """Reduce an image (H, W, C) to the longest side allowed; a smaller one is returned itself.

    Reducing camera footage removes much of its lens and codec blur, which makes it a better truth.
    """
    ratio = max_side_px / max(image.shape[:2])
    if ratio >= 1:
        return image
    return resize_bicubic(image, round(image.shape[0] * ratio), round(image.shape[1] * ratio))


@lru_cache(maxsize=8)  # an evaluation uses six
def resize_matrix(source: int, target: int, kernel: Kernel = "bicubic") -> Plane:
    """Weights (target, source) of a 1D resize, read-only; each row sums to 1."""
    ratio = source / target
    widen = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / widen
    weights = _keys(distance) if kernel == "bicubic" else _lanczos(distance)
    normalised: Plane = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    normalised.flags.writeable = False
    return normalised


def _resize(
    image: npt.NDArray[np.uint8], height: int, width: int, kernel: Kernel
) -> npt.NDArray[np.uint8]:
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)  # (C, H, W)
    planes = band_rows(resize_matrix(image.shape[0], height, kernel), planes)
    planes = band_columns(resize_matrix(image.shape[1], width, kernel), planes)
    planes += np.float32(0.5)
    levels = np.clip(planes, 0, 255, out=planes).astype(np.uint8)
    return np.ascontiguousarray(levels.transpose(1, 2, 0))


def _keys(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    a = KEYS_A
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    result: npt.NDArray[Any] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return result


def _lanczos(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    result: npt.NDArray[Any] = np.where(
        x < LANCZOS_LOBES, np.sinc(x) * np.sinc(x / LANCZOS_LOBES), 0.0
    )
    return result
