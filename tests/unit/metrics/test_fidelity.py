"""PSNR and SSIM on cases with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adcvsr.metrics import luma, psnr, psnr_y, ssim, ssim_y


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
    assert got == pytest.approx(expected, abs=1e-9)


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
    assert ssim(x, y) == pytest.approx(expected, rel=1e-9)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        ssim_y(np.zeros((12, 12, 3), np.uint8), np.zeros((12, 13, 3), np.uint8))
