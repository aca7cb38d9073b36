"""How often a picture is copied on its way: told by where its memory lies."""

from __future__ import annotations

from typing import Any, TypeAlias

import av
import numpy as np

from .yuv_picture import AnyPicture, YuvPicture

Held: TypeAlias = "AnyPicture | av.VideoFrame | bytes | bytearray | memoryview"


def copied(before: Held, after: Held) -> int:
    """0 where all planes of a picture lie where they lay before a step; 1 where one was copied.

    Args:
        before: Given to a step.
        after: What the step made of it, or a part.
    """
    known = _planes(before)
    stays = all(
        any(begin <= place < begin + size for begin, size in known) for place, _ in _planes(after)
    )
    return int(not stays)


def _planes(held: Held) -> list[tuple[int, int]]:
    """Address and bytes of each plane."""
    if isinstance(held, av.VideoFrame):
        return [(plane.buffer_ptr, plane.buffer_size) for plane in held.planes]
    parts: Any = [held.luma, held.chroma] if isinstance(held, YuvPicture) else [held]
    arrays = [
        each if isinstance(each, np.ndarray) else np.frombuffer(each, np.uint8) for each in parts
    ]
    return [(int(each.ctypes.data), int(each.nbytes)) for each in arrays]
