"""Files whose frames stay YUV 4:2:0 from decoder to encoder, and those that cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError, GraphError
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.colour import Colours, frame_from_rgb, rgb_from_frame
from adcvsr.pictures.crop import Crop
from adcvsr.pictures.output_size import OutputSize
from adcvsr.pictures.scene_cuts import small_luma
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv import frame_from_yuv, why_not_yuv, yuv_from_frame
from adcvsr.runtime.processing.cut_reset import _luma
from adcvsr.runtime.sessions import ort_cpu
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame

BT709 = Colours(1, full_range=False, primaries=1, transfer=1)
NEARLY_LOSSLESS = EncodeOptions(crf=1, overwrite=True)


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", variant="fp32", threads=1) as ready:
        yield ready


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Six soft frames with a cut in the middle."""
    path = tmp_path / "in.mp4"
    drawn = draw_clip(3, 36, 48) // 3 + 80
    bright = 240 - draw_clip(3, 36, 48)[:, ::-1, ::-1] // 3
    write_clip(path, [*drawn.astype(np.uint8), *bright.astype(np.uint8)], colours=BT709)
    return path


def rgb_of(path: Path) -> Any:
    with FileSource(path) as source:
        return np.stack([item.rgb for item in source if isinstance(item, SourceFrame)])


@pytest.mark.parametrize(
    ("encoder", "size"),
    [
        ("libx264", None),
        ("libx265", OutputSize(scale=3)),
        ("ffv1", None),
        ("ffv1", OutputSize(scale=2)),
    ],
)
def test_the_file_is_that_of_rgb(
    upscaler: Upscaler, clip: Path, tmp_path: Path, size: OutputSize | None, encoder: str
) -> None:
    """Whether an encoder takes NV12 or three planes, reduced or not; times and tags alike."""
    ending = "mkv" if encoder == "ffv1" else "mp4"
    options = EncodeOptions(encoder=encoder, crf=None if encoder == "ffv1" else 4, overwrite=True)
    found = {}
    for pixels in ("rgb", "yuv"):
        output = tmp_path / f"{pixels}.{ending}"
        report = upscaler.upscale_file(clip, output, options=options, size=size, pixels=pixels)
        assert (report.pixels, report.pixels_reason) == (
            (pixels, "") if pixels == "yuv" else ("rgb", "--pixels rgb")
        )
        assert report.scene_cuts == 1
        found[pixels] = (rgb_of(output), report)
    (rgb, one), (yuv, two) = found["rgb"], found["yuv"]
    assert one.pixel_format == two.pixel_format
    assert one.output_size == two.output_size
    assert rgb.shape == yuv.shape
    difference = np.abs(rgb.astype(int) - yuv)
    lossless = encoder == "ffv1"
    assert difference.mean() < (0.6 if lossless else 1.5)
    assert np.percentile(difference, 99.9) <= (4 if lossless else 10)
    with av.open(str(tmp_path / f"yuv.{ending}")) as container:
        context = container.streams.video[0].codec_context
        assert (context.pix_fmt, context.colorspace) == ("yuv420p", 1)


