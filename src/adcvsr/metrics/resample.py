"""Bicubic resizing with antialiasing, the field's common way to make low-resolution inputs.

Keys' kernel with a = -0.5, widened by the reduction factor, cut and renormalised at the borders:
what Pillow's BICUBIC and MATLAB's imresize compute, up to rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

KEYS_A = -0.5
"""Keys' free parameter; -0.5 makes the kernel third-order accurate (Keys 1981)."""


def resize_bicubic(image: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Resize an image.

    Args:
        image: (H, W, C) uint8.
        height: Output height in pixels.
        width: Output width in pixels.

    Returns:
        (height, width, C) uint8, rounded half up.
    """
    vertical = resize_matrix(image.shape[0], height)
    horizontal = resize_matrix(image.shape[1], width)
    planes = image.astype(np.float32).transpose(2, 0, 1)  # (C, H, W)
    resized = vertical @ planes @ horizontal.T
    levels: npt.NDArray[np.uint8] = (resized.transpose(1, 2, 0) + 0.5).clip(0, 255).astype(np.uint8)
    return levels


def limit_size(image: npt.NDArray[np.uint8], max_side_px: int) -> npt.NDArray[np.uint8]:
    """Reduce an image (H, W, C) to the longest side allowed; a smaller one is returned itself.

    Reducing camera footage removes much of its lens and codec blur, which makes it a better truth.
    """
    ratio = max_side_px / max(image.shape[:2])
    if ratio >= 1:
        return image
    return resize_bicubic(image, round(image.shape[0] * ratio), round(image.shape[1] * ratio))


def resize_matrix(source: int, target: int) -> npt.NDArray[np.float32]:
    """Weights (target, source) of a 1D resize; each row sums to 1."""
    ratio = source / target
    widen = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio - 0.5
    distance = (np.arange(source)[None, :] - centres[:, None]) / widen
    weights = _keys(np.abs(distance))
    normalised: npt.NDArray[np.float32] = (weights / weights.sum(1, keepdims=True)).astype(
        np.float32
    )
    return normalised


def _keys(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    a = KEYS_A
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    result: npt.NDArray[Any] = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    return result
