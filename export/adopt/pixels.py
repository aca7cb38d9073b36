"""Pictures as a network of others takes them: its range of values and its colours.

planes = planes_of(frame, "0-1", "BGR")  # (3, H, W), what the network is given
picture = levels_of(made, "0-1", "BGR")  # (sH, sW, 3) RGB in levels
"""

from __future__ import annotations

import numpy as np

from ...arrays import Floats, Levels

RANGES = {"0-255": (1.0, 0.0), "-1-1": (127.5, 127.5), "0-1": (255.0, 0.0)}
"""Levels of a unit, and the level of zero, by range. The widest come first: a network that is
given less than its range still makes a picture, if a worse one; given more, it makes none."""

COLOUR_ORDERS = ("RGB", "BGR", "YUV")
"""YUV is luma and chroma as JPEG has them: BT.601's matrix, full range, chroma's grey at 128."""

FOUND_ORDERS = COLOUR_ORDERS[:2]
"""Those that are tried where nobody says; a network of YUV makes a fair picture of RGB, too."""

GREY = np.array([0, 128, 128], np.float64)
"""Levels of Y, U and V where there is neither light nor colour."""

TO_YUV = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.299 / 1.772, -0.587 / 1.772, 0.5],
        [0.5, -0.587 / 1.402, -0.114 / 1.402],
    ]
)
"""Rows Y, U and V of RGB, both in levels."""

FROM_YUV = np.linalg.inv(TO_YUV)
"""Rows red, green and blue of Y, U and V without `GREY`."""


def planes_of(frames: Levels, range_: str, colour: str) -> Floats:
    """What a network is given.

    Args:
        frames: (..., H, W, 3) RGB.
        range_: One of `RANGES`.
        colour: One of `COLOUR_ORDERS`.

    Returns:
        (..., 3, H, W) in its range and colours.
    """
    unit, zero = RANGES[range_]
    levels = frames.astype(np.float32)
    if colour == "YUV":
        levels = (levels @ TO_YUV.T + GREY).astype(np.float32)
    elif colour == "BGR":
        levels = levels[..., ::-1]
    values = (levels - np.float32(zero)) / np.float32(unit)
    planes: Floats = np.ascontiguousarray(np.moveaxis(values, -1, -3))
    return planes


def levels_of(planes: Floats, range_: str, colour: str) -> Floats:
    """What a network made, not clipped or rounded.

    Args:
        planes: (..., 3, sH, sW).
        range_: One of `RANGES`.
        colour: One of `COLOUR_ORDERS`.

    Returns:
        (..., sH, sW, 3) RGB in levels.
    """
    unit, zero = RANGES[range_]
    made: Floats = np.moveaxis(planes, -3, -1) * np.float32(unit) + np.float32(zero)
    if colour == "YUV":
        rgb: Floats = ((made - GREY) @ FROM_YUV.T).astype(np.float32)
        return rgb
    return made[..., ::-1] if colour == "BGR" else made
