"""Bits, colour and alpha: kept where the output can hold them, else a line that says why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.errors import ConfigError
from adcvsr.runtime.trace import Trace
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.planes import Planes, choose_format, planes_of
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker, video_facts

WIDTH, HEIGHT = 256, 32
LOW, HIGH = 300, 400
"""Of a gradient, in levels of ten bits."""


@pytest.fixture(scope="module")
def upscaler() -> Iterator[Upscaler]:
    with Upscaler("nano", threads=1) as ready:
        yield ready


def write(path: Path, pixel_format: str, planes: list[npt.NDArray[Any]], encoder: str) -> Path:
    """Two frames of the same planes."""
    height, width = planes[0].shape
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for time in range(2):
            frame = av.VideoFrame(width, height, pixel_format)
            frame.colorspace, frame.color_range, frame.pts = 1, 1, time
            for plane, levels in zip(frame.planes, planes, strict=True):
                row = np.zeros((plane.height, plane.line_size // levels.itemsize), levels.dtype)
                row[:, : levels.shape[1]] = levels
                plane.update(row.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def luma(path: Path) -> npt.NDArray[np.float64]:
    """Of the last frame, in levels of eight bits."""
    with av.open(str(path)) as container:
        frame = list(container.decode(video=0))[-1]
    bits = frame.format.components[0].bits
    kind = np.uint16 if bits > 8 else np.uint8
    plane = frame.planes[0]
    levels = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
    return levels.astype(float) / 2 ** (bits - 8)


@pytest.fixture
def gradient(tmp_path: Path) -> Path:
    y = np.round(np.linspace(LOW, HIGH, WIDTH)).astype(np.uint16)
    neutral = np.full((HEIGHT // 2, WIDTH // 2), 512, np.uint16)
    planes = [np.tile(y, (HEIGHT, 1)), neutral, neutral]
    return write(tmp_path / "gradient.mkv", "yuv420p10le", planes, "ffv1")


@pytest.mark.parametrize(
    ("name", "encoder", "pixels"),
    [
        ("out.mkv", "ffv1", "yuv420p10le"),
        ("out.mp4", "libx264", "yuv420p10le"),
        ("out.mp4", "libx265", "yuv420p10le"),
        ("out.mp4", "libsvtav1", "yuv420p10le"),
        ("out.mov", "prores_ks", "yuv422p10le"),
    ],
)
def test_a_gradient_of_ten_bits_has_no_bands(
    upscaler: Upscaler, gradient: Path, tmp_path: Path, name: str, encoder: str, pixels: str
) -> None:
    """Bands are where a level is held for long, and steps are those of a level of eight bits."""
    output = tmp_path / name
    options = EncodeOptions(encoder=encoder, crf=None if encoder in ("ffv1", "prores_ks") else 8)
    report = upscaler.upscale_file(gradient, output, options=options)
    assert video_facts(output).pixels == report.pixel_format == pixels
    row = luma(output)[2 * HEIGHT, 40:-40]
    truth = (LOW + (np.arange(40, 4 * WIDTH - 40) / 4 - 0.375) * (HIGH - LOW) / (WIDTH - 1)) / 4
    assert np.abs(row - truth).max() < 0.4
    assert np.sqrt(((row - truth) ** 2).mean()) < 0.13
    assert np.abs(np.diff(row)).max() <= 0.25
    eight = tmp_path / "eight.mkv"
    upscaler.upscale_file(gradient, eight, options=EncodeOptions(encoder="ffv1", bits=8))
    banded = luma(eight)[2 * HEIGHT, 40:-40]
    assert np.abs(np.diff(banded)).max() >= 1
    assert np.sqrt(((banded - truth) ** 2).mean()) > 0.26
    assert len(np.unique(row)) > 3 * len(np.unique(banded))


def test_what_cannot_be_kept_is_said(upscaler: Upscaler, gradient: Path, tmp_path: Path) -> None:
    report = upscaler.upscale_file(gradient, tmp_path / "out.webm")
    reason = "encoder 'libvpx-vp9' takes no more, libsvtav1 10 (--encoder)"
    assert f"10 bits are reduced to 8: {reason}" in report.notes
    report = upscaler.upscale_file(gradient, tmp_path / "eight.mp4", options=EncodeOptions(bits=8))
    assert "10 bits are reduced to 8: --bits 8" in report.notes
    with pytest.raises(ConfigError, match="encoder 'libvpx-vp9' takes 8, libsvtav1 10 .*--bits 8"):
        upscaler.upscale_file(gradient, tmp_path / "no.webm", options=EncodeOptions(bits=10))
    assert not (tmp_path / "no.webm").exists()


def test_int8_gives_way_to_fp32_unless_it_was_asked_for(gradient: Path, tmp_path: Path) -> None:
    ffv1 = EncodeOptions(encoder="ffv1", overwrite=True)
    with Upscaler("nano", variant="int8", threads=1) as asked:
        report = asked.upscale_file(gradient, tmp_path / "out.mkv", options=ffv1)
        assert "10 bits are reduced to 8: variant int8-ort takes 8, fp32 more" in report.notes
        assert report.variant == "int8-ort"
        asked._asked_variant = False  # as where a measurement chose it
        report = asked.upscale_file(gradient, tmp_path / "out.mkv", options=ffv1)
        assert "variant fp32-onnx runs, not int8-ort" in "\n".join(report.notes)
        assert report.variant == "fp32-onnx"
    with Upscaler("nano", colour_match="frame", threads=1) as matched:
        report = matched.upscale_file(gradient, tmp_path / "out.mkv", options=ffv1)
        assert "reduced to 8: colours are matched" in "\n".join(report.notes)


def test_ten_bits_of_a_source_of_eight(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    options = EncodeOptions(encoder="ffv1", bits=10)
    report = upscaler.upscale_file(make_video(), tmp_path / "out.mkv", options=options)
    assert video_facts(tmp_path / "out.mkv").pixels == "yuv420p10le"
    assert len(np.unique(luma(tmp_path / "out.mkv") % 1)) > 1
    assert not any("reduced" in note for note in report.notes)


def test_eight_bits_into_an_encoder_of_ten_cost_nothing_more(
    make_video: VideoMaker, tmp_path: Path
) -> None:
    with Upscaler("nano", variant="int8", threads=1) as upscaler:
        options = EncodeOptions(encoder="prores_ks")
        report = upscaler.upscale_file(make_video(), tmp_path / "out.mov", options=options)
    assert (report.variant, report.pixel_format) == ("int8-ort", "yuv422p10le")
    assert not report.notes


def test_layers_of_ten_bits_are_traced(gradient: Path, tmp_path: Path) -> None:
    trace = Trace(tmp_path / "trace.json")
    with Upscaler("nano", threads=1, trace=trace) as upscaler:
        report = upscaler.upscale_file(gradient, tmp_path / "out.mp4")
    assert report.stages["infer"]["cpu_seconds"]
    assert any("layers" in track for track in trace._tracks)


def test_a_comparison_beside_ten_bits(upscaler: Upscaler, gradient: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside.mp4"
    upscaler.upscale_file(gradient, tmp_path / "out.mp4", compare=beside)
    assert video_facts(beside).size == (8 * WIDTH, 4 * HEIGHT)
    assert abs(luma(beside)[60, 4 * WIDTH :].mean() - (LOW + HIGH) / 8) < 1


@pytest.mark.parametrize("pixel_format", ["yuv422p", "yuv444p"])
def test_colour_of_all_lines_is_kept(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, pixel_format: str
) -> None:
    source = make_video(pixel_format=pixel_format)
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert video_facts(tmp_path / "out.mp4").pixels == pixel_format
    assert any(note.startswith("kept: 4:") for note in report.notes)
    report = upscaler.upscale_file(
        source, tmp_path / "less.mp4", options=EncodeOptions(chroma="420")
    )
    assert video_facts(tmp_path / "less.mp4").pixels == "yuv420p"
    assert any("is reduced to 4:2:0: --chroma 420" in note for note in report.notes)


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le"])
def test_gray_stays_gray(upscaler: Upscaler, tmp_path: Path, pixel_format: str) -> None:
    levels = np.random.default_rng(2).integers(20, 230, (32, 48))
    gray = levels.astype(np.uint8) if pixel_format == "gray" else levels.astype(np.uint16) * 4
    source = write(tmp_path / "gray.mkv", pixel_format, [gray], "ffv1")
    upscaler.upscale_file(source, tmp_path / "out.mkv", options=EncodeOptions(encoder="ffv1"))
    with av.open(str(tmp_path / "out.mkv")) as container:
        for frame in container.decode(video=0):
            bits = frame.format.components[0].bits
            kind = np.uint16 if bits > 8 else np.uint8
            for plane in frame.planes[1:]:
                rows = np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
                assert (rows == 1 << (bits - 1)).all()


@pytest.mark.parametrize(
    ("name", "encoder"), [("out.webm", None), ("out.mov", "prores_ks"), ("out.mkv", "ffv1")]
)
def test_alpha_is_kept(upscaler: Upscaler, tmp_path: Path, name: str, encoder: str | None) -> None:
    """A disc shines out of nothing: its edge lies where it lay, at twice the size."""
    rows, columns = np.mgrid[:48, :64]
    alpha = np.where((rows - 20) ** 2 + (columns - 30) ** 2 < 15**2, 255, 0).astype(np.uint8)
    colour = [np.full(size, 120, np.uint8) for size in ((48, 64), (24, 32), (24, 32))]
    source = write(tmp_path / "in.mkv", "yuva420p", [*colour, alpha], "ffv1")
    options = EncodeOptions(encoder=encoder)
    upscaler.upscale_file(source, tmp_path / name, options=options, size=(128, 96))
    with FileSource(tmp_path / name) as found:
        assert found.info.planes.alpha
        found.keep(alpha=True)
        frames = [item for item in found if isinstance(item, SourceFrame)]
    assert len(frames) == 2
    for frame in frames:
        assert frame.alpha is not None
        assert np.abs(frame.alpha - alpha.repeat(2, 0).repeat(2, 1).astype(float)).mean() < 4
    report = upscaler.upscale_file(source, tmp_path / "none.mp4")
    assert "the alpha channel is left out: 'libx264' holds none" in "\n".join(report.notes)


@pytest.mark.parametrize(
    ("encoder", "source", "name"),
    [
        ("libx264", Planes(8, "420"), "yuv420p"),
        ("libx264", Planes(12, "422"), "yuv422p10le"),
        ("libx265", Planes(8, "420", alpha=True), "yuv420p"),
        ("libvpx-vp9", Planes(10, "444"), "yuv444p"),
        ("prores_ks", Planes(8, "420"), "yuv422p10le"),
        ("libsvtav1", Planes(10, "444"), "yuv420p10le"),
        ("mjpeg", Planes(8, "422"), "yuv422p"),
        ("mpeg4", Planes(10, "444", alpha=True), "yuv420p"),
    ],
)
def test_the_format_that_loses_least(encoder: str, source: Planes, name: str) -> None:
    chosen = choose_format(encoder, av.Codec(encoder, "w"), source, bits=None, colour="auto")
    assert chosen.name == name
    lost = (source.bits > chosen.holds.bits, source.alpha and not chosen.holds.alpha)
    assert sum(lost) <= len(chosen.notes)


def test_vp9_of_ten_bits_where_its_library_has_them() -> None:
    """FFmpeg takes profile 2 from the format; PyAV's wheels offer none of ten bits."""
    names = ("yuv420p", "yuva420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le")
    formats = [SimpleNamespace(name=name) for name in names]
    codec = SimpleNamespace(video_formats=formats)
    chosen = choose_format("libvpx-vp9", codec, Planes(10, "420"), bits=None, colour="auto")
    assert (chosen.name, chosen.notes) == ("yuv420p10le", ())


@pytest.mark.parametrize(
    ("name", "planes"),
    [
        ("nv12", Planes(8, "420")),
        ("p010le", Planes(10, "420")),
        ("yuyv422", Planes(8, "422")),
        ("yuvj444p", Planes(8, "444")),
        ("yuva444p12le", Planes(12, "444", alpha=True)),
        ("rgba", Planes(8, "420", alpha=True)),
        ("pal8", Planes(8, "420")),
        ("ya8", Planes(8, "420", alpha=True, gray=True)),
        ("yuv411p", Planes(8, "420")),
    ],
)
def test_what_formats_hold(name: str, planes: Planes) -> None:
    assert planes_of(av.VideoFormat(name)) == planes
