"""PSNR, SSIM and MS-SSIM on cases with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adcvsr.metrics import (
    METRICS,
    MOST_DB,
    finite_db,
    full_range,
    luma,
    ms_ssim,
    ms_ssim_y,
    psnr,
    psnr_of,
    psnr_y,
    ssim,
    ssim_y,
)
from adcvsr.metrics.fidelity import MS_SSIM_LEAST_PX, MS_SSIM_WEIGHTS
from metric_cases import reference_pair


def test_psnr_of_a_constant_error() -> None:
    truth = np.full((16, 16), 100, np.uint8)
    assert psnr(truth + 5, truth) == pytest.approx(10 * math.log10(255**2 / 25))
    assert psnr(truth, truth) == math.inf


def test_border_is_left_out() -> None:
    truth = np.full((16, 16), 100, np.uint8)
    output = truth.copy()
    output[:4] = 0
    assert psnr(output, truth, border=4) == math.inf
    assert psnr(output, truth) < 20


def test_luma_of_known_colours() -> None:
    """BT.601 limited range: black 16, white 235, green 144.553."""
    colours = np.array([[[0, 0, 0], [255, 255, 255], [0, 255, 0]]], np.uint8)
    assert luma(colours)[0] == pytest.approx([16, 235, 144.553])


def test_psnr_y_weighs_green_most(rng: np.random.Generator) -> None:
    truth = rng.integers(50, 200, (16, 16, 3), dtype=np.uint8)
    values = []
    for channel in range(3):
        output = truth.copy()
        output[..., channel] += 10
        values.append(psnr_y(output, truth))
    assert values[1] < values[0] < values[2]


def test_ssim_limits(rng: np.random.Generator) -> None:
    truth = rng.integers(0, 256, (32, 32)).astype(np.uint8)
    assert ssim(truth, truth) == pytest.approx(1.0)
    assert ssim(255 - truth, truth) < 0


def test_ssim_of_a_shift_in_brightness() -> None:
    """On flat planes only the luminance term is left: (2ab + C1) / (a^2 + b^2 + C1)."""
    a, b, c1 = 100.0, 120.0, (0.01 * 255) ** 2
    expected = (2 * a * b + c1) / (a * a + b * b + c1)
    got = ssim(np.full((20, 20), a), np.full((20, 20), b))
    assert got == pytest.approx(expected, abs=1e-7)


def test_ssim_against_the_definition_written_out(rng: np.random.Generator) -> None:
    """One 11x11 window, computed by the formula directly."""
    x, y = rng.integers(0, 256, (2, 11, 11)).astype(np.float64)
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(x, y) == pytest.approx(expected, abs=1e-7)


def test_ssim_of_pytorch_msssim() -> None:
    """pytorch-msssim 1.0.0 gives 0.8384122 in float64, with its window rounded to float32."""
    assert ssim(*reference_pair()) == pytest.approx(0.8384122, abs=2e-6)


def test_ssim_in_float32_is_the_definition_in_float64(rng: np.random.Generator) -> None:
    """Bright and flat with slight noise: where single precision would lose the variance."""
    truth = 240 + rng.normal(0, 1, (64, 64))
    output = truth + rng.normal(0, 1, (64, 64))
    offsets = np.arange(-5, 6)
    kernel = np.exp(-(offsets**2) / 4.5)
    kernel /= kernel.sum()

    def blur(plane: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            plane = np.lib.stride_tricks.sliding_window_view(plane, 11, axis=axis) @ kernel
        return plane

    mx, my = blur(output), blur(truth)
    vx, vy = blur(output**2) - mx**2, blur(truth**2) - my**2
    cov = blur(output * truth) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    assert ssim(output, truth) == pytest.approx(expected.mean(), abs=1e-6)


def test_ms_ssim_of_piq() -> None:
    """piq 0.8.0 gives 0.97510954 in float64."""
    assert ms_ssim(*reference_pair()) == pytest.approx(0.97510954, abs=1e-6)


def test_ms_ssim_limits() -> None:
    output, truth = reference_pair()
    assert ms_ssim(truth, truth) == pytest.approx(1.0)
    assert ms_ssim(output, truth) == pytest.approx(ms_ssim(truth, output))
    assert ms_ssim(255 - truth, truth) == 0, "a negative scale counts as 0"


def test_ms_ssim_of_a_shift_in_brightness() -> None:
    """On flat planes only the coarsest scale's luminance is left, to the power of its weight."""
    a, b, c1 = 100.0, 120.0, (0.01 * 255) ** 2
    expected = ((2 * a * b + c1) / (a * a + b * b + c1)) ** MS_SSIM_WEIGHTS[-1]
    size = (MS_SSIM_LEAST_PX, MS_SSIM_LEAST_PX)
    assert ms_ssim(np.full(size, a), np.full(size, b)) == pytest.approx(expected, abs=1e-7)


def test_ms_ssim_needs_room_for_five_scales() -> None:
    plane = np.zeros((MS_SSIM_LEAST_PX, MS_SSIM_LEAST_PX - 1))
    with pytest.raises(ValueError, match="160x161 pixels, needs at least 161"):
        ms_ssim(plane, plane)


def test_ms_ssim_forgives_a_shift_less_than_ssim_on_texture_alone() -> None:
    """One pixel to the side: every measure falls, the coarse scales hardly notice."""
    _, truth = reference_pair()
    shifted = np.roll(truth, 1, axis=1)
    assert ssim(shifted, truth) < ms_ssim(shifted, truth) < 0.99


def test_rgb_forms_use_luma() -> None:
    output, truth = (np.repeat(p[..., None], 3, axis=2).astype(np.uint8) for p in reference_pair())
    assert ssim_y(output, truth) == ssim(luma(output), luma(truth))
    assert ms_ssim_y(output, truth) == ms_ssim(luma(output), luma(truth))
    grey = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, axis=2)
    assert full_range(luma(grey))[:, 0] == pytest.approx(np.arange(256), abs=1e-4)


def test_shapes_must_agree() -> None:
    for measure in (psnr_y, ssim_y, ms_ssim_y):
        with pytest.raises(ValueError, match="shapes differ"):
            measure(np.zeros((12, 12, 3), np.uint8), np.zeros((12, 13, 3), np.uint8))


def test_equal_pictures_have_one_finite_value() -> None:
    assert psnr_of(0.0) == math.inf
    assert psnr_of(1.0) == pytest.approx(48.13, abs=0.01)
    assert finite_db(math.inf) == finite_db(120.0) == MOST_DB == 99.0
    assert finite_db(-3.0) == -3.0
    assert METRICS["psnr"].finite(math.inf) == MOST_DB
    for name, value in (("vmaf", 100.0), ("warp", 240.0), ("frame_diff", 130.0)):
        assert METRICS[name].finite(value) == value  # no dB, no limit
