"""A drawn, moving test clip: real enough to upscale, free of anyone's rights, made in memory.

Used by `adcvsr demo`, golden vectors and tests.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

OVERSAMPLE = 2
"""Drawn this much larger and averaged down, so that edges are smooth."""


def draw_clip(frames: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw a clip with what super-resolution has to cope with: edges, texture, text-like strokes.

    A shaded background with a drifting zone plate, a turning star, a checkerboard in perspective
    drift, thin lines at shallow angles, and stripes of falling width, all at sub-pixel speed.

    Args:
        frames: T.
        height: In pixels.
        width: In pixels.

    Returns:
        (T, height, width, 3) uint8 RGB; the same for the same arguments.
    """
    y, x = np.mgrid[0 : height * OVERSAMPLE, 0 : width * OVERSAMPLE].astype(np.float32)
    # One unit is the clip's height; the origin is its centre.
    x = (x / OVERSAMPLE - width / 2) / height
    y = (y / OVERSAMPLE - height / 2) / height
    return np.stack([_draw_frame(x, y, index / 25.0) for index in range(frames)])


def _draw_frame(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], seconds: float
) -> npt.NDArray[np.uint8]:
    colour = np.empty((*x.shape, 3), np.float32)
    colour[..., 0] = 0.45 + 0.25 * y
    colour[..., 1] = 0.50 + 0.15 * x
    colour[..., 2] = 0.62 - 0.25 * y

    cx, cy = x + 0.42 - 0.05 * seconds, y + 0.12
    radius2 = cx**2 + cy**2
    rings = 0.5 + 0.4 * np.cos(190 * radius2 - 3 * seconds)
    _paint(colour, rings[..., None] * np.array([1.0, 0.95, 0.85], np.float32), radius2 < 0.28**2)

    cx, cy = x - 0.38, y + 0.15
    angle = np.arctan2(cy, cx) + 0.8 * seconds
    star = np.hypot(cx, cy) < 0.17 + 0.07 * np.cos(7 * angle)
    _paint(colour, np.array([0.85, 0.25, 0.15], np.float32), star)
    _paint(colour, np.array([0.98, 0.85, 0.30], np.float32), np.hypot(cx, cy) < 0.07)

    u, v = (x + 0.15 * seconds) / (1.3 - y), 1 / (1.3 - y)
    checks = (np.floor(u * 9) + np.floor(v * 10)) % 2
    _paint(colour, 0.15 + 0.7 * checks[..., None] * np.ones(3, np.float32), y > 0.27)

    for k in range(5):
        offset = y + 0.02 - 0.055 * k - (0.02 + 0.03 * k) * (x - 0.1 * seconds)
        line = (np.abs(offset) < 0.0035) & (x > -0.1)
        _paint(colour, np.array([0.08, 0.08, 0.12], np.float32), line)
    chirp = np.sin(2 * np.pi * (12 * (x - 0.06 * seconds) + 6 * (x - 0.06 * seconds) ** 2)) > 0
    band = (y > 0.17) & (y < 0.25)
    _paint(colour, chirp[..., None] * np.array([0.95, 0.97, 1.0], np.float32), band)

    height, width = x.shape[0] // OVERSAMPLE, x.shape[1] // OVERSAMPLE
    smooth = colour.reshape(height, OVERSAMPLE, width, OVERSAMPLE, 3).mean((1, 3))
    levels: npt.NDArray[np.uint8] = (smooth * 255 + 0.5).clip(0, 255).astype(np.uint8)
    return levels


def _paint(
    colour: npt.NDArray[np.float32],
    paint: npt.NDArray[np.floating[Any]] | npt.NDArray[np.bool_],
    where: npt.NDArray[np.bool_],
) -> None:
    """Set the pixels of a mask to a colour or to an image's pixels."""
    np.copyto(colour, paint, where=where[..., None])
