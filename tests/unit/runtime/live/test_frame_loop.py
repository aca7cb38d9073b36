"""Frames in and pictures out for programs of one's own."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import adcvsr
from adcvsr.errors import ConfigError, InputNotFoundError
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker, video_facts

CAMERA = "test://?size=64x64&fps=50"


def test_a_file_comes_whole_and_turned_as_it_is_shown(make_video: VideoMaker) -> None:
    path = make_video(rotation=90)
    with FileSource(path) as reader:
        stored = [item.rgb for item in reader if isinstance(item, SourceFrame)]
        turns = reader.info.rotation // 90
    with adcvsr.open_source(path) as source:
        frames = list(source)
        assert source.dropped == 0
        assert source.time == pytest.approx(7 / 25)
    assert turns
    assert len(frames) == len(stored) == 8
    for frame, other in zip(frames, stored, strict=True):
        assert np.array_equal(frame, np.rot90(other, turns))


def test_a_slow_loop_misses_frames_of_a_camera_and_stays_current() -> None:
    with adcvsr.open_source(CAMERA) as source:
        next(source)
        assert source.rate == 50
        times = [source.time]
        for _ in range(3):
            time.sleep(0.2)
            next(source)
            times.append(source.time)
        assert source.dropped >= 12
    # About as much time goes by in the stream as outside: nothing waits in a queue.
    assert times[-1] - times[0] == pytest.approx(0.6, abs=0.2)


def test_a_slow_loop_gets_every_frame_where_it_wants_that() -> None:
    with adcvsr.open_source(CAMERA, policy="every") as source:
        for _ in range(10):
            next(source)
            time.sleep(0.04)
        assert source.dropped == 0
        assert source.time == pytest.approx(9 / 50, abs=1e-3)


def test_a_camera_that_is_not_there_is_told_to_who_asks(tmp_path: Path) -> None:
    with (
        adcvsr.open_source(f"v4l2://{tmp_path}/video9") as source,
        pytest.raises(adcvsr.InputError, match="video9"),
    ):
        next(source)
    with pytest.raises(InputNotFoundError):
        adcvsr.open_source(tmp_path / "missing.mp4")
    with pytest.raises(ConfigError, match="for files alone"):
        adcvsr.open_source(CAMERA, read=adcvsr.ReadOptions())


def test_pictures_without_a_source_come_at_a_rate(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with adcvsr.open_sink(path, rate=12.5) as sink:
        for value in range(5):
            sink(np.full((24, 32, 3), 40 * value, np.uint8))
        assert not path.exists()
    assert [float(each) for each in video_facts(path).times] == pytest.approx(
        [0, 0.08, 0.16, 0.24, 0.32], abs=1e-3
    )


def write_and_fail(path: Path) -> None:
    with adcvsr.open_sink(path, rate=25) as sink:
        for _ in range(3):
            sink(np.zeros((24, 32, 3), np.uint8))
        raise ZeroDivisionError


def test_what_was_written_before_an_error_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with pytest.raises(ZeroDivisionError):
        write_and_fail(path)
    assert len(video_facts(path).times) == 3


@pytest.mark.parametrize(
    "wrong", [np.zeros((24, 32, 2), np.uint8), np.zeros((24, 32, 3)), np.zeros((24, 32), np.uint8)]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, wrong: np.ndarray) -> None:
    with (
        pytest.raises(ValueError, match="expected \\(H, W, 3\\) uint8 RGB"),
        adcvsr.open_sink(tmp_path / "out.mp4", rate=25) as sink,
    ):
        sink(wrong)
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_says_nothing_and_a_closed_sink_takes_nothing(tmp_path: Path) -> None:
    picture = np.zeros((24, 32, 3), np.uint8)
    with adcvsr.open_sink(tmp_path / "out.mp4", rate=25) as sink:
        sink(picture)
        sink.close()
        with pytest.raises(ValueError, match="closed"):
            sink(picture)
    assert sink.notes == []
    assert [each.name for each in tmp_path.iterdir()] == ["out.mp4"]


def test_a_sink_that_cannot_know_times_or_input_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the source of the pictures, or their rate"):
        adcvsr.open_sink(tmp_path / "out.mp4")
    for rate in (0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"rate={rate}"):
            adcvsr.open_sink(tmp_path / "out.mp4", rate=rate)
    with pytest.raises(ConfigError, match="give open_sink the source"):
        adcvsr.open_sink("http://127.0.0.1:0", rate=25)
