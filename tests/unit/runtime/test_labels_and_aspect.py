"""Pixel aspect, tags, time code, fonts, long cues and long pauses in what comes out."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from adcvsr.errors import UnsupportedVideoError
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.carried import mov_text_from_text
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.input_file import is_animated_webp
from adcvsr.runtime.video.labels import carried_timecode
from adcvsr.runtime.video.matroska import tag_pixel_aspect
from adcvsr.runtime.video.source import FileSource, SourceFrame
from video_facts import VideoMaker, video_facts

TAGS = {
    "title": "T",
    "artist": "A",
    "comment": "C",
    "description": "D",
    "date": "2020-05-06",
    "creation_time": "2020-05-06T07:08:09.000000Z",
}


@pytest.fixture(scope="module")
def upscaler() -> Any:
    with Upscaler("nano", threads=1) as ready:
        yield ready


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("out.webm", "libvpx-vp9"),
        ("out.webm", "libvpx"),
        ("out.mkv", "libvpx-vp9"),
        ("out.mkv", "ffv1"),
        ("out.mkv", "libx264"),
        ("out.mp4", "libvpx-vp9"),
        ("out.mp4", "libx265"),
        ("out.avi", "libx264"),
        ("out.ts", "libx264"),
    ],
)
@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9)])
def test_pixel_aspect(
    upscaler: Upscaler,
    make_video: VideoMaker,
    tmp_path: Path,
    name: str,
    encoder: str,
    aspect: Fraction,
) -> None:
    source = make_video(size=(72, 58), aspect=aspect)
    options = EncodeOptions(encoder=encoder)
    report = upscaler.upscale_file(source, tmp_path / name, options=options)
    facts = video_facts(tmp_path / name)
    assert abs(facts.aspect / aspect - 1) < 0.004
    assert len(facts.times) == report.frames == 8
    assert not any("aspect" in note for note in report.notes)


def test_an_aspect_that_cannot_be_told_is_said(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    source = make_video(aspect=Fraction(64, 45))
    report = upscaler.upscale_file(
        source, tmp_path / "out.avi", options=EncodeOptions(encoder="ffv1")
    )
    found = video_facts(tmp_path / "out.avi").aspect
    said = any("carries no pixel aspect: pixels of 64:45" in note for note in report.notes)
    assert said == (found != Fraction(64, 45))
    assert said


def test_the_rest_of_a_matroska_header_stays_right(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path
) -> None:
    """Index and checksums follow what moved: every frame is found, by seeking too."""
    source = make_video("in.mkv", pts=range(0, 60 * 512, 512), metadata=TAGS)
    options = EncodeOptions(encoder="ffv1")  # all keyframes
    output = tmp_path / "out.mkv"
    upscaler.upscale_file(source, output, options=options)
    before = video_facts(output)
    size = output.stat().st_size
    assert tag_pixel_aspect(output, *before.size, Fraction(2))
    after = video_facts(output)
    assert after.aspect == 2
    assert output.stat().st_size == size
    assert (after.times, after.metadata, after.text) == (before.times, before.metadata, before.text)
    with av.open(str(output), options={"err_detect": "crccheck+explode"}) as container:
        assert container.streams.video[0].codec_context.name
        container.seek(1_500_000)
        assert next(container.decode(video=0)).time == pytest.approx(1.5, abs=0.1)
    assert tag_pixel_aspect(output, *before.size, Fraction(1))
    assert video_facts(output).aspect == 1


def test_a_file_that_is_no_matroska_stays(make_video: VideoMaker) -> None:
    path = make_video()
    before = path.read_bytes()
    assert not tag_pixel_aspect(path, 32, 24, Fraction(2))
    assert path.read_bytes() == before


@pytest.mark.parametrize("source", ["in.mp4", "in.mkv"])
@pytest.mark.parametrize("target", ["out.mp4", "out.mov", "out.mkv", "out.webm", "out.avi"])
def test_tags(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, source: str, target: str
) -> None:
    """Matroska writes keys in capitals, mp4 wants small ones; what a container lacks is said."""
    report = upscaler.upscale_file(make_video(source, metadata=TAGS), tmp_path / target)
    found = {k.lower(): v for k, v in video_facts(tmp_path / target).metadata.items()}
    said = next((n for n in report.notes if "does not hold these tags" in n), "")
    for key, value in TAGS.items():
        assert found.get(key) == value or key in said, key
    assert bool(said) == (target == "out.avi")


def write_extras(path: Path, *, attach: bool = False, timecode: str = "", cue: bytes = b"") -> Path:
    """A clip of ten frames with attachments, a time code or a subtitle."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        if timecode:
            stream.metadata["timecode"] = timecode
        if attach:
            container.add_attachment("My.ttf", "application/x-truetype-font", b"\0\1\0\0" * 99)
            container.add_attachment("g.otf", "application/vnd.ms-opentype", b"OTTO" * 50)
        text = container.add_mux_stream("subrip") if cue else None
        for index in range(10):
            image = np.full((32, 32, 3), 20 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if text is not None:
            packet = av.Packet(cue)
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = 100
            packet.duration = 100
            container.mux(packet)
    return path


def test_fonts(upscaler: Upscaler, tmp_path: Path) -> None:
    source = write_extras(tmp_path / "in.mkv", attach=True)
    upscaler.upscale_file(source, tmp_path / "out.mkv")

    def fonts(path: Path) -> list[tuple[str, str, bytes]]:
        with av.open(str(path)) as container:
            return [
                (s.metadata["filename"], s.metadata["mimetype"], s.data)
                for s in container.streams.attachments
            ]

    assert fonts(tmp_path / "out.mkv") == fonts(source)
    assert len(fonts(source)) == 2
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert "attachment 'My.ttf' is left out: mp4 holds none, mkv does" in report.notes


def test_time_code(upscaler: Upscaler, tmp_path: Path) -> None:
    source = write_extras(tmp_path / "in.mov", timecode="01:02:03:04")
    for name in ("out.mov", "out.mp4"):
        report = upscaler.upscale_file(source, tmp_path / name)
        with av.open(str(tmp_path / name)) as written:
            assert written.streams.video[0].metadata["timecode"] == "01:02:03:04"
        assert not any("data stream" in note for note in report.notes)
    report = upscaler.upscale_file(source, tmp_path / "out.mkv")
    assert any("time code 01:02:03:04 is left out" in note for note in report.notes)


def test_time_code_is_counted_on() -> None:
    said: list[str] = []

    def count(text: str, start: Fraction, rate: Fraction) -> str | None:
        return carried_timecode(text, start, rate, "mov", said.append)

    assert count("01:02:03:04", Fraction(2), Fraction(25)) == "01:02:05:04"
    assert count("23:59:59:20", Fraction(1, 5), Fraction(25)) == "00:00:00:00"
    assert count("01:00:00;02", Fraction(0), Fraction(30000, 1001)) == "01:00:00;02"
    assert not said
    assert count("01:00:00;02", Fraction(1), Fraction(30000, 1001)) is None
    assert "cannot be counted on" in said[0]


def test_a_cue_beyond_16_bits_is_cut_between_characters(upscaler: Upscaler, tmp_path: Path) -> None:
    said: list[str] = []
    data = mov_text_from_text("ü".encode() * 40_000, said.append)
    assert data[:2] == (65_534).to_bytes(2, "big")
    assert data[2:].decode() == "ü" * 32_767
    assert "80000 bytes is cut to 65535" in said[0]
    assert mov_text_from_text(b"<i>x</i>", said.append) == b"\0\1x"
    source = write_extras(tmp_path / "in.mkv", cue=b"x" * 70_000)
    report = upscaler.upscale_file(source, tmp_path / "out.mp4")
    assert any("70000 bytes is cut" in note for note in report.notes)


@pytest.mark.parametrize(
    ("name", "encoder"), [("out.mp4", "libx264"), ("out.mov", "libx264"), ("out.mp4", "libx265")]
)
def test_a_pause_of_many_ticks(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, name: str, encoder: str
) -> None:
    """No frame lies 2^28 ticks from its decoding, which older readers take for damage."""
    ticks = 90_000
    pts = [n * 3600 + (3400 * ticks if n >= 10 else 0) for n in range(24)]
    source = make_video("in.mp4", time_base=Fraction(1, ticks), pts=pts)
    output = tmp_path / name
    upscaler.upscale_file(source, output, options=EncodeOptions(encoder=encoder))
    assert video_facts(output).times == [Fraction(n, ticks) for n in pts]
    with av.open(str(output)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    gaps = [p.pts - p.dts for p in packets]
    assert min(gaps) >= 0
    assert max(gaps) < 1 << 27
    assert (np.diff([p.dts for p in packets]) > 0).all()


@pytest.mark.parametrize("target", ["out.mov", "out.mkv", "out.mp4"])
def test_what_a_phone_and_a_shop_wrote(
    upscaler: Upscaler, make_video: VideoMaker, tmp_path: Path, target: str
) -> None:
    tags = {
        "com.apple.quicktime.make": "Maker",
        "com.apple.quicktime.location.ISO6709": "+52.5+013.4/",
        "genre": "Krimi",
        "copyright": "Ä",
    }
    path = tmp_path / "in.mov"
    options = {"movflags": "use_metadata_tags"}
    with (
        av.open(str(make_video())) as reader,
        av.open(str(path), "w", options=options) as writer,
    ):
        writer.metadata.update(tags)
        stream = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                writer.mux(packet)
    report = upscaler.upscale_file(path, tmp_path / target)
    with av.open(str(tmp_path / target)) as written:
        found = {key.lower(): value for key, value in written.metadata.items()}
    (said,) = [n for n in report.notes if "does not hold these tags" in n] or [""]
    for key, value in tags.items():
        assert found.get(key.lower()) == value or key in said
    assert bool(said) == (target == "out.mp4")


def test_an_animated_webp_is_not_called_damaged(tmp_path: Path) -> None:
    """FFmpeg before 8.1 writes these and cannot read them."""
    path = tmp_path / "in.webp"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libwebp_anim", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for index in range(3):
            image = np.full((32, 32, 3), 80 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert is_animated_webp(path)
    with suppress(UnsupportedVideoError), FileSource(path) as source:
        assert sum(isinstance(item, SourceFrame) for item in source) == 3
        return
    with pytest.raises(UnsupportedVideoError, match="is an animated WebP, which this FFmpeg"):
        FileSource(path)
