"""Copies are told by where a picture's memory lies."""

from __future__ import annotations

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.pictures.colour import Colours
from adcvsr.pictures.copies import copied
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import frame_of
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.live.letterbox import FirstSize
from adcvsr.runtime.live.notes import Notes

BT709 = Colours(1, full_range=False, primaries=1, transfer=1)


def drawn() -> YuvPicture:
    picture = YuvPicture.empty(32, 48, BT709)
    picture.luma[:], picture.chroma[:] = 100, 128
    return picture


def test_what_lies_within_is_no_copy() -> None:
    data = bytearray(4096)
    within = np.ndarray((10, 10), np.uint8, data, 100)
    assert copied(data, within) == 0
    assert copied(data, within.copy()) == 1
    picture = drawn()
    assert copied(picture, picture.frame()) == 0
    assert copied(picture, picture.rgb(VideoReformatter())) == 1


@pytest.mark.parametrize(("form", "copies"), [("nv12", 0), ("yuv420p", 1), ("bgr0", 1)])
def test_a_networks_planes_reach_what_takes_nv12_as_they_are(form: str, copies: int) -> None:
    first, picture = FirstSize(), drawn()
    first.begin(picture)
    made = first.frame(picture, BT709, form, (48, 32), Notes())
    assert first.copies == copies
    assert made.format.name == form
    assert made.colorspace == 1


def test_numbers_of_another_matrix_are_converted() -> None:
    """A pipe of y4m has no matrix: readers guess one from the height."""
    picture, scaler = drawn(), VideoReformatter()
    picture.chroma[..., 1] = 200
    bt601 = Colours(5, full_range=False, primaries=1, transfer=1)
    kept = frame_of(picture, BT709, "nv12", scaler, size=(48, 32))
    made = frame_of(picture, bt601, "nv12", scaler, size=(48, 32))
    levels = [np.frombuffer(each.planes[0], np.uint8)[0] for each in (kept, made)]  # type: ignore[call-overload]
    assert levels[0] == 100
    assert levels[1] not in (100, 0)
    rgb = draw_clip(1, 32, 48)[0]
    assert copied(rgb, frame_of(rgb, BT709, "nv12", scaler, size=(48, 32))) == 1
