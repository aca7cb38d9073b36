"""Reductions as the field's benchmarks make them: MATLAB's `imresize`, and blur with subsampling.

They differ from `resample` at the borders, which MATLAB mirrors, and by rounding.

    low = imresize(image, 1 / 4)  # BI
    low = blur_down(image)  # BD
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..arrays import Doubles, Levels

SUPPORT = 4.0
"""Of the bicubic kernel, pixels."""

BLUR_SIGMA_PX, BLUR_TAPS, BLUR_SCALE = 1.6, 12, 4
"""Of BD: `fspecial('gaussian', ceil(1.6 * 3) * 2 + 2, 1.6)`, every fourth pixel from the second
on, as the scripts of BasicVSR and TTVSR have it. So the kernel's middle is a block's middle."""


def imresize(image: Levels, scale: float, *, as_levels: bool = False) -> Levels:
    """Resize as MATLAB's `imresize(image, scale, 'bicubic')`, antialiased where it reduces.

    Args:
        image: (H, W, C) uint8.
        scale: Of both sides.
        as_levels: Round after the rows, too, as MATLAB does to an image of uint8; without, as the
            field's scripts, which convert to double first.

    Returns:
        (ceil(H scale), ceil(W scale), C) uint8, halves rounded up.
    """
    down, across = (_matrix(side, scale) for side in image.shape[:2])
    rows = np.tensordot(down, image.astype(np.float64), (1, 0))
    if as_levels:
        rows = _rounded(rows).astype(np.float64)
    return _rounded(np.moveaxis(np.tensordot(across, rows, (1, 1)), 0, 1))


def blur_down(image: Levels) -> Levels:
    """Blur by a Gaussian of sigma 1.6 and keep every fourth pixel: the field's BD.

    MATLAB's `imfilter(image, kernel, 'replicate')` rounds once, to levels.

    Args:
        image: (H, W, C) uint8, sides multiples of 4.

    Returns:
        (H / 4, W / 4, C) uint8.
    """
    down, across = (_blur_matrix(side) for side in image.shape[:2])
    rows = np.tensordot(down, image.astype(np.float64), (1, 0))
    return _rounded(np.moveaxis(np.tensordot(across, rows, (1, 1)), 0, 1))


@lru_cache(maxsize=16)
def _matrix(source: int, scale: float) -> Doubles:
    """Weights (ceil(source scale), source) of one direction; each row sums to 1."""
    target = math.ceil(source * scale - 1e-9)
    widen = min(scale, 1.0)
    width = SUPPORT / widen
    centres = (np.arange(target) + 0.5) / scale - 0.5
    first = np.floor(centres - width / 2).astype(int)
    places = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = _keys(np.abs(centres[:, None] - places) * widen)
    weights /= weights.sum(1, keepdims=True)
    mirrored = places % (2 * source)  # a period of the picture and its mirror image
    mirrored = np.where(mirrored >= source, 2 * source - 1 - mirrored, mirrored)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], mirrored), weights)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=16)
def _blur_matrix(source: int) -> Doubles:
    """The same of BD; borders are repeated."""
    offsets = np.arange(BLUR_TAPS) - (BLUR_TAPS - 1) / 2
    weights = np.exp(-np.square(offsets) / (2 * BLUR_SIGMA_PX**2))
    weights /= weights.sum()
    target = source // BLUR_SCALE
    middles = np.arange(target) * BLUR_SCALE + (BLUR_SCALE - 1) / 2
    places = (middles[:, None] + offsets).astype(int).clip(0, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target)[:, None], places), np.broadcast_to(weights, places.shape))
    matrix.flags.writeable = False
    return matrix


def _keys(x: Doubles) -> Doubles:
    """Keys' kernel (1981) with a = -0.5."""
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    kernel: Doubles = np.where(x <= 1, near, np.where(x <= 2, far, 0.0))
    return kernel


def _rounded(values: Doubles) -> Levels:
    levels: Levels = np.floor(values.clip(0, 255) + 0.5).astype(np.uint8)
    return levels
