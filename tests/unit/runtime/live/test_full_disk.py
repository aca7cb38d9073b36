"""A disk that is full, and a network that fails: what is recorded by then is not lost."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from adcvsr.errors import OutputNotWritableError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.sink import FinishedFrame, VideoSink, open_sink
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions

FPS = 30
FRAGMENT = 30
"""Frames of an mp4's fragment: from keyframe to keyframe."""


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", threads=1) as ready:
        yield ready


@contextmanager
def room_for(size_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: writing then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


class Noise(VideoSource):
    """Pictures that take much room, as fast as they are taken."""

    count = 200

    def frames(self) -> Generator[LiveFrame, None, None]:
        rng = np.random.default_rng(0)
        for index in range(self.count):
            picture = rng.integers(0, 256, (36, 48, 3), np.uint8)
            yield LiveFrame(picture, index / FPS, self.clock())


def noise_run(upscaler: Upscaler, output: Path, count: int = 200) -> LiveRun:
    encode = EncodeOptions(preset="ultrafast", crf=30)
    run = LiveRun(upscaler, "test://", str(output), LiveOptions(policy="every"), encode=encode)
    run.source = Noise(run.source.address, run.source.stop)
    run.source.count = count
    return run


def frames_that_play(path: Path) -> int:
    """Frames before the torn end."""
    count = 0
    with av.open(str(path)) as container, suppress(av.FFmpegError):
        for _ in container.decode(video=0):
            count += 1
    return count


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_what_was_recorded_plays(upscaler: Upscaler, tmp_path: Path, container: str) -> None:
    run = noise_run(upscaler, tmp_path / f"out.{container}")
    with (
        room_for(800_000),
        pytest.raises(OutputNotWritableError, match="File too large; what was recorded") as caught,
    ):
        run.run()
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(caught.value)
    assert not kept.name.startswith(".")
    # All but the fragment that was torn, and the one that was being collected.
    presented = run.accounting.presented
    assert presented > 4 * FRAGMENT
    assert frames_that_play(kept) >= presented - 2 * FRAGMENT
    assert not [each for each in threading.enumerate() if each.name.startswith("adcvsr")]


def test_nothing_recorded_leaves_nothing(upscaler: Upscaler, tmp_path: Path) -> None:
    with room_for(10), pytest.raises(OutputNotWritableError):
        noise_run(upscaler, tmp_path / "out.mkv").run()
    assert not list(tmp_path.iterdir())


def test_a_recording_in_mp4_ends_as_an_ordinary_file(upscaler: Upscaler, tmp_path: Path) -> None:
    noise_run(upscaler, tmp_path / "out.mp4", count=2 * FPS).run()
    data = (tmp_path / "out.mp4").read_bytes()
    kinds, at = [], 0
    while at < len(data):
        kinds.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert b"moov" in kinds
    assert b"moof" not in kinds
    assert len(list(read_clip(tmp_path / "out.mp4"))) == 2 * FPS


def test_figures_go_on_after_a_gap(upscaler: Upscaler, tmp_path: Path) -> None:
    """The stream does not end for them, a torn line spoils no other, nor does log rotation."""
    stats = tmp_path / "stats.jsonl"
    run = noise_run(upscaler, tmp_path / "out.mkv", count=2)
    run.options = LiveOptions(policy="every", stats_path=stats)
    with run._open_stats() as file:
        run._append(file, json.dumps({"number": 0}))
        with room_for(stats.stat().st_size + 5):
            run._append(file, json.dumps({"number": 1}))
            run._append(file, json.dumps({"number": 2}))
        run._append(file, json.dumps({"number": 3}))
        lines = stats.read_text().splitlines()
        os.truncate(stats, 0)  # as logrotate's copytruncate does
        run._append(file, json.dumps({"number": 4}))
    assert stats.read_bytes() == b'{"number": 4}\n'
    assert [lines[0], lines[-1]] == ['{"number": 0}', '{"number": 3}']
    assert len(lines) == 3  # the torn one between
    assert run.notes() == [f"figures are missing in '{stats}': File too large"]
    run.run()


def test_a_network_that_fails_keeps_what_was_recorded(
    upscaler: Upscaler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    infer, calls = upscaler.session._infer, iter(range(100))

    def fail_later(frame: np.ndarray, slot: int) -> np.ndarray:  # type: ignore[type-arg]
        if next(calls) == 5:
            raise MemoryError("no memory for the network")
        return infer(frame, slot)

    run = noise_run(upscaler, tmp_path / "out.mkv")
    monkeypatch.setattr(upscaler.session, "_infer", fail_later)
    with pytest.raises(MemoryError, match="no memory for the network"):
        run.run()
    assert len(list(read_clip(tmp_path / "out.mkv"))) == run.accounting.presented >= 4
    assert not [each for each in threading.enumerate() if each.name.startswith("adcvsr")]


def test_a_full_disk_ends_an_hls_stream_whose_muxer_says_nothing(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (144, 192, 3), np.uint8)

    def record(sink: VideoSink) -> None:
        for index in range(100):
            noise = np.roll(picture, 7 * index, 1)
            frame = FinishedFrame(noise, noise, index / 25, Fraction(25), SDR_BT709)
            sink.present(sink.encode(frame))

    says = r"does not take the video: .*large"
    with (
        room_for(200_000),
        open_sink(f"hls:{tmp_path}?seconds=1", EncodeOptions()) as sink,
        pytest.raises(OutputNotWritableError, match=says),
    ):
        record(sink)
    whole = [each.stat().st_size for each in tmp_path.glob("segment*")]
    assert max(whole) <= 200_000


def test_an_hls_stream_is_whole_where_there_is_room(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (72, 96, 3), np.uint8)
    with open_sink(f"hls:{tmp_path}?seconds=1", EncodeOptions()) as sink:
        for index in range(60):
            frame = FinishedFrame(picture, picture, index / 25, Fraction(25), SDR_BT709)
            assert sink.present(sink.encode(frame))
        sink.finish()
    assert "#EXT-X-ENDLIST" in (tmp_path / "index.m3u8").read_text()
    assert len(list(read_clip(tmp_path / "index.m3u8"))) == 60
    assert not list(tmp_path.glob("*.tmp"))
