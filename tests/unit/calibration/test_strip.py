"""The picture strip: finds the planted error, labels it, stays readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.calibration.evaluate.strip import CROP_PX, MOST_ROWS, ZOOM, Strip, worst_crop
from adcvsr.errors import OutputNotWritableError
from adcvsr.metrics import resize_bicubic
from adcvsr.pictures.clips import read_image
from adcvsr.pictures.synthetic import draw_clip

Levels = npt.NDArray[np.uint8]


def planted(truth: Levels, top: int, left: int, size: int = 96) -> Levels:
    output = truth.copy()
    output[top : top + size, left : left + size] //= 2
    return output


def test_the_worst_crop_holds_the_planted_error() -> None:
    truth = np.full((256, 384, 3), 200, np.uint8)
    error, top, left = worst_crop(planted(truth, 100, 230), truth)
    assert 196 - CROP_PX <= top <= 100
    assert 326 - CROP_PX <= left <= 230
    expected = (100 * 219 / 255) ** 2 * 96**2 / CROP_PX**2
    assert error == pytest.approx(expected, rel=1e-4)


def test_a_small_picture_is_one_crop() -> None:
    truth = np.full((40, 56, 3), 100, np.uint8)
    assert worst_crop(truth + np.uint8(10), truth)[1:] == (0, 0)


def show(strip: Strip, name: str, frame: int, truth: Levels, output: Levels) -> None:
    low = resize_bicubic(truth, truth.shape[0] // 4, truth.shape[1] // 4)
    blurred = resize_bicubic(low, *truth.shape[:2])
    strip.show(Path(name), f"frame {frame}", low, {"bicubic": blurred, "nano": output}, truth)


def cell(picture: Levels, column: int, row_height: int, row: int = 0) -> Levels:
    """The picture of a cell, without zoom; 8 pixels of gap, two lines of 22."""
    top = row * row_height + 8 + 44
    left = 8 + column * (CROP_PX * ZOOM + 8)
    return picture[top : top + CROP_PX * ZOOM : ZOOM, left : left + CROP_PX * ZOOM : ZOOM]


def test_the_worst_frame_of_each_file_is_shown() -> None:
    strip = Strip("nano", ["bicubic", "nano"])
    clip = draw_clip(3, 192, 256)
    for frame, image in enumerate(clip):
        show(strip, "a.mp4", frame, image, planted(image, 64, 128) if frame == 1 else image)
    show(strip, "b.png", 0, clip[2], planted(clip[2], 0, 0))
    picture = strip.picture()
    height = picture.shape[0] // 2
    assert picture.shape[1] == 8 + 4 * (CROP_PX * ZOOM + 8)
    _, top, left = worst_crop(planted(clip[1], 64, 128), clip[1])
    crop = (slice(top, top + CROP_PX), slice(left, left + CROP_PX))
    assert (cell(picture, 3, height) == clip[1][crop]).all(), "the truth"
    assert (cell(picture, 2, height) == planted(clip[1], 64, 128)[crop]).all(), "nano"
    low = resize_bicubic(clip[1], 48, 64)[top // 4 :, left // 4 :]
    assert (cell(picture, 0, height)[::4, ::4] == low[:32, :32]).all(), "the input's pixels"
    assert (picture[8:22] > 200).any(), "a title"
    assert (cell(picture, 3, height, row=1)[:96, :96] == clip[2][:96, :96]).any()
    assert strip.left_out == 0


def test_many_files_leave_the_worst() -> None:
    strip = Strip("nano", ["nano"])
    truth = np.full((32, 32, 3), 100, np.uint8)
    for index in range(MOST_ROWS + 5):
        show(strip, f"{index}.png", 0, truth, truth + np.uint8(index))
    assert strip.left_out == 5
    picture = strip.picture()
    assert picture.shape[0] == MOST_ROWS * (2 * 22 + 32 * ZOOM + 16)
    assert picture[8 + 44, 8 + 32 * ZOOM + 8].tolist() == [105] * 3, "the five best are left out"


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    strip = Strip("nano", ["nano"])
    truth = np.full((32, 32, 3), 100, np.uint8)
    show(strip, "a.png", 0, truth, truth)
    strip.write(tmp_path / "strip.png")
    assert (read_image(tmp_path / "strip.png") == strip.picture()).all()
    with pytest.raises(OutputNotWritableError, match="cannot write"):
        strip.write(tmp_path / "nowhere" / "strip.png")
    assert [p.name for p in tmp_path.iterdir()] == ["strip.png"]
