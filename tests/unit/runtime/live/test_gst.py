"""`gst:PIPELINE` as source and sink: formats as they come, and what GStreamer refuses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.arrays import Levels
from adcvsr.errors import (
    AdcVsrError,
    ConfigError,
    MissingProgramError,
    OutputNotWritableError,
    UnreadableVideoError,
)
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.gstreamer import process as gst_process
from adcvsr.runtime.gstreamer.layout import FORMATS
from adcvsr.runtime.live import source_gst
from adcvsr.runtime.live.address import Address
from adcvsr.runtime.live.sink import FinishedFrame, open_sink
from adcvsr.runtime.live.source import LiveFrame, open_source
from adcvsr.runtime.video.encoders import EncodeOptions
from live_streams import require_gst

SIZE = "width=98,height=66,framerate=30/1"
"""No multiple of four: rows of most formats are padded."""


@pytest.fixture
def needs_gst() -> None:
    require_gst()


def frames_of(pipeline: str, count: int = 0) -> list[LiveFrame]:
    """Frames of a pipeline; all of them where no count is given."""
    stop, found = threading.Event(), []
    for frame in open_source(f"gst:{pipeline}", stop).frames():
        found.append(frame)
        if len(found) == count:
            stop.set()
    return found


def push(pipeline: str, pictures: Sequence[Levels]) -> str | None:
    """Give pictures to a pipeline; what it was given, in words."""
    with open_sink(f"gst:{pipeline}", EncodeOptions()) as sink:
        for index, picture in enumerate(pictures):
            frame = FinishedFrame(picture, picture, index / 30, Fraction(30), SDR_BT709)
            encoded = sink.encode(frame)
            assert sink.present(encoded)
        sink.finish()
        return sink.encoder


@pytest.mark.usefixtures("needs_gst")
class TestSource:
    @pytest.mark.parametrize("form", ["NV12", "I420", "BGRx"])
    def test_a_format_comes_as_it_is(self, form: str) -> None:
        (frame,) = frames_of(f"videotestsrc ! video/x-raw,format={form},{SIZE}", 1)
        if form == "BGRx":
            assert isinstance(frame.picture, av.VideoFrame)
            assert frame.picture.format.name == FORMATS[form]
        else:
            assert isinstance(frame.picture, YuvPicture)
        assert frame.size == (98, 66)
        rgb = frame.rgb(VideoReformatter())
        assert rgb.shape == (66, 98, 3)
        # SMPTE bars: white, yellow, cyan, green, magenta, red, blue.
        bars = [rgb[20, 7 + 14 * index] > 96 for index in range(7)]
        wanted = [(1, 1, 1), (1, 1, 0), (0, 1, 1), (0, 1, 0), (1, 0, 1), (1, 0, 0), (0, 0, 1)]
        np.testing.assert_array_equal(bars, np.array(wanted, bool))

    @pytest.mark.parametrize(
        ("form", "width", "copies"), [("NV12", 96, 1), ("NV12", 98, 2), ("I420", 96, 2)]
    )
    def test_planes_stay_where_they_were_read(self, form: str, width: int, copies: int) -> None:
        """Only the pipe's copy is made, unless rows are padded or U and V are apart."""
        caps = f"video/x-raw,format={form},width={width},height=66,framerate=30/1"
        (frame,) = frames_of(f"videotestsrc ! {caps}", 1)
        assert frame.copies == copies
        assert isinstance(frame.picture, YuvPicture)
        assert (frame.picture.both is None) == (copies == 2)
        shown = frame.picture.frame().to_ndarray(format="rgb24")
        assert (shown[20, 7] > 180).all()  # SMPTE bars: white, then red as the sixth
        assert (shown[20, width * 11 // 14] > 128).tolist() == [True, False, False]

    def test_colour_tags_come_along(self) -> None:
        caps = f"video/x-raw,format=NV12,colorimetry=1:3:5:1,{SIZE}"
        (frame,) = frames_of(f"videotestsrc ! {caps}", 1)
        assert (frame.colours.matrix, frame.colours.full_range) == (1, True)

    def test_a_pipeline_that_ends_ends_the_stream_at_its_own_pace(self) -> None:
        found = frames_of(f"videotestsrc num-buffers=10 ! video/x-raw,{SIZE}")
        assert [frame.media_time for frame in found] == pytest.approx(
            [index / 30 for index in range(10)], abs=1e-6
        )
        assert found[-1].captured - found[0].captured > 0.2

    @pytest.mark.parametrize(
        ("pipeline", "says"),
        [
            ("videotestsrc ! nosuch", 'no element "nosuch"; gst-inspect-1.0 lists'),
            ("videotestsrc ! fakesink", "no sink of its own"),
            ("videotestsrc ! video/x-raw,format=AYUV64", "try '! videoconvert'"),
            ("videotestsrc num-buffers=0", "it ended without a frame"),
            ("videotestsrc ! identity error-after=3", "Failed after iterations"),
        ],
    )
    def test_what_does_not_run_is_told(self, pipeline: str, says: str) -> None:
        with pytest.raises(UnreadableVideoError, match=says):
            frames_of(pipeline)
        assert not [each for each in threading.enumerate() if each.name.startswith("adcvsr")]

    def test_one_that_never_starts_is_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(source_gst, "SILENT_S", 1.0)
        with pytest.raises(UnreadableVideoError, match="nothing came for 1 s; does it run in"):
            frames_of("videotestsrc is-live=true ! valve drop=true")

    def test_a_crash_of_an_element_is_an_error(self) -> None:
        job = {
            "kind": "source",
            "pipeline": "videotestsrc is-live=true ! valve drop=true",
            "formats": ["NV12"],
        }
        with closing(gst_process.PipelineProcess("gst:", job)) as process:
            assert process.read(10, lambda: False) == {"live": True}
            process._process.send_signal(signal.SIGSEGV)
            with pytest.raises(gst_process.PipelineError, match=r"crashed \(signal 11\)"):
                process.read(10, lambda: False)


@pytest.mark.usefixtures("needs_gst")
class TestSink:
    def test_a_file_is_finished(self, tmp_path: Path) -> None:
        require_gst("openh264enc", "mp4mux")
        clip = draw_clip(10, 64, 96)
        out = tmp_path / "out.mp4"
        given = push(
            f"openh264enc bitrate=4000000 ! h264parse ! mp4mux ! filesink location={out}", clip
        )
        assert given == "GStreamer, given I420"
        written = list(read_clip(out))
        assert len(written) == 10
        assert np.abs(written[5].astype(int) - clip[5]).mean() < 8

    @pytest.mark.parametrize("form", ["NV12", "I420", "BGRx"])
    def test_what_it_takes_is_what_it_gets(self, form: str, tmp_path: Path) -> None:
        out = tmp_path / "frames"
        flat = np.full((66, 98, 3), (200, 90, 30), np.uint8)
        given = push(f"video/x-raw,format={form} ! filesink location={out}", [flat] * 2)
        assert given == f"GStreamer, given {form}"
        data = np.frombuffer(out.read_bytes(), np.uint8)
        if form in ("BGRx", "RGB"):
            frame = data[: len(data) // 2].reshape(66, -1)
            step = 4 if form == "BGRx" else 3
            pixel = frame[5, 10 * step : 10 * step + 3]
            assert pixel.tolist() == ([30, 90, 200] if form == "BGRx" else [200, 90, 30])
        else:
            assert len(data) == 2 * (100 * 66 + 2 * (52 * 33 if form == "I420" else 50 * 33))
            luma = data[: 100 * 66].reshape(66, 100)[:, :98]
            assert np.ptp(luma) == 0

    def test_a_size_that_changes_is_scaled_to_the_first(self, tmp_path: Path) -> None:
        out = tmp_path / "frames"
        big, small = draw_clip(1, 64, 96)[0], draw_clip(1, 32, 32)[0]
        push(f"video/x-raw,format=RGB ! filesink location={out}", [big, small])
        assert out.stat().st_size == 2 * 64 * 96 * 3

    @pytest.mark.parametrize(
        ("pipeline", "error", "says"),
        [
            ("nosuch ! fakesink", ConfigError, 'no element "nosuch"'),
            ("video/x-raw,format=AYUV64 ! fakesink", ConfigError, "begin it with 'videoconvert'"),
            ("filesink location=/no/such/file", OutputNotWritableError, "Could not open file"),
            ("fakesink num-buffers=2", OutputNotWritableError, "the pipeline ended by itself"),
            ("identity error-after=2 ! fakesink", OutputNotWritableError, "Failed after"),
        ],
    )
    def test_what_does_not_run_is_told(
        self, pipeline: str, error: type[AdcVsrError], says: str
    ) -> None:
        with pytest.raises(error, match=says):
            push(pipeline, list(draw_clip(1, 32, 32)) * 60)

    def test_encoder_options_belong_to_the_pipeline(self) -> None:
        with pytest.raises(ConfigError, match="leave encoder options out"):
            open_sink("gst:fakesink", EncodeOptions(crf=20))


def test_without_gstreamer_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gst_process, "find_spec", lambda _name: None)
    monkeypatch.setattr(gst_process, "SYSTEM_PYTHON", str(tmp_path / "none"))
    with pytest.raises(MissingProgramError, match="sudo apt-get install python3-gst-1.0"):
        frames_of("videotestsrc")
    blind = tmp_path / "python"
    blind.write_text('#!/bin/sh\nshift\nexec /usr/bin/env python3 -S -I "$@"\n')
    blind.chmod(0o755)
    monkeypatch.setattr(gst_process, "SYSTEM_PYTHON", str(blind))
    with pytest.raises(MissingProgramError, match=r"bindings \(.*\): sudo apt-get install"):
        frames_of("videotestsrc")


@pytest.mark.parametrize("text", ["gst:", "gst: ! "])
def test_no_pipeline_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="names no pipeline"):
        open_source(text, threading.Event())
    with pytest.raises(ConfigError, match="names no pipeline"):
        open_sink(text, EncodeOptions())


def test_passwords_in_a_pipeline_are_not_shown() -> None:
    text = (
        "gst:rtspsrc location=rtsp://me:hush1hush@camera/stream latency=0 user-pw=word2word ! "
        'decodebin ! video/x-raw,format=NV12 ! srtsink passphrase="long secret"'
    )
    shown = Address.parse(text).text
    assert "rtsp://***@camera/stream latency=0 user-pw=***" in shown
    assert "video/x-raw,format=NV12" in shown
    for secret in ("hush1hush", "word2word", "long secret"):
        assert secret not in shown
    assert Address.parse(text).place == text[4:]
