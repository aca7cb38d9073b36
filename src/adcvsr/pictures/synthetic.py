"""A drawn, moving test clip: real enough to upscale, free of anyone's rights, made in memory.

Used by `adcvsr demo`, golden vectors and tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]

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
    x, y = _axis(width, height), _axis(height, height)[:, None]
    clip = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        _draw_frame(clip[index], x, y, index / 25.0)
    return clip


def _axis(pixels: int, height: int) -> Plane:
    """Return where drawn pixels lie: one unit is the clip's height, 0 its centre."""
    drawn = np.arange(pixels * OVERSAMPLE, dtype=np.float32)
    return ((drawn / OVERSAMPLE - pixels / 2) / height).astype(np.float32)


def _draw_frame(frame: npt.NDArray[np.uint8], x: Plane, y: Plane, seconds: float) -> None:
    """Draw one frame into `frame`; `x` is (W,), `y` is (H, 1), both oversampled.

    Each thing is worked out in a part of the picture that holds all of it.
    """
    colour = np.empty((3, y.size, x.size), np.float32)
    colour[0], colour[1], colour[2] = 0.45 + 0.25 * y, 0.50 + 0.15 * x, 0.62 - 0.25 * y

    centre = 0.05 * seconds - 0.42
    part, px, py = _part(colour, x, y, (centre - 0.29, centre + 0.29), (-0.12 - 0.29, -0.12 + 0.29))
    cx, cy = px + 0.42 - 0.05 * seconds, py + 0.12
    radius2 = cx**2 + cy**2
    rings = 0.5 + 0.4 * np.cos(190 * radius2 - 3 * seconds)
    _paint(part, [rings * np.float32(tint) for tint in (1.0, 0.95, 0.85)], radius2 < 0.28**2)

    part, px, py = _part(colour, x, y, (0.38 - 0.25, 0.38 + 0.25), (-0.15 - 0.25, -0.15 + 0.25))
    cx, cy = px - 0.38, py + 0.15
    angle = np.arctan2(cy, cx) + 0.8 * seconds
    star = np.hypot(cx, cy) < 0.17 + 0.07 * np.cos(7 * angle)
    _paint(part, (0.85, 0.25, 0.15), star)
    _paint(part, (0.98, 0.85, 0.30), np.hypot(cx, cy) < 0.07)

    part, px, py = _part(colour, x, y, (-np.inf, np.inf), (0.26, np.inf))
    u, v = (px + 0.15 * seconds) / (1.3 - py), 1 / (1.3 - py)
    checks = (np.floor(u * 9) + np.floor(v * 10)) % 2
    _paint(part, [0.15 + 0.7 * checks] * 3, py > 0.27)

    for k in range(5):
        slope, height = 0.02 + 0.03 * k, 0.055 * k - 0.02
        ends = [height + slope * (end - 0.1 * seconds) for end in (-0.1, float(x[-1]))]
        rows = (min(ends) - 0.01, max(ends) + 0.01)
        part, px, py = _part(colour, x, y, (-0.11, np.inf), rows)
        offset = py + 0.02 - 0.055 * k - slope * (px - 0.1 * seconds)
        _paint(part, (0.08, 0.08, 0.12), (np.abs(offset) < 0.0035) & (px > -0.1))

    part, px, py = _part(colour, x, y, (-np.inf, np.inf), (0.16, 0.26))
    chirp = np.sin(2 * np.pi * (12 * (px - 0.06 * seconds) + 6 * (px - 0.06 * seconds) ** 2)) > 0
    tints = [chirp * np.float32(tint) for tint in (0.95, 0.97, 1.0)]
    _paint(part, tints, (py > 0.17) & (py < 0.25))

    for channel, plane in enumerate(colour):
        pixels = plane.reshape(y.size // OVERSAMPLE, OVERSAMPLE, x.size // OVERSAMPLE, OVERSAMPLE)
        total = np.zeros(frame.shape[:2], np.float32)
        for i, j in product(range(OVERSAMPLE), repeat=2):
            total += pixels[:, i, :, j]
        frame[..., channel] = (total / OVERSAMPLE**2 * 255 + 0.5).clip(0, 255)


def _part(
    colour: Plane,
    x: Plane,
    y: Plane,
    between_x: tuple[float, float],
    between_y: tuple[float, float],
) -> tuple[Plane, Plane, Plane]:
    """Return the part of the picture between these coordinates, and its own `x` and `y`."""
    columns = slice(*np.searchsorted(x, between_x))
    rows = slice(*np.searchsorted(y[:, 0], between_y))
    return colour[:, rows, columns], x[columns], y[rows]


def _paint(colour: Plane, paint: Sequence[Plane | float], where: npt.NDArray[np.bool_]) -> None:
    """Set the pixels of a mask to a colour or to an image's pixels, one a channel."""
    for plane, value in zip(colour, paint, strict=True):
        np.copyto(plane, value, where=where)
