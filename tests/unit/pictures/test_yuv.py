"""Pictures of YUV 4:2:0 that are taken of decoded frames."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.pictures.colour import colours_of
from adcvsr.pictures.yuv import yuv_from_frame


@pytest.mark.parametrize("kind", ["yuv420p", "nv12"])
@pytest.mark.parametrize("width", [1280, 50])
def test_what_a_decoder_writes_later_changes_nothing(kind: str, width: int) -> None:
    """Lines without a gap between them too, as 1280 pixels have: no view, a copy."""
    frame = av.VideoFrame(width, 32, kind)
    frame.colorspace, frame.color_range = 1, 1
    planes = [np.frombuffer(memory, np.uint8) for memory in _memories(frame)]
    for plane in planes:
        plane[:] = 100
    picture = yuv_from_frame(frame, colours_of(frame), VideoReformatter())
    for plane in planes:
        plane[:] = 200
    assert (picture.luma == 100).all()
    assert (picture.chroma == 100).all()


def _memories(frame: Any) -> list[Any]:
    return list(frame.planes)