def test_auto_takes_yuv_and_says_so(clip: Path, tmp_path: Path) -> None:
    arguments = ["-v", "upscale", str(clip), str(tmp_path / "out.mp4"), "--threads", "1"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "frames are YUV 4:2:0 from the decoder to the encoder" in done.output
    done = CliRunner().invoke(cli, [*arguments[1:], "--overwrite", "--json", "--tile", "32"])
    report = json.loads(done.stdout)
    assert (report["pixels"], report["pixels_reason"]) == ("rgb", "tiles are cut of RGB")


@pytest.mark.parametrize(
    ("how", "options", "reason"),
    [
        ({"tile": 32}, {}, "tiles"),
        ({"colour_match": "frame"}, {}, r"matched to the input in RGB \(frame\)"),
        ({}, {"options": EncodeOptions(bits=10)}, "more than 8 bits"),
        ({}, {"read": ReadOptions(crop=Crop(16, 16, 3, 2))}, "between two pixels of chroma"),
    ],
)
def test_what_needs_rgb_gets_it_with_the_reason(
    clip: Path, tmp_path: Path, how: Any, options: Any, reason: str
) -> None:
    with Upscaler("nano", variant="fp32", threads=1, **how) as ready:
        report = ready.upscale_file(clip, tmp_path / "out.mp4", **options)
        assert report.pixels == "rgb"
        with pytest.raises(ConfigError, match=f"--pixels yuv is not possible.*{reason}"):
            ready.upscale_file(clip, tmp_path / "two.mp4", pixels="yuv", **options)
    assert not (tmp_path / "two.mp4").exists()


def test_a_part_that_begins_on_chroma_stays_yuv(
    upscaler: Upscaler, clip: Path, tmp_path: Path
) -> None:
    read = ReadOptions(crop=Crop(17, 13, 4, 6))
    found = {}
    for pixels in ("rgb", "yuv"):
        output = tmp_path / f"{pixels}.mp4"
        upscaler.upscale_file(clip, output, read=read, options=NEARLY_LOSSLESS, pixels=pixels)
        found[pixels] = rgb_of(output)
    assert found["yuv"].shape[1:3] == (52, 68)
    # Chroma at the part's border is that of the part alone.
    inner = (slice(None), slice(12, -12), slice(12, -12))
    assert np.abs(found["yuv"][inner].astype(int) - found["rgb"][inner]).mean() < 1.2


def test_the_comparison_shows_both_halves(upscaler: Upscaler, clip: Path, tmp_path: Path) -> None:
    views = []
    for pixels in ("rgb", "yuv"):
        both = tmp_path / f"both_{pixels}.mp4"
        output = tmp_path / f"{pixels}.mp4"
        upscaler.upscale_file(clip, output, compare=both, options=NEARLY_LOSSLESS, pixels=pixels)
        views.append(rgb_of(both).astype(int))
    assert views[0].shape == (6, 144, 384, 3)
    assert np.abs(views[0] - views[1]).mean() < 1.2


def test_a_change_of_colours_is_converted(tmp_path: Path) -> None:
    """A frame of another matrix than the stream began with means the same colours afterwards."""
    picture = np.full((16, 16, 3), (200, 60, 40), np.uint8)
    other = frame_from_rgb(picture, Colours(6, full_range=True), "yuv420p", VideoReformatter())
    taken = yuv_from_frame(other, BT709, VideoReformatter())
    assert taken.colours == BT709
    assert np.abs(taken.rgb(VideoReformatter()).astype(int) - picture).max() <= 3


def test_planes_go_to_the_encoder_as_they_are() -> None:
    frame = frame_from_rgb(draw_clip(1, 16, 24)[0], BT709, "yuv420p", VideoReformatter())
    picture = yuv_from_frame(frame, BT709, VideoReformatter())
    back = frame_from_yuv(picture, "yuv420p", VideoReformatter())
    assert np.array_equal(back.to_ndarray(), frame.to_ndarray())
    assert (int(back.colorspace), int(back.color_range)) == (1, 1)


def test_chroma_that_does_not_lie_left_is_seen() -> None:
    frame = frame_from_rgb(draw_clip(1, 48, 64)[0], BT709, "yuv420p", VideoReformatter())
    for place, reason in (("left", None), ("center", "does not lie left"), ("topleft", "left")):
        found = why_not_yuv(placed(frame, place))
        assert (found is None) if reason is None else (reason in str(found)), place


def placed(frame: av.VideoFrame, place: str) -> av.VideoFrame:
    """The same frame with another tag."""
    graph = av.filter.Graph()
    buffer = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    tag = graph.add("setparams", f"chroma_location={place}")
    graph.link_nodes(buffer, tag, graph.add("buffersink")).configure()
    graph.push(frame)
    found: Any = graph.pull()
    return found


def test_cuts_are_scored_on_the_same_luma() -> None:
    for full in (False, True):
        colours = Colours(1, full_range=full)
        frame = frame_from_rgb(draw_clip(1, 72, 128)[0], colours, "yuv420p", VideoReformatter())
        rgb = rgb_from_frame(frame, VideoReformatter())
        expected = small_luma(av.VideoFrame.from_ndarray(rgb, format="rgb24"))
        found = _luma(yuv_from_frame(frame, colours, VideoReformatter()))
        assert np.abs(found - expected).mean() < 2


def test_a_graph_that_cannot_goes_on_in_rgb(
    upscaler: Upscaler, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle of another form is upscaled as before, with the reason; asked for, an error."""

    def refuse(*_given: Any, **_how: Any) -> bytes:
        raise GraphError("the graph does not end as exports do")

    monkeypatch.setattr(ort_cpu, "with_yuv_ends", refuse)
    report = upscaler.upscale_file(clip, tmp_path / "out.mp4")
    assert (report.pixels, report.pixels_reason) == (
        "rgb",
        "the graph does not end as exports do",
    )
    assert report.frames == 6
    with pytest.raises(ConfigError, match="--pixels yuv is not possible: the graph does not end"):
        upscaler.upscale_file(clip, tmp_path / "two.mp4", pixels="yuv")
