"""Frames as networks take them: checked, padded to what fits, and pictures cut to size again."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...arrays import Frame
from ...pictures.crop import Crop
from ...pictures.yuv_picture import AnyPicture, YuvPicture


def check_frame(frame: Frame, kind: type[Any] | None = None) -> None:
    """Refuse what is not a picture.

    Args:
        frame: What should be one.
        kind: Its type; None for either.

    Raises:
        ValueError: Not an (H, W, 3) uint8 array, or uint16 where that is meant.
    """
    kinds = (np.uint8, np.uint16) if kind is None else (kind,)
    if not isinstance(frame, np.ndarray):
        raise ValueError(f"frame of type {type(frame).__name__}; expected a numpy array")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype not in kinds or not frame.size:
        raise ValueError(
            f"frame of shape {frame.shape} and dtype {frame.dtype}; expected (H, W, 3) "
            f"{kinds[0].__name__} RGB"
        )


def pad_to_multiple(frame: Frame, multiple: int) -> Frame:
    """Pad right and bottom by repeating the edge until both sides are multiples.

    Args:
        frame: (H, W, 3).
        multiple: Of pixels; 1 returns the frame itself.
    """
    down, right = -frame.shape[0] % multiple, -frame.shape[1] % multiple
    if not down and not right:
        return frame
    return np.pad(frame, ((0, down), (0, right), (0, 0)), mode="edge")


def padded(picture: AnyPicture, multiple: int) -> AnyPicture:
    """See `pad_to_multiple`, for RGB and YUV."""
    if isinstance(picture, YuvPicture):
        return picture.padded(multiple)
    return pad_to_multiple(picture, multiple)


def cropped(picture: AnyPicture, given: AnyPicture, scale: int) -> AnyPicture:
    """Cut an upscaled picture to the size of what was given, before it was padded."""
    height, width = (scale * side for side in given.shape[:2])
    if picture.shape[:2] == (height, width):
        return picture
    if isinstance(picture, YuvPicture):
        return picture.part(Crop(width, height, 0, 0))
    return crop(picture, given.shape, scale)


def crop(picture: Frame, shape: tuple[int, ...], scale: int) -> Frame:
    """Cut an upscaled picture to the size of an input of the given shape (H, W, ...)."""
    return np.ascontiguousarray(picture[: shape[0] * scale, : shape[1] * scale])
