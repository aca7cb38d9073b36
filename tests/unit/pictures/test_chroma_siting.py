"""Where 4:2:0 chroma lies: a drawn edge of colour must not move on its way through a file."""

from __future__ import annotations

import multiprocessing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.pictures.clips import read_clip, write_clip
from adcvsr.pictures.colour import SDR_BT709, Colours, frame_from_rgb, rgb_from_frame
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video.encoders import EncodeOptions

HEIGHT, WIDTH, EDGE = 48, 96, 45
TOLERANCE_PX = 0.1
"""Chroma in the middle of its pixels instead of left would shift colour by 0.5."""

Levels = npt.NDArray[np.uint8]


def red_and_blue() -> Levels:
    """Red to the left of column EDGE, blue from there on."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :EDGE], image[:, EDGE:] = (200, 30, 30), (30, 30, 200)
    return image


def test_a_forked_process_goes_on_from_its_parents_graph() -> None:
    """The filter graph kept for the last size is freed where none of its threads are."""

    def convert(height: int) -> None:
        rgb = np.zeros((height, WIDTH, 3), np.uint8)
        frame_from_rgb(rgb, SDR_BT709, "yuv420p", VideoReformatter())

    convert(HEIGHT)
    child = multiprocessing.get_context("fork").Process(target=convert, args=(HEIGHT * 2,))
    child.start()
    child.join(20)
    stuck = child.is_alive()
    child.kill()
    child.join()
    assert not stuck
    assert child.exitcode == 0


def edge_of(image: Levels) -> float:
    """Column where red and blue are even, between pixels' left ends."""
    row = image[image.shape[0] // 2].astype(float)
    difference = row[:, 0] - row[:, 2]
    before = int(np.flatnonzero(difference > 0)[-1])
    a, b = difference[before], difference[before + 1]
    return float(before + a / (a - b) + 0.5)


def left_chroma_edge(frame: av.VideoFrame) -> float:
    """The same from the planes themselves: a chroma sample lies on its left pixel's centre."""
    planes = frame.to_ndarray()
    rows = planes.shape[0] * 2 // 3
    chroma = planes[rows:].reshape(2, rows // 2, -1).astype(float)
    blue = chroma[0, rows // 4]
    difference = (blue[0] + blue[-1]) / 2 - blue
    before = int(np.flatnonzero(difference > 0)[-1])
    a, b = difference[before], difference[before + 1]
    return float(2 * (before + a / (a - b)) + 0.5)


def test_written_where_decoders_look() -> None:
    frame = frame_from_rgb(red_and_blue(), SDR_BT709, "yuv420p", VideoReformatter())
    assert left_chroma_edge(frame) == pytest.approx(EDGE, abs=TOLERANCE_PX)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "nv12", "yuvj420p", "yuvj422p"])
def test_sizes_may_change_between_frames(pixel_format: str) -> None:
    reformatter = VideoReformatter()
    for height in (HEIGHT, 2 * HEIGHT, HEIGHT):
        image = np.resize(red_and_blue(), (height, WIDTH, 3))
        colours = Colours(matrix=6, full_range=pixel_format.startswith("yuvj"))
        frame = frame_from_rgb(image, colours, pixel_format, reformatter)
        assert (frame.width, frame.height, frame.format.name) == (WIDTH, height, pixel_format)
        if not pixel_format.startswith("yuvj"):
            found = rgb_from_frame(frame, VideoReformatter())
            assert edge_of(found) == pytest.approx(EDGE, abs=TOLERANCE_PX)


@pytest.mark.parametrize("scale", [2, 3])
def test_reduced_in_one_pass_with_colour_where_it_was(scale: int) -> None:
    """An edge of colours lies where it lay, in chroma and in luma; flat colours stay."""
    image = red_and_blue().repeat(4, 0).repeat(4, 1)
    size = (WIDTH * scale, HEIGHT * scale)
    frame = frame_from_rgb(image, SDR_BT709, "yuv420p", VideoReformatter(), size=size)
    assert (frame.width, frame.height) == size
    assert left_chroma_edge(frame) == pytest.approx(EDGE * scale, abs=2 * TOLERANCE_PX)
    back = rgb_from_frame(frame, VideoReformatter())
    assert edge_of(back) == pytest.approx(EDGE * scale, abs=2 * TOLERANCE_PX)
    assert abs(back[:, :8].astype(int) - (200, 30, 30)).max() <= 2
    assert abs(back[:, -8:].astype(int) - (30, 30, 200)).max() <= 2


def test_clips(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [red_and_blue()] * 2, crf=1)
    for image in read_clip(tmp_path / "clip.mp4"):
        assert edge_of(image) == pytest.approx(EDGE, abs=TOLERANCE_PX)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("out.mp4", "libx264"),
        ("out.mkv", "libx265"),
        ("out.webm", "libvpx-vp9"),
        ("out.avi", "mpeg4"),
        ("out.mkv", "ffv1"),
    ],
)
def test_upscaled_colour_stays_where_it_was(tmp_path: Path, name: str, encoder: str) -> None:
    """VP9 and FFV1 streams say nothing of themselves: the container's tag or our reading counts."""
    source = tmp_path / "in.mp4"
    write_clip(source, [red_and_blue()] * 2, crf=1)
    crf = None if encoder in ("mpeg4", "ffv1") else 4
    with Upscaler("nano", threads=1) as upscaler:
        upscaler.upscale_file(
            source, tmp_path / name, options=EncodeOptions(encoder=encoder, crf=crf)
        )
        picture = upscaler(next(read_clip(source)))
    wanted = edge_of(picture)
    assert wanted == pytest.approx(4 * EDGE, abs=4 * TOLERANCE_PX)
    with av.open(str(tmp_path / name)) as written:
        frame = next(written.decode(video=0))
    assert left_chroma_edge(frame) == pytest.approx(wanted, abs=4 * TOLERANCE_PX)
    found = next(read_clip(tmp_path / name))
    assert edge_of(found) == pytest.approx(wanted, abs=4 * TOLERANCE_PX)


def test_a_stream_that_says_nothing_is_read_as_left(tmp_path: Path) -> None:
    path = tmp_path / "silent.mkv"
    frame = frame_from_rgb(red_and_blue(), SDR_BT709, "yuv420p", VideoReformatter())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode()])
    assert edge_of(next(read_clip(path))) == pytest.approx(EDGE, abs=TOLERANCE_PX)
