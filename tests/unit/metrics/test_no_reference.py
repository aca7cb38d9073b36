"""What real clips are measured by: each sees its fault, and not the others'."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.errors import ConfigError
from adcvsr.metrics import METRICS, NO_REFERENCE, resize_bicubic, usable_without_truth
from adcvsr.metrics.no_reference import blockiness, flicker, noise_level, reduce_areas, sharpness
from adcvsr.metrics.planes import full_range, luma
from adcvsr.pictures.synthetic import draw_clip


def plane(image: np.ndarray) -> np.ndarray:
    return full_range(luma(image))


def test_sharpness_falls_with_blur_and_not_with_brightness() -> None:
    image = draw_clip(1, 128, 160)[0]
    soft = resize_bicubic(resize_bicubic(image, 32, 40), 128, 160)
    assert sharpness(plane(soft)) < 0.7 * sharpness(plane(image))
    assert sharpness(plane(image) + 20) == pytest.approx(sharpness(plane(image)), rel=1e-4)
    assert sharpness(np.zeros((64, 64), np.float32)) == 0


def test_blockiness_sees_steps_on_the_codecs_grid_alone(rng: np.random.Generator) -> None:
    clean = rng.normal(128, 3, (64, 96)).astype(np.float32)
    assert blockiness(clean) == pytest.approx(1, abs=0.1)
    steps = 6 * rng.normal(size=(8, 12)).astype(np.float32).repeat(8, 0).repeat(8, 1)
    assert blockiness(clean + steps) > 1.5
    assert blockiness(np.roll(clean + steps, 4, (0, 1))) < 1.1
    ramp = np.arange(96, dtype=np.float32) + np.zeros((64, 1), np.float32)
    assert blockiness(ramp + clean) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("sigma", [1.0, 4.0])
def test_noise_is_measured_in_its_own_levels(rng: np.random.Generator, sigma: float) -> None:
    noisy = (100 + sigma * rng.normal(size=(130, 162))).astype(np.float32)
    flat = np.full_like(noisy, 100)
    assert noise_level(noisy, flat) == pytest.approx(sigma, rel=0.1)
    edges = noisy.copy()
    edges[:, 80:] += 100
    assert noise_level(edges, flat + edges - noisy) == pytest.approx(sigma, rel=0.15)


def test_flicker_is_measured_where_nothing_moves(rng: np.random.Generator) -> None:
    still = rng.uniform(0, 255, (32, 40)).astype(np.float32)
    moved = still.copy()
    moved[:, 20:] = np.roll(still, 9, 0)[:, 20:]
    large = still.repeat(4, 0).repeat(4, 1)
    assert flicker(large, large, still, still) == 0
    noisy = large + rng.choice([-2.0, 2.0], large.shape).astype(np.float32)
    assert flicker(noisy, large, still, still) == pytest.approx(2, rel=1e-3)
    elsewhere = large.copy()
    elsewhere[:, 100:] += 50
    assert flicker(elsewhere, large, moved, still) == pytest.approx(0, abs=1.0)
    assert flicker(large, large, still, still + 9) is None


def test_areas_leave_out_what_fills_none() -> None:
    image = np.arange(6 * 7, dtype=np.float32).reshape(6, 7)
    assert reduce_areas(image, 3).tolist() == [[8, 11], [29, 32]]


def test_names_that_need_a_truth_are_refused() -> None:
    chosen = usable_without_truth("noise,flicker").metrics
    assert [metric.name for metric in chosen] == ["noise", "flicker"]
    assert usable_without_truth("default").metrics == tuple(NO_REFERENCE.values())
    with pytest.raises(ConfigError, match="'psnr' compares with a truth"):
        usable_without_truth("noise,psnr")
    with pytest.raises(ConfigError, match="no metric 'noize', did you mean 'noise'"):
        usable_without_truth("noize")
    assert NO_REFERENCE.keys() - METRICS.keys() == {"sharpness", "blockiness", "noise", "flicker"}
