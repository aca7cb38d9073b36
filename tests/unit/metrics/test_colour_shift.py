"""Colour differences against published values; shifts and clipping as a viewer means them."""

from __future__ import annotations

import av
import numpy as np
import pytest

from adcvsr.metrics import ciede2000, clipped_share, colour_shift
from adcvsr.metrics.colour_shift import lab_of_light, linear_light
from adcvsr.metrics.planes import chroma_420, luma
from adcvsr.pictures.synthetic import draw_clip

SHARMA = (
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)
"""From Sharma, Wu, Dalal, "The CIEDE2000 color-difference formula", 2005, table 1."""


def test_published_pairs() -> None:
    first, second, expected = (np.array(column, np.float64) for column in zip(*SHARMA, strict=True))
    assert ciede2000(first, second) == pytest.approx(expected, abs=1e-4)
    assert ciede2000(second, first) == pytest.approx(expected, abs=1e-4)


def test_colours_of_the_screen() -> None:
    """Red, green, blue and white of sRGB in L*a*b* (D65)."""
    ends = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    expected = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [100, 0, 0]]
    assert lab_of_light(linear_light(ends)) == pytest.approx(np.array(expected), abs=0.01)


def test_a_tint_is_a_shift_and_noise_is_not() -> None:
    truth = draw_clip(1, 96, 128)[0]
    assert colour_shift(truth, truth) == 0
    rng = np.random.default_rng(0)
    noisy = (truth + rng.normal(0, 4, truth.shape)).clip(0, 255).astype(np.uint8)
    tinted = (truth.astype(int) + np.array([4, 0, -4])).clip(0, 255).astype(np.uint8)
    assert colour_shift(noisy, truth) < 0.5
    assert colour_shift(tinted, truth) > 1.5


def test_clipping_that_the_truth_has_is_none() -> None:
    truth = np.full((8, 16, 3), 200, np.uint8)
    truth[:, :4] = 255
    output = truth.copy()
    assert clipped_share(output, truth) == 0
    output[:, 8:12, 1] = 255
    assert clipped_share(output, truth) == 25
    with pytest.raises(ValueError, match="shapes differ"):
        clipped_share(output[1:], truth)


def test_chroma_is_that_of_a_codec() -> None:
    image = draw_clip(1, 32, 48)[0]
    yuv = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv444p").to_ndarray()
    full = np.stack([yuv[1], yuv[2]]).astype(np.float32)  # BT.601, limited range
    means = full.reshape(2, 16, 2, 24, 2).mean((2, 4))
    assert np.abs(chroma_420(image) - means).max() < 1.5
    assert np.abs(luma(image) - yuv[0]).max() < 1.5
