"""The proof of YUV ends judges what it can see, and passes nothing that it cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.arrays import Levels
from adcvsr.pictures.colour import frame_from_rgb
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.proof.yuv import COLOURS, YuvFound, compare_yuv
from adcvsr.runtime.sessions.stream_session import StreamSession

Change = Callable[[Levels], Levels]


class Repeated(StreamSession):
    """Every pixel four times, x4; between YUV ends the same, changed."""

    takes_yuv = True

    def __init__(self, plain: Change, ends: Change | None = None) -> None:
        self.bundle: Any = SimpleNamespace(scale=4, size_multiple=1, config=None)
        self.plain, self.ends = plain, ends or plain

    _open = _close = _infer = _reset = _resize = _fill = None  # type: ignore[assignment]

    def reset(self) -> None:
        pass

    def infer(self, frame: Levels) -> Levels:
        return self.plain(frame.repeat(4, 0).repeat(4, 1))

    @contextmanager
    def of_yuv(self, ends: object) -> Iterator[StreamSession]:  # type: ignore[override]
        yield Repeated(self.ends)

    def infer_yuv(self, picture: YuvPicture) -> YuvPicture:
        scaler = VideoReformatter()
        made = self.infer(picture.rgb(scaler))
        return yuv_from_frame(
            frame_from_rgb(np.ascontiguousarray(made), COLOURS, "yuv420p", scaler), COLOURS, scaler
        )


def same(picture: Levels) -> Levels:
    return picture


def darker(picture: Levels) -> Levels:
    return np.clip(picture.astype(int) - 12, 0, 255).astype(np.uint8)


def clipped(picture: Levels) -> Levels:
    return np.where(picture > 127, 255, 0).astype(np.uint8)


def found(plain: Change, ends: Change | None = None, low: int = 60, high: int = 200) -> YuvFound:
    ramp = np.linspace(low, high, 32).astype(np.uint8)
    clip = np.broadcast_to(ramp[None, None, :, None], (2, 16, 32, 3))
    session = Repeated(plain, ends)
    result = compare_yuv(session, np.ascontiguousarray(clip))
    assert result is not None
    return result


def test_equal_graphs_are_within() -> None:
    result = found(same)
    assert result.psnr_db is not None
    assert result.psnr_db > 60
    assert result.why_beyond() is None


def test_another_graph_is_beyond() -> None:
    assert "levels off the RGB graph" in (found(same, darker).why_beyond() or "")


@pytest.mark.parametrize("ends", [clipped, darker])
def test_pictures_that_are_clipped_throughout_prove_nothing(ends: Change) -> None:
    result = found(clipped, ends)
    assert (result.psnr_db, result.flat_most) == (None, None)
    assert "named colour comes out black or white" in (result.why_beyond() or "")


def test_a_golden_clip_that_is_clipped_throughout_proves_nothing() -> None:
    result = found(same, low=0, high=2)
    assert result.flat_most is not None
    assert "pixel of the golden clip comes out black or white" in (result.why_beyond() or "")
