"""What happens to colours: CIEDE2000 between local means, and levels that ran into an end.

PSNR and the measures on luma hardly notice a hue that is off by little all over; a viewer does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .planes import require_side, same_shape

BLOCK_PX = 8
"""Side of the blocks whose mean colours are compared: noise and texture are not colour."""

Floats64 = npt.NDArray[np.float64]

_XYZ_FROM_RGB = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""sRGB (IEC 61966-2-1) to CIE XYZ."""

_WHITE = _XYZ_FROM_RGB.sum(1)
"""D65: what RGB (1, 1, 1) is."""

_LINEAR = np.arange(256) / 255
_LINEAR = np.where(_LINEAR <= 0.04045, _LINEAR / 12.92, ((_LINEAR + 0.055) / 1.055) ** 2.4)
_LINEAR_32 = _LINEAR.astype(np.float32)


def linear_light(image: Levels) -> npt.NDArray[np.float32]:
    """SRGB levels as linear light in [0, 1], the same shape."""
    light: npt.NDArray[np.float32] = _LINEAR_32[image]
    return light


def xyz_of_light(light: npt.NDArray[Any]) -> Floats64:
    """CIE XYZ of linear sRGB light (..., 3), over that of white (D65)."""
    xyz: Floats64 = light.astype(np.float64) @ _XYZ_FROM_RGB.T / _WHITE
    return xyz


def lab_of_light(light: npt.NDArray[Any]) -> Floats64:
    """CIE L*a*b* (D65) of linear sRGB light (..., 3) in [0, 1]; CIE 15:2004, 8.2.1."""
    xyz = xyz_of_light(light)
    edge = 6 / 29
    root = np.where(xyz > edge**3, np.cbrt(xyz), xyz / (3 * edge**2) + 4 / 29)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Floats64:
    """The colour difference CIEDE2000 of L*a*b* colours (..., 3); CIE 142-2001, all weights 1.

    About 1 is what one just sees side by side.
    """
    (l1, a1, b1), (l2, a2, b2) = (
        np.moveaxis(np.asarray(c, np.float64), -1, 0) for c in (first, second)
    )
    mean_chroma = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7))
    chroma1, chroma2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    hue1 = np.degrees(np.arctan2(b1, a1 * stretch)) % 360
    hue2 = np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    grey = chroma1 * chroma2 == 0
    turn = np.where(grey, 0.0, (hue2 - hue1 + 180) % 360 - 180)
    # Exactly opposite hues: the standard turns towards the second.
    turn = np.where((turn == -180) & (hue2 > hue1), 180.0, turn)
    lightness, chroma = (l1 + l2) / 2, (chroma1 + chroma2) / 2
    hue = (hue1 + hue2) / 2
    hue = np.where(
        np.abs(hue1 - hue2) > 180, np.where(hue1 + hue2 < 360, hue + 180, hue - 180), hue
    )
    hue = np.where(grey, hue1 + hue2, hue)
    factor = (
        1
        - 0.17 * _cos(hue - 30)
        + 0.24 * _cos(2 * hue)
        + 0.32 * _cos(3 * hue + 6)
        - 0.20 * _cos(4 * hue - 63)
    )
    from_grey = (lightness - 50) ** 2
    d_lightness = (l2 - l1) / (1 + 0.015 * from_grey / np.sqrt(20 + from_grey))
    d_chroma = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    d_hue = (
        2
        * np.sqrt(chroma1 * chroma2)
        * np.sin(np.radians(turn) / 2)
        / (1 + 0.015 * chroma * factor)
    )
    rotation = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation = -rotation * np.sin(np.radians(60 * np.exp(-(((hue - 275) / 25) ** 2))))
    squares = d_lightness**2 + d_chroma**2 + d_hue**2 + rotation * d_chroma * d_hue
    difference: Floats64 = np.sqrt(np.maximum(squares, 0))
    return difference


def colour_shift(output: Levels, truth: Levels) -> float:
    """Mean CIEDE2000 between the mean colours of 8x8 blocks, from 0, lower is better.

    Args:
        output: (H, W, 3) uint8 RGB, taken as sRGB.
        truth: The same shape; 8 pixels a side or more. What is left of a block is left out.

    Raises:
        ValueError: The shapes differ, or a side is under `BLOCK_PX`.
    """
    require_side(output, truth, BLOCK_PX)
    first, second = (lab_of_light(_block_means(linear_light(each))) for each in (output, truth))
    return float(ciede2000(first, second).mean())


def clipped_share(output: Levels, truth: Levels) -> float:
    """Pixels, in percent, with a channel at 0 or 255 where the truth's is 2 levels or more off it.

    Args:
        output: (H, W, 3) uint8 RGB.
        truth: The same shape.

    Raises:
        ValueError: The shapes differ.
    """
    same_shape(output, truth)
    clipped = ((output == 0) & (truth >= 2)) | ((output == 255) & (truth <= 253))
    return float(clipped.any(-1).mean() * 100)


def _cos(degrees: Floats64) -> Floats64:
    cosine: Floats64 = np.cos(np.radians(degrees))
    return cosine


def _block_means(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, columns = (side // BLOCK_PX * BLOCK_PX for side in light.shape[:2])
    light = light[:rows, :columns]
    down = np.add.reduceat(light, range(0, rows, BLOCK_PX), axis=0)
    means: npt.NDArray[np.float32] = np.add.reduceat(down, range(0, columns, BLOCK_PX), axis=1)
    means /= np.float32(BLOCK_PX**2)
    return means
