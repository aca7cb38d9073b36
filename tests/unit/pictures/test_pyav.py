"""The one place for what differs between the versions of PyAV that adcvsr runs with."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata import sidedata

import adcvsr
from adcvsr.pictures import pyav
from adcvsr.pictures.clips import read_image
from adcvsr.runtime.upscaler import Upscaler
from video_facts import video_facts

ROOT = Path(__file__).parents[3]
ELSEWHERE = ("metadata_errors", ".side_data")


def exif(orientation: int) -> bytes:
    """A JPEG's APP1 segment with one tag, as every camera writes it."""
    tiff = b"MM\x00*\x00\x00\x00\x08\x00\x01"
    tiff += struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0\0\0\0"
    content = b"Exif\0\0" + tiff
    return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content


def write_photo(path: Path, orientation: int, kind: str = "image2", count: int = 1) -> Path:
    """A JPEG, or Motion JPEG in a container, whose pictures carry Exif."""
    context = av.VideoCodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = 48, 32, "yuvj420p"
    context.time_base = Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 90, np.uint8), "rgb24")
    (packet,) = [*context.encode(frame.reformat(format="yuvj420p")), *context.encode(None)]
    jpeg = bytes(packet)
    jpeg = jpeg[:2] + exif(orientation) + jpeg[2:]
    if kind == "image2":
        path.write_bytes(jpeg)
        return path
    with av.open(str(path), "w", format=kind) as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuvj420p"
        for index in range(count):
            copy = av.Packet(jpeg)
            copy.stream, copy.pts, copy.dts = stream, index, index
            copy.time_base, copy.is_keyframe = Fraction(1, 10), True
            container.mux(copy)
    return path


@pytest.mark.parametrize(
    ("name", "kind"),
    [("photo.jpg", "image2"), ("m.mov", "mov"), ("m.avi", "avi"), ("m.mkv", "matroska")],
)
def test_pictures_with_exif(tmp_path: Path, name: str, kind: str) -> None:
    """FFmpeg gives Exif as side data, for which PyAV 18 has no name: it was a traceback."""
    count = 1 if kind == "image2" else 3
    source = write_photo(tmp_path / name, 1, kind, count)
    with Upscaler("nano") as upscaler:
        upscaler.upscale_file(source, tmp_path / "out.mp4")
    facts = video_facts(tmp_path / "out.mp4")
    assert len(facts.times) == count
    assert read_image(source).shape == (32, 48, 3)


def test_side_data_has_names(tmp_path: Path) -> None:
    with pyav.open_input(str(write_photo(tmp_path / "photo.jpg", 6))) as container:
        names = pyav.side_data_names(next(container.decode(video=0)))
    # FFmpeg 8.1 began to give Exif with the frame.
    assert names <= {"EXIF", "UNKNOWN_31", "DISPLAYMATRIX"}
    assert sidedata.Type["DOVI_METADATA"].name == "DOVI_METADATA"
    assert sidedata.Type(4242).name == "UNKNOWN_4242"
    assert sidedata.Type(4242) is sidedata.Type(4242)
    with pytest.raises(ValueError, match="no kind"):
        sidedata.Type("no kind")


def test_metadata_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "TITLEMARK"
        stream = container.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        frame = av.VideoFrame(48, 32, "yuv420p")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    data = path.read_bytes()
    assert b"TITLEMARK" in data
    path.write_bytes(data.replace(b"TITLEMARK", b"TITLE\xff\xfeRK"))
    with pyav.open_input(str(path)) as opened:
        assert any(title.startswith("TITLE") for title in opened.metadata.values())


def test_nothing_else_knows_the_differences() -> None:
    """What PyAV 19 changed is named in one file, so that the next version is met there."""
    folders = [*Path(adcvsr.__file__).parent.glob("**/*.py")]
    for stage in ("runtime", "calibration", "export", "train", "benchmarks"):
        folders += (ROOT / stage).glob("**/*.py")
    assert len(folders) > 100
    found = {
        str(path)
        for path in folders
        if path.name != "pyav.py" and any(word in path.read_text() for word in ELSEWHERE)
    }
    assert not found
