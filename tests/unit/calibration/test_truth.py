"""Truth and its low-resolution twins: cut, made, given; and what does not fit together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.calibration.evaluate.truth import (
    Degrade,
    TruthOptions,
    count_frames,
    find_low,
    find_truth,
    read_pairs,
    whole_clip,
)
from adcvsr.errors import InputNotFoundError, UnreadableVideoError
from adcvsr.metrics import resize_bicubic
from adcvsr.pictures.clips import read_clip, read_image, write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from video_facts import VideoMaker

Levels = npt.NDArray[np.uint8]


def noisy(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
    """A degradation that draws, and lags three frames behind, as a codec does."""
    held: list[Levels] = []
    for image in frames:
        small = resize_bicubic(image, image.shape[0] // 4, image.shape[1] // 4)
        held.append((small + rng.integers(0, 9, small.shape)).clip(0, 255).astype(np.uint8))
        if len(held) > 3:
            yield held.pop(0)
    yield from held


@pytest.fixture
def clip(make_video: VideoMaker) -> Path:
    return make_video(size=(70, 50))


def test_a_clip_is_cut_to_eights_and_reduced(clip: Path) -> None:
    pairs = list(read_pairs(clip, TruthOptions(frames=5)))
    assert len(pairs) == 5
    for (truth, low), image in zip(pairs, read_clip(clip), strict=False):
        assert (truth == image[:48, :64]).all()
        assert (low == resize_bicubic(truth, 12, 16)).all()


def test_large_clips_are_reduced_and_images_are_not(make_video: VideoMaker, tmp_path: Path) -> None:
    wide = make_video(size=(128, 64))
    write_png(tmp_path / "wide.png", draw_clip(1, 64, 128)[0])
    options = TruthOptions(max_side_px=64)
    assert next(read_pairs(wide, options))[0].shape == (32, 64, 3)
    assert next(read_pairs(tmp_path / "wide.png", options))[0].shape == (64, 128, 3)


def test_a_degradation_may_lag_and_frames_still_pair(clip: Path) -> None:
    clean = [truth for truth, _ in read_pairs(clip, TruthOptions())]
    pairs = list(read_pairs(clip, TruthOptions(degrade=noisy)))
    for (truth, low), expected in zip(pairs, clean, strict=True):
        assert (truth == expected).all()
        assert np.abs(low.astype(int) - resize_bicubic(truth, 12, 16)).max() <= 8


def test_what_is_drawn_depends_on_seed_and_name_alone(clip: Path, tmp_path: Path) -> None:
    def lows(file: Path, seed: int) -> Levels:
        options = TruthOptions(degrade=noisy, seed=seed)
        return np.stack([low for _, low in read_pairs(file, options)])

    moved = tmp_path / "elsewhere" / clip.name
    moved.parent.mkdir()
    moved.write_bytes(clip.read_bytes())
    renamed = tmp_path / "other.mp4"
    renamed.write_bytes(clip.read_bytes())
    assert (lows(clip, 0) == lows(moved, 0)).all()
    assert (lows(clip, 0) != lows(clip, 1)).any()
    assert (lows(clip, 0) != lows(renamed, 0)).any()


def test_frames_are_streamed(clip: Path) -> None:
    """The second pair is not read before the first is used."""
    read: list[int] = []

    def watching(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
        for index, image in enumerate(frames):
            read.append(index)
            yield resize_bicubic(image, 12, 16)

    pairs = read_pairs(clip, TruthOptions(degrade=watching))
    next(pairs)
    next(pairs)
    assert read == [0, 1]


def unreduced(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
    yield from frames


def losing(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
    yield from [resize_bicubic(image, 12, 16) for image in frames][:5]


@pytest.mark.parametrize(
    ("degrade", "said"), [(unreduced, "made 64x48 pixels of 64x48"), (losing, "lost 3 frames")]
)
def test_a_degradation_that_breaks_its_word(clip: Path, degrade: Degrade, said: str) -> None:
    with pytest.raises(UnreadableVideoError, match=said):
        list(read_pairs(clip, TruthOptions(degrade=degrade)))


def given(tmp_path: Path, low: Levels, name: str = "in.mp4") -> TruthOptions:
    folder = tmp_path / "low"
    folder.mkdir(exist_ok=True)
    write_clip(folder / name, low)
    return TruthOptions(low_folder=folder)


def test_given_inputs_are_taken_as_they_are(make_video: VideoMaker, tmp_path: Path) -> None:
    clip = make_video(size=(72, 56))
    options = given(tmp_path, draw_clip(8, 14, 18), "inx4.mp4")
    lows = list(read_clip(tmp_path / "low" / "inx4.mp4"))
    for (truth, low), image, small in zip(
        read_pairs(clip, options), read_clip(clip), lows, strict=True
    ):
        assert (truth == image).all()
        assert (low == small).all()


@pytest.mark.parametrize(
    ("frames", "size", "said"),
    [
        (8, (12, 18), "72x56 pixels, but '.*in.mp4' of 18x12 would become 72x48 by x4"),
        (6, (14, 18), "in.mp4' ends before frame 6, which the truth has"),
        (9, (14, 18), "in.mp4' has more frames than the truth, which has 8"),
    ],
)
def test_given_inputs_that_do_not_fit(
    make_video: VideoMaker, tmp_path: Path, frames: int, size: tuple[int, int], said: str
) -> None:
    options = given(tmp_path, draw_clip(frames, *size))
    with pytest.raises(UnreadableVideoError, match=said):
        list(read_pairs(make_video(size=(72, 56)), options))


def test_the_twin_must_be_one(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", draw_clip(1, 24, 24)[0])
    assert find_low(Path("elsewhere/a.mp4"), tmp_path) == tmp_path / "a.png"
    with pytest.raises(ValueError, match=r"one input named b in '.*', found nothing"):
        find_low(Path("b.png"), tmp_path)
    write_png(tmp_path / "ax4.png", draw_clip(1, 24, 24)[0])
    with pytest.raises(ValueError, match=r"found '.*a\.png', '.*ax4\.png'"):
        find_low(Path("a.png"), tmp_path)


def test_a_folder_of_images_can_be_a_clip(tmp_path: Path) -> None:
    frames = draw_clip(3, 100, 124)
    for folder, step in (("truth/street", 1), ("low/streetx4", 4)):
        (tmp_path / folder).mkdir(parents=True)
        for index, image in enumerate(frames):
            small = resize_bicubic(image, 100 // step, 124 // step)
            write_png(tmp_path / folder / f"{index:04}.png", small)
    clip = tmp_path / "truth/street"
    assert find_truth([tmp_path / "truth"], sequences=True) == [clip]
    assert len(find_truth([tmp_path / "truth"])) == 3
    assert count_frames(clip, 50) == 3
    assert count_frames(clip, 2) == 2
    made = list(read_pairs(clip, TruthOptions(frames=2, max_side_px=64)))
    assert len(made) == 2
    assert (made[1][0] == frames[1][:96, :120]).all(), "cut, not reduced"
    given_pairs = list(read_pairs(clip, TruthOptions(low_folder=tmp_path / "low")))
    for (truth, low), image in zip(given_pairs, frames, strict=True):
        assert (truth == image).all()
        assert (low == resize_bicubic(image, 25, 31)).all()


def test_a_degradation_of_whole_clips_can_be_used(clip: Path) -> None:
    """Training's kind: it sees all frames at once."""
    shapes: list[tuple[int, ...]] = []

    def degrade(frames: Levels, rng: np.random.Generator) -> Levels:
        shapes.append(frames.shape)
        return np.stack([resize_bicubic(image, 12, 16) for image in frames])[:, :, ::-1]

    pairs = list(read_pairs(clip, TruthOptions(frames=5, degrade=whole_clip(degrade))))
    assert shapes == [(5, 48, 64, 3)]
    assert len(pairs) == 5
    assert (pairs[4][1][:, ::-1] == resize_bicubic(pairs[4][0], 12, 16)).all()


