"""An Upscaler has one stream at a time; two of them can change networks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from adcvsr.errors import UpscalerBusyError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.threads.one_user import OneUser
from adcvsr.runtime.upscaler import Upscaler
from variant_bundle import copy_of_nano

CLIP = draw_clip(4, 24, 32)


@pytest.fixture
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", threads=1) as ready:
        yield ready


def test_one_clip_at_a_time(upscaler: Upscaler, tmp_path: Path) -> None:
    expected = list(upscaler.upscale_clip(CLIP))
    first = upscaler.upscale_clip(CLIP)
    found = [next(first)]
    with pytest.raises(UpscalerBusyError, match=r"a clip is under way.*a clip would mix"):
        next(upscaler.upscale_clip(CLIP))
    with pytest.raises(UpscalerBusyError, match="a frame would mix"):
        upscaler(CLIP[0])
    with pytest.raises(UpscalerBusyError, match="a file would mix"):
        upscaler.upscale_file(tmp_path / "in.mp4", tmp_path / "out.mp4")
    with pytest.raises(UpscalerBusyError, match="a reset would mix"):
        upscaler.reset()
    found += first
    assert np.array_equal(found, expected)
    assert np.array_equal(upscaler(CLIP[0]), expected[0])


def test_a_clip_that_is_given_up_frees_the_network(upscaler: Upscaler) -> None:
    expected = list(upscaler.upscale_clip(CLIP))
    given_up = upscaler.upscale_clip(255 - CLIP)
    next(given_up)
    given_up.close()  # type: ignore[attr-defined]
    assert np.array_equal(list(upscaler.upscale_clip(CLIP)), expected)


def test_another_thread_is_told_who_is_there() -> None:
    user, inside, told = OneUser(), threading.Event(), threading.Event()

    def work() -> None:
        with user.claim("a frame"):
            inside.set()
            told.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(60)
    with pytest.raises(UpscalerBusyError, match="a frame is under way"), user.claim("a clip"):
        pass
    told.set()
    thread.join()
    with user.claim("a clip"):
        pass


def test_an_exchange_brings_the_other_network_without_a_past(
    upscaler: Upscaler, tmp_path: Path
) -> None:
    expected = upscaler(CLIP[0])
    with upscaler.beside(copy_of_nano(tmp_path / "other")) as other:
        assert other.session.backend == upscaler.session.backend
        other(255 - CLIP[2])
        upscaler.exchange(other)
        assert upscaler.bundle.path.name == "other"
        assert other.bundle.path.name == "nano"
    with pytest.raises(RuntimeError, match="closed already"):
        other(CLIP[0])
    assert np.array_equal(upscaler(CLIP[0]), expected)
