"""Every shipped recipe draws an epoch of pictures of odd sizes, still ones and long clips."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.data import ClipPairs, DataOptions
from adcvsr.train.settings import CONFIG_FOLDER, read_data_settings
from adcvsr.train.teacher_clips import WholeClips
from adcvsr.train.teachers.cached import CachedPairs
from adcvsr.train.teachers.store import open_cache

PATCH_PX = 8
SIZES = (211, 223), (187, 301), (199, 185)
RECIPES = sorted(path.stem for path in CONFIG_FOLDER.glob("*.toml"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for height, width in SIZES:
        write_png(folder / f"{height}x{width}.png", draw_clip(1, height, width)[0])
    return folder


def small(options: DataOptions, frames: int) -> DataOptions:
    """A recipe's options with all lengths at the ratio of a small crop to its own."""
    ratio = PATCH_PX / options.patch_px
    return dataclasses.replace(
        options,
        frames=frames,
        patch_px=PATCH_PX,
        window_px=round(options.window_px * ratio),
        max_side_px=round(options.max_side_px * ratio / 8) * 8,
        crops_per_clip=min(options.crops_per_clip, 4),
        keep_decoded=False,
    )


@pytest.mark.parametrize("frames", [1, 25])
@pytest.mark.parametrize("recipe", RECIPES)
def test_an_epoch(recipe: str, frames: int, pictures: Path, tmp_path: Path) -> None:
    settings = read_data_settings(recipe)
    options = small(settings.data, frames)
    # What the degradation does is tested elsewhere; geometry is what sizes can break.
    degradation = dataclasses.replace(settings.degradation, clean_share=0.9)
    pairs = ClipPairs([], [pictures], options, degradation, seed=1, report=print)
    for epoch in range(2):
        for index in range(len(pairs)):
            pair = pairs.pair(epoch, index)
            assert pair.low.shape == (frames, 3, PATCH_PX, PATCH_PX)
            assert pair.high.shape == (frames, 3, 4 * PATCH_PX, 4 * PATCH_PX)

    whole = WholeClips(pairs)
    store = open_cache(tmp_path / "cache", teacher="truth", recipe={}, samples=len(whole))
    for index in range(len(whole)):
        clip = whole.pair(0, index)
        if options.window_px:
            assert clip.low.shape == (frames, 3, options.window_px // 4, options.window_px // 4)
        store.add(index, [clip.low, clip.high])
    cached = CachedPairs(tmp_path / "cache", patch_px=PATCH_PX, flips=True)
    for index in range(len(cached)):
        assert cached.pair(0, index).low.shape == (frames, 3, PATCH_PX, PATCH_PX)


@pytest.mark.parametrize("patch_px", [7, 9])
def test_sides_that_are_no_multiple_of_what_is_degraded(patch_px: int, tmp_path: Path) -> None:
    """Four times an odd crop lies between two sizes; the larger one is what a picture needs."""
    side = 4 * patch_px
    write_png(tmp_path / "exact.png", draw_clip(1, side, side)[0])
    write_png(tmp_path / "enough.png", draw_clip(1, side + 8, side + 11)[0])
    lines: list[str] = []
    options = DataOptions(frames=1, patch_px=patch_px, pan_px=0, crops_per_clip=2)
    degradation = read_data_settings("nano").degradation
    pairs = ClipPairs([], [tmp_path], options, degradation, seed=0, report=lines.append)
    for index in range(len(pairs)):
        assert pairs.pair(0, index).low.shape == (1, 3, patch_px, patch_px)
    assert any("exact.png" in line and "needs at least" in line for line in lines)