def test_truth_that_cannot_be_used(tmp_path: Path) -> None:
    write_png(tmp_path / "small.png", draw_clip(1, 23, 40)[0])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "text.mp4").write_text("no clip")
    for name, said in (
        ("small.png", "40x23 pixels, needs at least 24"),
        ("text.png", "cannot evaluate on '.*text.png'"),
        ("text.mp4", "cannot evaluate on '.*text.mp4'"),
    ):
        with pytest.raises(UnreadableVideoError, match=said):
            list(read_pairs(tmp_path / name, TruthOptions()))


def test_a_change_of_size_is_said(data: Path) -> None:
    file = data / "clips/robust/resolution_change_midstream.264"
    with pytest.raises(UnreadableVideoError, match="frame 2 is 640x480 pixels, those before it"):
        list(read_pairs(file, TruthOptions()))


def test_finding_and_counting(clip: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "b.png", draw_clip(1, 24, 24)[0])
    (tmp_path / "notes.txt").write_text("")
    assert find_truth([tmp_path]) == [tmp_path / "b.png", clip]
    assert find_truth([clip]) == [clip]
    assert count_frames(clip, 50) == 8
    assert count_frames(clip, 3) == 3
    assert count_frames(tmp_path / "b.png", 50) == 1
    assert count_frames(tmp_path / "notes.txt", 50) == 0
    assert read_image(tmp_path / "b.png").shape == (24, 24, 3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="no image or video in"):
        find_truth([tmp_path / "empty"])
    with pytest.raises(InputNotFoundError, match="no file or folder"):
        find_truth([tmp_path / "nowhere"])
