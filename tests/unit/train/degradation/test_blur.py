"""Kernels are what their definitions say, sum to 1, shift nothing and drift."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from adcvsr.errors import ConfigError
from adcvsr.train.degradation.blur import (
    KERNEL_KINDS,
    Blur,
    Kernel,
    blur_frames,
    disc_kernel,
    draw_kernels,
    filter_planes,
    gaussian_kernel,
    motion_kernel,
    plateau_kernel,
    sinc_kernel,
)


def second_moments(kernel: Kernel) -> Kernel:
    """Covariance matrix of the kernel's weights over (x, y)."""
    line = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(line, line)
    return np.array([[(kernel * a * b).sum() for b in (x, y)] for a in (x, y)])


@pytest.mark.parametrize("kind", KERNEL_KINDS)
def test_every_kernel_sums_to_one_and_is_centred(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        for kernel in draw_kernels(Blur(kinds={kind: 1.0}), rng, 2):
            assert kernel.shape[0] == kernel.shape[1]
            assert len(kernel) % 2 == 1
            assert kernel.sum() == pytest.approx(1)
            assert np.allclose(kernel, kernel[::-1, ::-1])
            assert kind == "sinc" or kernel.min() >= 0


@pytest.mark.parametrize("kind", KERNEL_KINDS[:6])
def test_isotropic_kernels_look_alike_in_every_direction_and_others_do_not(kind: str) -> None:
    rng = np.random.default_rng(2)
    kernels = [draw_kernels(Blur(kinds={kind: 1.0}), rng, 1)[0] for _ in range(10)]
    alike = [
        np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1]) for kernel in kernels
    ]
    assert alike == [kind.endswith("iso") and not kind.endswith("aniso")] * 10


def test_gaussian_has_the_covariance_asked_for() -> None:
    angle = 0.6
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    expected = turn @ np.diag([3.0**2, 1.5**2]) @ turn.T
    assert second_moments(gaussian_kernel(41, 3.0, 1.5, angle)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.5])
def test_generalized_gaussian_and_plateau_fall_as_defined(beta: float) -> None:
    sigma, centre = 1.7, 10
    gaussian = gaussian_kernel(21, sigma, sigma, 0.0, beta)
    plateau = plateau_kernel(21, sigma, sigma, 0.0, beta)
    for distance in (1, 2, 4):
        squared = (distance / sigma) ** 2
        fall = gaussian[centre, centre + distance] / gaussian[centre, centre]
        assert fall == pytest.approx(math.exp(-0.5 * squared**beta))
        fall = plateau[centre + distance, centre] / plateau[centre, centre]
        assert fall == pytest.approx(1 / (1 + squared**beta))


def test_sinc_passes_below_its_cutoff_and_stops_above() -> None:
    cutoff, size = 1.5, 201
    response = np.abs(np.fft.fft2(sinc_kernel(size, cutoff)))
    frequency = 2 * math.pi * np.abs(np.fft.fftfreq(size))
    radius = np.hypot(frequency[:, None], frequency[None])
    assert response[radius < cutoff - 0.2] == pytest.approx(1, abs=0.1)
    assert response[(radius > cutoff + 0.2) & (radius < math.pi)] == pytest.approx(0, abs=0.1)


def test_disc_and_line_have_their_size() -> None:
    """A disc's variance along an axis is r^2/4, a line's L^2/12 along it (and 1/12 across).

    Averaging over the pixel adds 1/12 to the disc's; the line counts it as its width.
    """
    assert second_moments(disc_kernel(4.0)) == pytest.approx(
        np.diag([4.0, 4.0]) + np.eye(2) / 12, abs=0.1
    )
    assert second_moments(motion_kernel(9.0, 0.0)) == pytest.approx(
        np.diag([81 / 12, 1 / 12]), abs=0.1
    )
    assert second_moments(motion_kernel(9.0, math.pi / 2)) == pytest.approx(
        np.diag([1 / 12, 81 / 12]), abs=0.1
    )


def test_filtering_is_the_convolution_with_replicated_edges() -> None:
    planes = torch.rand(3, 23, 38)
    kernel = gaussian_kernel(9, 3.0, 0.7, 0.4)
    padded = F.pad(planes[:, None], (4, 4, 4, 4), mode="replicate")
    expected = F.conv2d(padded, torch.from_numpy(kernel).float()[None, None])[:, 0]
    assert torch.allclose(filter_planes(planes, kernel), expected, atol=1e-5)


def test_kernels_drift_over_a_clip_or_stay() -> None:
    drifting = draw_kernels(Blur(kinds={"aniso": 1.0}), np.random.default_rng(3), 5)
    assert all(not np.allclose(a, b) for a, b in itertools.pairwise(drifting))
    still = Blur(kinds={"aniso": 1.0}, sigma_step=0, angle_step=0)
    first, *others = draw_kernels(still, np.random.default_rng(3), 5)
    assert all(np.array_equal(first, kernel) for kernel in others)


def test_share_of_clips_left_sharp() -> None:
    frames, rng = [torch.rand(3, 16, 16)], np.random.default_rng(0)
    sharp = sum(blur_frames(frames, Blur(share=0.3), rng) is frames for _ in range(200))
    assert 110 < sharp < 170


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kinds": {"isso": 1.0}}, "did you mean 'iso'"),
        ({"kinds": {"iso": 0.0}}, "at least one weight above 0"),
        ({"sizes_px": (7, 8)}, "odd numbers"),
        ({"sigma_px": (2.0, 1.0)}, r"sigma_px=\[2.0, 1.0\], expected \[low, high\]"),
        ({"omega": (1.0, 4.0)}, "<= 3.14159"),
        ({"angle_step": -1.0}, "angle_step=-1.0"),
    ],
)
def test_values_that_make_no_sense(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Blur(**values)  # type: ignore[arg-type]
