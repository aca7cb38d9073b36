"""The time in the picture survives what happens to pictures on their way."""

from __future__ import annotations

import itertools
import threading
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcvsr.pictures.clips import read_clip, write_clip
from adcvsr.pictures.scene_cuts import score_cut
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.live.pattern import (
    MIN_HEIGHT_PX,
    MIN_WIDTH_PX,
    WRAP_MS,
    age_of,
    read_time,
    write_time,
)
from adcvsr.runtime.live.source import open_source
from adcvsr.runtime.processing.cut_reset import CUT_THRESHOLD


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, WRAP_MS - 1),
    st.integers(MIN_WIDTH_PX, 200),
    st.integers(MIN_HEIGHT_PX, 150),
    st.sampled_from([1, 2, 4]),
)
def test_any_time_is_read_at_any_size_and_scale(
    time_ms: int, width: int, height: int, scale: int
) -> None:
    picture = np.full((height, width, 3), 120, np.uint8)
    write_time(picture, time_ms)
    assert read_time(picture.repeat(scale, 0).repeat(scale, 1)) == time_ms


@pytest.mark.parametrize(("crf", "size"), [(23, (64, 64)), (35, (96, 64)), (40, (160, 90))])
def test_the_codec_leaves_it(crf: int, size: tuple[int, int]) -> None:
    clip = draw_clip(6, size[1], size[0])
    times = [0, 1, 0xFFFFFFFF, 0x55555555, 123_456_789, 4_000_000_000]
    for picture, time_ms in zip(clip, times, strict=True):
        write_time(picture, time_ms)
    file = BytesIO()
    write_clip(file, [p.repeat(4, 0).repeat(4, 1) for p in clip], crf=crf)
    file.seek(0)
    assert [read_time(picture) for picture in read_clip(file)] == times


def test_no_time_is_made_up(rng: np.random.Generator) -> None:
    assert read_time(draw_clip(1, 90, 160)[0]) is None
    assert read_time(np.zeros((90, 160, 3), np.uint8)) is None
    assert read_time(np.zeros((4, 4, 3), np.uint8)) is None
    noise = rng.integers(0, 255, (200, 64, 64, 3), np.uint8)
    assert sum(read_time(picture) is not None for picture in noise) <= 1  # CRC: 1 in 65,536


def test_age_crosses_the_wrap_and_tells_when_clocks_disagree() -> None:
    assert age_of(WRAP_MS - 5, 10) == 15
    assert age_of(10, WRAP_MS - 5) == -15


def test_the_pattern_moves_and_is_no_cut() -> None:
    source = open_source("test://?size=160x90&fps=200&frames=40", threading.Event())
    frames = list(source.frames())
    lumas = [each.luma() for each in frames]
    assert len(frames) == 40
    assert (frames[0].picture[20:] != frames[-1].picture[20:]).any()  # type: ignore[index]
    scores = [score_cut(a, b, CUT_THRESHOLD) for a, b in itertools.pairwise(lumas)]
    assert max(scores) < CUT_THRESHOLD / 2
