"""One contract for every source, and what each does beyond it."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from live_ends import udp_stream

from adcvsr.errors import (
    ConfigError,
    InputNotFoundError,
    MissingProgramError,
    UnreadableVideoError,
    UnsupportedVideoError,
)
from adcvsr.runtime.live.address import Address
from adcvsr.runtime.live.backoff import wait_before_try
from adcvsr.runtime.live.pattern import read_time
from adcvsr.runtime.live.source import LiveFrame, VideoSource, open_source
from live_streams import (
    free_port,
    write_coded_clip,
)
from video_facts import VideoMaker


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coded_clip(tmp_path_factory.mktemp("sources") / "clip.mp4", frames=30, fps=30)


def test_a_file_without_its_pace_is_read_as_fast_as_it_goes(tmp_path: Path) -> None:
    path = write_coded_clip(tmp_path / "slow.mp4", 20, 1)
    began = time.monotonic()
    frames = list(open_source(f"file:{path}?pace=0", threading.Event()).frames())
    assert time.monotonic() - began < 10
    assert [frame.media_time for frame in frames] == list(range(20))


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("tset://", ConfigError, "did you mean 'test'"),
        ("test://?size=320", ConfigError, "expected WIDTHxHEIGHT"),
        ("test://?fps=no", ConfigError, "expected 0.1 to 1000"),
        ("test://?fps=5&fps=6", ConfigError, "comes twice"),
        ("test://?speed=2", ConfigError, "has no option speed; it has: size, fps, frames"),
        ("test://?size=16x16", ConfigError, "too small for the time code"),
        ("rtsp://host/x?transport=smoke", ConfigError, "expected tcp or udp"),
        ("csi://0?size=97x64", (ConfigError, MissingProgramError), "multiples of|gst-launch"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        open_source(text, threading.Event())


def first(source: VideoSource) -> LiveFrame:
    return next(iter(source.frames()))


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    stop = threading.Event()
    with pytest.raises(InputNotFoundError, match="no file"):
        first(open_source(str(tmp_path / "gone.mp4"), stop))
    with pytest.raises(InputNotFoundError, match="no device '/dev/video99'"):
        first(open_source("v4l2:///dev/video99", stop))
    with pytest.raises(UnreadableVideoError, match="nothing came for 0.3 s"):
        first(open_source(f"udp://127.0.0.1:{free_port()}?timeout=0.3", stop))


def test_gstreamers_own_words_are_passed_on() -> None:
    if shutil.which("gst-launch-1.0") is None:
        pytest.skip("no gst-launch-1.0: apt-get install gstreamer1.0-tools")
    source = open_source("csi://0?size=96x64", threading.Event())  # no CSI camera here
    with pytest.raises(UnreadableVideoError, match="nvarguscamerasrc"):
        first(source)


class TestFile:
    def test_every_frame_comes_once_and_none_before_its_time(self, clip: Path) -> None:
        frames = list(open_source(str(clip), threading.Event()).frames())
        codes = [read_time(frame.rgb(VideoReformatter())) for frame in frames]
        assert codes == list(range(30))
        times = [frame.media_time or 0.0 for frame in frames]
        np.testing.assert_allclose(times, np.arange(30) / 30, atol=1e-3)
        for frame, due in zip(frames, times, strict=True):
            assert frame.captured - frames[0].captured >= due - 1e-3

    def test_a_loop_begins_anew(self, make_video: VideoMaker) -> None:
        stop, times = threading.Event(), []
        video = make_video(pts=range(0, 3 * 512, 512))
        for frame in open_source(f"file:{video}?loop=1", stop).frames():
            times.append(frame.media_time)
            if len(times) == 7:
                stop.set()
        assert times == [0.0, 0.04, 0.08, 0.0, 0.04, 0.08, 0.0]

    def test_a_turned_video_is_upright(self, make_video: VideoMaker) -> None:
        frame = first(open_source(str(make_video(size=(32, 24), rotation=90)), threading.Event()))
        assert frame.size == (24, 32)

    def test_more_than_eight_bits_are_said(self, make_video: VideoMaker) -> None:
        source = open_source(str(make_video(pixel_format="yuv420p10le")), threading.Event())
        assert first(source).rgb(VideoReformatter()).dtype == np.uint8
        assert [note for note in source.notes if "10 bits are reduced to 8" in note]

    def test_hdr_is_refused(self, make_video: VideoMaker) -> None:
        video = make_video(colour=(9, 1, 9, 16))
        with pytest.raises(UnsupportedVideoError, match="HDR"):
            first(open_source(str(video), threading.Event()))


def test_a_stream_that_falls_silent_is_lost_and_found() -> None:
    """Over UDP nobody says that the sender went: the time-out does."""
    stop, port = threading.Event(), free_port()
    source = open_source(f"udp://127.0.0.1:{port}?timeout=1", stop)
    frames = iter(source.frames())
    with udp_stream(port):
        assert next(frames).connection == 0
    lost = threading.Event()

    def come_back() -> None:
        while not source.tries:
            lost.wait(0.05)
        with udp_stream(port):
            lost.wait()

    sender = threading.Thread(target=come_back)
    sender.start()
    for frame in frames:
        if frame.connection:
            stop.set()
    lost.set()
    sender.join()
    assert (source.reconnects, source.tries) == (1, 0)
    assert ["was lost" in note or "is back" in note for note in source.notes] == [True, True]


def test_waits_double_up_to_a_limit_for_days() -> None:
    assert [wait_before_try(tries) for tries in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert wait_before_try(1_000_000) == 10


def test_credentials_are_not_in_messages() -> None:
    address = Address.parse("rtsp://user:secret@camera:554/stream?channel=1")
    assert address.text == "rtsp://***@camera:554/stream?channel=1"
    assert address.url() == "rtsp://user:secret@camera:554/stream?channel=1"


def test_nv12_goes_to_rgb_as_exactly_as_any_other_format() -> None:
    flat = np.full((64, 96, 3), (200, 90, 30), np.uint8)
    nv12 = av.VideoFrame.from_ndarray(flat, format="rgb24").reformat(
        format="nv12", dst_colorspace=1, dst_color_range=1
    )
    nv12.colorspace, nv12.color_range = 1, 1
    rgb = LiveFrame(nv12, 0.0, 0.0).rgb(VideoReformatter())
    assert np.abs(rgb.astype(int) - flat).max() <= 2
