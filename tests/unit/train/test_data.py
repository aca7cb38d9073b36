"""Training pairs: reproducible, aligned, and made of what the folders hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcvsr.clips import write_png
from adcvsr.errors import ConfigError, TrainingDataError
from adcvsr.metrics import psnr, resize_bicubic
from adcvsr.synthetic import draw_clip
from adcvsr.train.data import PairPool, PoolOptions
from adcvsr.train.degradation import Degradation, compress, degrade, reduce_clip
from video_facts import VideoMaker

OPTIONS = PoolOptions(frames=3, patch_px=8, segments_per_clip=2, pan_px=2)
CLEAN = Degradation(clean_share=1.0)
IGNORE_LINES = lambda line: None  # noqa: E731


@pytest.fixture
def folders(make_video: VideoMaker, tmp_path: Path) -> tuple[Path, Path]:
    clips, images = tmp_path / "clips", tmp_path / "images"
    clips.mkdir()
    images.mkdir()
    make_video(size=(96, 64)).rename(clips / "a.mp4")
    write_png(images / "b.png", draw_clip(1, 96, 128)[0])
    return clips, images


def pool(folders: tuple[Path, Path], seed: int = 0, **kwargs: object) -> PairPool:
    lines: list[str] = []
    made = PairPool(
        [folders[0]],
        [folders[1]],
        OPTIONS,
        kwargs.pop("degradation", CLEAN),  # type: ignore[arg-type]
        seed=seed,
        report=lines.append,
    )
    made.lines = lines  # type: ignore[attr-defined]
    return made


def test_a_batch_is_a_function_of_seed_and_step(folders: tuple[Path, Path]) -> None:
    degradation = Degradation(clean_share=0.0)
    first, second = (pool(folders, degradation=degradation) for _ in range(2))
    first.draw_epoch(0)
    first.batch(0, 4)
    for one in (first, second):
        one.draw_epoch(5)
    for a, b in zip(first.batch(7, 4), second.batch(7, 4), strict=True):
        assert np.array_equal(a, b)
    other = pool(folders, seed=1, degradation=degradation)
    other.draw_epoch(5)
    assert not np.array_equal(first.batch(7, 4)[0], other.batch(7, 4)[0])
    assert not np.array_equal(first.batch(7, 4)[0], first.batch(8, 4)[0])


def test_low_and_high_are_aligned(folders: tuple[Path, Path]) -> None:
    """The reduction of every high crop is its low crop, whatever flips and turns were drawn."""
    made = pool(folders)
    made.draw_epoch(0)
    low, high = made.batch(0, 16)
    assert low.shape == (16, 3, 3, 8, 8)
    assert high.shape == (16, 3, 3, 32, 32)
    for small, big in zip(low.numpy(), high.numpy(), strict=True):
        again = reduce_clip(np.ascontiguousarray(big.transpose(0, 2, 3, 1)))
        inside = (slice(None), slice(2, -2), slice(2, -2))
        assert psnr(again[inside], small.transpose(0, 2, 3, 1)[inside]) > 38


def test_broken_and_small_files_are_named_and_skipped(folders: tuple[Path, Path]) -> None:
    (folders[0] / "broken.mp4").write_bytes(b"nothing")
    (folders[1] / "broken.png").write_bytes(b"nothing")
    write_png(folders[1] / "small.png", np.zeros((16, 16, 3), np.uint8))
    made = pool(folders)
    assert len(made) == 3
    assert [line.split("'")[1].rsplit("/", 1)[1] for line in made.lines] == [  # type: ignore[attr-defined]
        "broken.mp4",
        "broken.png",
        "small.png",
    ]


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no usable video or image"):
        PairPool([tmp_path], [], OPTIONS, CLEAN, seed=0, report=IGNORE_LINES)
    with pytest.raises(TrainingDataError, match="is not a directory"):
        PairPool([tmp_path / "none"], [], OPTIONS, CLEAN, seed=0, report=IGNORE_LINES)


def test_clean_is_the_common_bicubic() -> None:
    """Training's reduction is the one evaluation uses."""
    image = draw_clip(1, 64, 96)[0]
    difference = reduce_clip(image[None])[0].astype(int) - resize_bicubic(image, 16, 24)
    assert np.abs(difference).max() <= 1


def test_each_degradation_does_its_work() -> None:
    clip = draw_clip(3, 64, 96)
    clean = reduce_clip(clip)
    assert reduce_clip(clip, blur_sigma_px=4.0).std() < clean.std()
    coarse, fine = (psnr(compress(clean, crf=crf), clean) for crf in (45, 10))
    assert coarse + 3 < fine
    noisy = degrade(
        clip,
        Degradation(clean_share=0, blur_sigma_px=(0, 0), noise_sigma=(8, 8), crf=(0, 0)),
        np.random.default_rng(0),
    )
    error = noisy.astype(float) - compress(clean, crf=0)
    # 4:2:0 removes part of the noise's colour, so less than the 8 drawn.
    assert 4 < error.std() < 9


@pytest.mark.parametrize("change", [{"clean_share": 2}, {"crf": (30, 10)}])
def test_impossible_ranges(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        Degradation(**change)  # type: ignore[arg-type]
