"""Still parts: a grain that is new in each frame is found, one that stays is not."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.arrays import Levels
from adcvsr.runtime.proof.still import StillFound, compare_still, still_clip

SCALE = 4


def enlarged(clip: Levels) -> list[Levels]:
    return [frame.repeat(SCALE, 0).repeat(SCALE, 1) for frame in clip]


def with_grain(pictures: list[Levels], *, moving: bool) -> list[Levels]:
    rng = np.random.default_rng(3)
    grains = rng.integers(-2, 3, (len(pictures), *pictures[0].shape[:2], 1))
    return [
        np.clip(picture + grains[at if moving else 0], 0, 255).astype(np.uint8)
        for at, picture in enumerate(pictures)
    ]


@pytest.fixture(scope="module")
def clip() -> Levels:
    return still_clip(32, 48)


def test_the_clip_is_one_scene_with_noise(clip: Levels) -> None:
    again = still_clip(32, 48)
    change = np.diff(clip.astype(np.int16), axis=0)
    assert np.array_equal(clip, again)
    assert 0 < np.abs(change).mean() < 3
    assert abs(change.mean()) < 0.1


def test_the_same_pictures_add_nothing(clip: Levels) -> None:
    pictures = enlarged(clip)
    found = compare_still(pictures, pictures, clip)
    assert found.added == 0
    assert found.levels > 0


def test_grain_that_boils_is_found_and_grain_that_stays_is_not(clip: Levels) -> None:
    pictures = enlarged(clip)
    boiling = compare_still(with_grain(pictures, moving=True), pictures, clip)
    staying = compare_still(with_grain(pictures, moving=False), pictures, clip)
    assert boiling.added > 0.5
    assert abs(staying.added) < 0.05


def test_the_first_frames_do_not_count(clip: Levels) -> None:
    pictures = enlarged(clip)
    late = [np.zeros_like(pictures[0]), *pictures[1:]]
    assert compare_still(late, pictures, clip).added == 0


def test_a_steadier_variant_adds_less_than_nothing() -> None:
    found = StillFound(levels=0.7, reference_levels=0.9)
    assert found.added == pytest.approx(-0.2)
    assert "-0.20 to fp32-onnx" in found.line()
