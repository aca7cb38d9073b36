"""Live frames of YUV 4:2:0 stay that from capture to every sink, or the reason is said."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.errors import ConfigError
from adcvsr.pictures.clips import read_clip
from adcvsr.pictures.colour import Colours, frame_from_rgb
from adcvsr.pictures.crop import Crop
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import yuv_from_frame
from adcvsr.pictures.yuv_picture import AnyPicture, YuvPicture
from adcvsr.runtime.live.infer_turns import InferTurns
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.live.pixels import LivePixels
from adcvsr.runtime.live.sink_page import JpegEncoder
from adcvsr.runtime.live.source import LiveFrame, VideoSource
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.upscaler import Upscaler
from video_facts import VideoMaker

BT709 = Colours(1, full_range=False, primaries=1, transfer=1)


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32", threads=1) as ready:
        yield ready


def captured(height: int = 32, width: int = 48, kind: str = "nv12") -> list[av.VideoFrame]:
    drawn = (draw_clip(3, height, width) // 3 + 80).astype(np.uint8)
    return [frame_from_rgb(each, BT709, kind, VideoReformatter()) for each in drawn]


class CameraSource(VideoSource):
    """A camera of NV12, as decoders on a GPU give it."""

    def frames(self) -> Generator[LiveFrame, None, None]:
        for index, frame in enumerate(captured()):
            yield LiveFrame(frame, index / 25, self.clock(), colours=BT709)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_camera_is_recorded_as_it_is_in_rgb(
    upscaler: Upscaler, tmp_path: Path, ending: str
) -> None:
    found = {}
    for pixels in ("rgb", "auto"):
        output = tmp_path / f"{pixels}.{ending}"
        options = LiveOptions(policy="every", pixels=pixels)
        run = LiveRun(upscaler, "test://", [str(output), "null://"], options)
        run.source = CameraSource(run.source.address, run.source.stop)
        report = run.run()
        assert (report.captured, report.presented) == (3, 3)
        found[pixels] = (np.stack(list(read_clip(output))).astype(int), report)
    (rgb, one), (yuv, two) = found["rgb"], found["auto"]
    assert (one.pixels, one.pixels_reason) == ("rgb", "--pixels rgb")
    assert (two.pixels, two.pixels_reason) == ("yuv", "")
    assert np.abs(rgb - yuv).mean() < 1.5


def both(pixels: LivePixels, frame: LiveFrame, part: Crop | None) -> tuple[AnyPicture, AnyPicture]:
    """What the network is given, and what it makes of it."""
    low = pixels.take(frame, part)
    return low, pixels.run(low)


def test_a_file_is_yuv_and_the_pattern_is_rgb(upscaler: Upscaler, make_video: VideoMaker) -> None:
    options = LiveOptions(policy="every")
    assert LiveRun(upscaler, str(make_video()), "null://", options).run().pixels == "yuv"
    report = LiveRun(upscaler, "test://?size=64x64&frames=2&fps=99", "null://", options).run()
    assert (report.pixels, report.pixels_reason) == ("rgb", "the source gives RGB")


def live(picture: Any) -> LiveFrame:
    return LiveFrame(picture, 0.0, 0.0, colours=BT709)


def test_pictures_are_those_of_the_session(upscaler: Upscaler) -> None:
    pixels = LivePixels(upscaler)
    frames = captured()
    upscaler.reset()
    made = [both(pixels, live(frame), None) for frame in frames]
    assert [type(low) for low, _ in made] == [YuvPicture] * 3
    upscaler.reset()
    for frame, (_, picture) in zip(frames, made, strict=True):
        expected = upscaler.upscale_yuv(yuv_from_frame(frame, BT709, VideoReformatter()))
        assert isinstance(picture, YuvPicture)
        assert np.array_equal(picture.luma, expected.luma)
        assert np.array_equal(picture.chroma, expected.chroma)


def test_a_zoom_between_two_pixels_of_chroma_goes_through_rgb_and_back(
    upscaler: Upscaler,
) -> None:
    """The network starts anew where the stream changes: its past is of the other kind."""
    pixels, (frame, *_) = LivePixels(upscaler), captured()
    upscaler.reset()
    first = both(pixels, live(frame), Crop(16, 16, 4, 2))[1]
    odd = both(pixels, live(frame), Crop(16, 16, 5, 2))[1]
    assert isinstance(odd, np.ndarray)
    assert (pixels.pixels, pixels.reason) == (
        "rgb",
        "the part 16x16+5+2 begins between two pixels of chroma",
    )
    again = both(pixels, live(frame), Crop(16, 16, 4, 2))[1]
    assert pixels.pixels == "yuv"
    assert isinstance(first, YuvPicture)
    assert isinstance(again, YuvPicture)
    assert np.array_equal(first.luma, again.luma)


def test_yuv_that_is_asked_for_is_given_or_an_error(upscaler: Upscaler) -> None:
    pixels = LivePixels(upscaler, "yuv")
    with pytest.raises(ConfigError, match="--pixels yuv is not possible: the source is yuv422p"):
        both(pixels, live(captured(kind="yuv422p")[0]), None)


def test_streams_beside_each_other_share_what_is_loaded(upscaler: Upscaler) -> None:
    with upscaler.another_stream() as one, upscaler.another_stream() as two:
        frames = captured()
        alone, between = LivePixels(one), LivePixels(two)
        for frame in frames:
            expected = both(alone, live(frame), None)[1]
        both(between, live(frames[2]), None)
        two.reset()
        for frame in frames:
            found = both(between, live(frame), None)[1]
        assert isinstance(expected, YuvPicture)
        assert isinstance(found, YuvPicture)
        assert np.array_equal(expected.luma, found.luma)
        assert one._yuv is not None
        assert two._yuv is not None
        assert one._yuv._runtime is two._yuv._runtime  # type: ignore[attr-defined]


class Camera:
    """A stream of `InferTurns` whose frames have come."""

    batches, options = True, LiveOptions()

    def __init__(self, upscaler: Upscaler, frames: list[av.VideoFrame]) -> None:
        self.upscaler, self.pixels = upscaler, LivePixels(upscaler)
        self.frames, self.pictures = iter(frames), list[AnyPicture]()

    def take(self) -> Any:
        return SimpleNamespace(low=self.pixels.take(live(next(self.frames)), None))

    def upscale(self, taken: Any) -> None:
        self.pictures.append(self.pixels.run(taken.low))


def test_cameras_of_yuv_run_in_one_batch(upscaler: Upscaler) -> None:
    """With the bits of each alone, and of the same loaded graph."""
    frames = captured()
    with upscaler.another_stream() as alone:
        pixels = LivePixels(alone)
        expected = [both(pixels, live(frame), None)[1] for frame in frames]
    with ExitStack() as stack:
        owner = stack.enter_context(Upscaler("nano", variant="fp32", threads=1))
        assert isinstance(owner.session, StreamSession)
        assert owner.session.prepare_batches() == ""
        streams = [stack.enter_context(owner.another_stream()) for _ in range(2)]
        cameras: list[Any] = [Camera(each, frames) for each in streams]
        turns = InferTurns(threading.Event())
        for _ in frames:
            assert turns._serve(cameras)
        assert turns.batches == {2: 2}  # the first frames make buffers of their size
        assert all(each.batches for each in streams)
        for camera in cameras:
            for picture, single in zip(camera.pictures, expected, strict=True):
                assert isinstance(single, YuvPicture)
                assert np.array_equal(picture.luma, single.luma)
                assert np.array_equal(picture.chroma, single.chroma)


def test_the_page_shows_yuv_in_its_colours() -> None:
    picture = np.full((32, 32, 3), (200, 60, 40), np.uint8)
    frame = frame_from_rgb(picture, BT709, "yuv420p", VideoReformatter())
    data = JpegEncoder().encode(yuv_from_frame(frame, BT709, VideoReformatter()), (64, 64))
    decoder = av.CodecContext.create("mjpeg", "r")
    (decoded,) = decoder.decode(av.Packet(data))  # type: ignore[attr-defined]
    shown = decoded.to_ndarray(format="rgb24")
    assert shown.shape == (64, 64, 3)
    assert np.abs(shown[32, 32].astype(int) - picture[0, 0]).max() <= 6
