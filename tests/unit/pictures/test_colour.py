"""Colour conversion against the formulas of H.273, on flat patches."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from adcvsr.errors import UnsupportedVideoError
from adcvsr.pictures.colour import Colours, colours_of, frame_from_rgb, rgb_from_frame

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
SIDE = 16


def exact_rgb(y: int, u: int, v: int, matrix: int, full: bool) -> np.ndarray:
    """R'G'B' in levels by the definition; may lie outside [0, 255]."""
    red, blue = WEIGHTS[matrix]
    luma = y / 255 if full else (y - 16) / 219
    cb, cr = ((c - 128) / (255 if full else 224) for c in (u, v))
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.array([r, g, b]) * 255


def flat_frame(y: int, u: int, v: int, matrix: int, full: bool) -> av.VideoFrame:
    planes = [np.full(SIDE * SIDE, y), np.full(SIDE * SIDE // 4, u), np.full(SIDE * SIDE // 4, v)]
    data = np.concatenate(planes).astype(np.uint8).reshape(-1, SIDE)
    frame = av.VideoFrame.from_ndarray(data, format="yuv420p")
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_within_rounding_of_the_definition_and_back(
    matrix: int, full: bool, rng: np.random.Generator
) -> None:
    forward, back = VideoReformatter(), VideoReformatter()
    colours = Colours(matrix=matrix, full_range=full)
    tried = 0
    for _ in range(60):
        y, u, v = int(rng.integers(40, 220)), *map(int, rng.integers(90, 170, 2))
        exact = exact_rgb(y, u, v, matrix, full)
        if exact.min() < 0 or exact.max() > 255:
            continue
        tried += 1
        rgb = rgb_from_frame(flat_frame(y, u, v, matrix, full), forward)
        assert np.abs(rgb - exact).max() <= 0.52
        frame = frame_from_rgb(rgb, colours, "yuv420p", back)
        found = frame.to_ndarray()
        chroma = found[SIDE:].ravel()
        assert abs(int(found[8, 8]) - y) <= 1
        assert abs(int(chroma[3]) - u) <= 1
        assert abs(int(chroma[SIDE * SIDE // 4 + 3]) - v) <= 1
        assert (frame.colorspace, frame.color_range) == (matrix, 2 if full else 1)
    assert tried > 20


@pytest.mark.parametrize(("height", "matrix"), [(576, 6), (719, 6), (720, 1), (1080, 1)])
def test_untagged_video_goes_by_its_lines(height: int, matrix: int) -> None:
    frame = av.VideoFrame(64, height, "yuv420p")
    assert colours_of(frame).matrix == matrix


@pytest.mark.parametrize(
    ("pixels", "tags", "found"),
    [
        # What is not told is what the rest implies, not broadcast's.
        ("yuv420p10le", (2, 9, 16), (9, 9, 16)),
        ("yuv420p10le", (2, 2, 18), (9, 2, 18)),
        ("yuv420p", (0, 9, 2), (9, 9, 2)),
        ("yuv420p10le", (1, 9, 16), (1, 9, 16)),
        # RGB keeps what it says.
        ("gbrp10le", (0, 9, 16), (9, 9, 16)),
        ("gbrp", (0, 2, 18), (9, 9, 18)),
        ("rgb24", (0, 12, 13), (1, 12, 13)),
        ("rgb24", (0, 2, 2), (1, 1, 1)),
        ("pal8", (0, 3, 0), (1, 1, 1)),
    ],
)
def test_tags_that_are_missing(
    pixels: str, tags: tuple[int, int, int], found: tuple[int, int, int]
) -> None:
    frame = av.VideoFrame(16, 1080, pixels)
    frame.colorspace, frame.color_primaries, frame.color_trc = tags
    colours = colours_of(frame)
    assert (colours.matrix, colours.primaries, colours.transfer) == found
    assert not colours.full_range


def test_full_range_by_pixel_format() -> None:
    assert colours_of(av.VideoFrame(16, 16, "yuvj420p")).full_range
    assert not colours_of(av.VideoFrame(16, 16, "yuv420p")).full_range


def test_rgb_passes_unchanged_and_becomes_bt709(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="gbrp")
    assert np.array_equal(rgb_from_frame(frame, VideoReformatter()), image)
    assert colours_of(frame).matrix == 1
    assert not colours_of(frame).full_range


@pytest.mark.parametrize(
    ("matrix", "transfer", "to"), [(8, 1, "709"), (14, 2, "2020_ncl"), (12, 18, "2020_ncl")]
)
def test_matrix_that_cannot_be_converted(matrix: int, transfer: int, to: str) -> None:
    """YCgCo, ICtCp and what primaries imply: the command is one that FFmpeg's filter can do."""
    frame = av.VideoFrame(16, 16, "yuv420p")
    frame.colorspace, frame.color_trc = matrix, transfer
    says = f"matrix is H.273 code {matrix},.* -vf zscale=matrix={to} OUT"
    with pytest.raises(UnsupportedVideoError, match=says):
        colours_of(frame)
