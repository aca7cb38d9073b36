"""Bicubic resizing against torch's antialiased bicubic (which follows Pillow)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adcvsr.metrics import resize_bicubic
from adcvsr.metrics.resample import resize_matrix


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
    assert resize_matrix(100, 25).sum(1) == pytest.approx(np.ones(25))
