"""Bicubic resizing against torch's antialiased bicubic (which follows Pillow), and Lanczos."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adcvsr.metrics import psnr, resize_bicubic, resize_lanczos
from adcvsr.metrics.resample import resize_matrix
from adcvsr.pictures.synthetic import draw_clip


@pytest.mark.parametrize(("height", "width"), [(10, 15), (40, 60), (80, 33), (41, 61), (160, 240)])
def test_equals_torch(height: int, width: int, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    expected = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    expected_levels = expected[0].permute(1, 2, 0).add(0.5).clamp(0, 255).byte().numpy()
    difference = resize_bicubic(image, height, width).astype(int) - expected_levels
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01


def test_flat_stays_flat_and_rows_sum_to_one() -> None:
    image = np.full((7, 9, 3), 200, np.uint8)
    assert (resize_bicubic(image, 28, 36) == 200).all()
    assert (resize_lanczos(image, 28, 36) == 200).all()
    assert resize_matrix(100, 25).sum(1) == pytest.approx(np.ones(25))
    assert resize_matrix(100, 25, "lanczos").sum(1) == pytest.approx(np.ones(25))


def test_bands_equal_the_whole_product(rng: np.random.Generator) -> None:
    """Large enough for several blocks both ways, and products cut at the BLAS limit."""
    image = rng.integers(0, 256, (90, 700, 3), dtype=np.uint8)
    for height, width in ((360, 2800), (23, 175), (91, 699)):
        down, across = resize_matrix(90, height), resize_matrix(700, width)
        exact = np.einsum("yh,hwc,xw->yxc", down, image.astype(np.float64), across, optimize=True)
        difference = np.abs(resize_bicubic(image, height, width) - exact.clip(0, 255))
        assert difference.max() < 0.501


def test_lanczos_weights_are_the_windowed_sinc() -> None:
    """Three lobes, halfway between two output centres of x4."""
    row = resize_matrix(32, 128, "lanczos")[65]
    distance = np.arange(32) - (65.5 / 4 - 0.5)
    expected = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0)
    assert row == pytest.approx(expected / expected.sum(), abs=1e-6)
    assert np.count_nonzero(row) == 6


def test_lanczos_is_sharper_than_bicubic() -> None:
    truth = draw_clip(1, 128, 160)[0]
    small = resize_bicubic(truth, 32, 40)
    sharper, softer = resize_lanczos(small, 128, 160), resize_bicubic(small, 128, 160)
    assert psnr(sharper, truth) > psnr(softer, truth)
