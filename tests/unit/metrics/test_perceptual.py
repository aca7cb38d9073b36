"""HaarPSI and GMSD: outside figures, the definitions written out, limits."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.metrics import full_range, gmsd, gmsd_y, haarpsi, haarpsi_y, luma
from metric_cases import reference_pair

Plane = npt.NDArray[np.float64]


def test_haarpsi_of_piq() -> None:
    """piq 0.8.0, which agrees with the authors' MATLAB, gives 0.86758780."""
    assert haarpsi(*reference_pair()) == pytest.approx(0.86758780, abs=1e-6)


def test_gmsd_of_piq() -> None:
    """piq 0.8.0 gives 0.040583962."""
    assert gmsd(*reference_pair()) == pytest.approx(0.040583962, abs=1e-7)


def correlate_same(plane: Plane, kernel: Plane) -> Plane:
    """MATLAB's conv2(..., 'same') up to sign, window by window, zeros beyond the border."""
    rows, columns = kernel.shape
    before = ((rows - 1) // 2, (columns - 1) // 2)
    padded = np.pad(plane, ((before[0], rows), (before[1], columns)))
    out = np.empty_like(plane)
    for y, x in np.ndindex(plane.shape):
        out[y, x] = (padded[y : y + rows, x : x + columns] * kernel).sum()
    return out


def half(plane: Plane) -> Plane:
    return plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2).mean((1, 3))


def small_pair(rng: np.random.Generator) -> tuple[Plane, Plane]:
    truth = rng.integers(0, 256, (24, 36)).astype(np.float64)
    return (truth + rng.normal(0, 20, truth.shape)).clip(0, 255), truth


def test_haarpsi_against_the_definition_written_out(rng: np.random.Generator) -> None:
    """Reisenhofer et al. 2018: equations 10 to 13 with C = 30 and alpha = 4.2."""
    pair = small_pair(rng)
    weighted = weights = 0.0
    for turn in (False, True):
        magnitude = {}
        for size in (2, 4, 8):
            kernel = np.ones((size, size)) / size
            kernel[: size // 2] *= -1
            kernel = kernel.T if turn else kernel
            magnitude[size] = [np.abs(correlate_same(half(plane), kernel)) for plane in pair]
        local = np.zeros((12, 18))
        for size in (2, 4):
            x, y = magnitude[size]
            local += (2 * x * y + 30) / (x**2 + y**2 + 30) / 2
        weight = np.maximum(*magnitude[8])
        weighted += (weight / (1 + np.exp(-4.2 * local))).sum()
        weights += weight.sum()
    mean = weighted / weights
    assert haarpsi(*pair) == pytest.approx((math.log(mean / (1 - mean)) / 4.2) ** 2, abs=1e-5)


def test_gmsd_against_the_definition_written_out(rng: np.random.Generator) -> None:
    """Xue et al. 2014: Prewitt in thirds, T = 170, deviation of the similarity."""
    pair = small_pair(rng)
    prewitt = np.array([[1, 0, -1]] * 3) / 3
    x, y = (
        np.hypot(correlate_same(half(p), prewitt), correlate_same(half(p), prewitt.T)) for p in pair
    )
    similarity = (2 * x * y + 170) / (x**2 + y**2 + 170)
    assert gmsd(*pair) == pytest.approx(similarity.std(), abs=1e-6)


@pytest.mark.parametrize(("measure", "best"), [(haarpsi, 1.0), (gmsd, 0.0)])
def test_limits(measure: Callable[..., float], best: float) -> None:
    output, truth = reference_pair()
    assert measure(truth, truth) == pytest.approx(best, abs=1e-6)
    assert measure(output, truth) == pytest.approx(measure(truth, output), abs=1e-6)
    assert measure(np.zeros((16, 16)), np.zeros((16, 16))) == pytest.approx(best)


def test_a_shift_costs_more_the_farther_it_is() -> None:
    _, truth = reference_pair()
    shifted = [np.roll(truth, pixels, axis=1) for pixels in (0, 1, 2, 4)]
    similar = [haarpsi(plane, truth) for plane in shifted]
    assert similar == sorted(similar, reverse=True)
    assert similar[1] < 0.95
    deviating = [gmsd(plane, truth, border=8) for plane in shifted]
    assert deviating == sorted(deviating)


def test_both_are_blind_to_a_slight_change_of_brightness() -> None:
    """Known limit, in docs/metrics.md: details decide, not levels (PSNR falls to 36 dB)."""
    _, truth = reference_pair()
    inner = truth.clip(0, 250)
    assert haarpsi(inner + 4, inner) > 0.99
    assert gmsd(inner + 4, inner) < 0.01


def test_border_and_odd_sizes() -> None:
    output, truth = reference_pair()
    for measure in (haarpsi, gmsd):
        inner = measure(output[4:-4, 4:-4], truth[4:-4, 4:-4])
        assert measure(output, truth, border=4) == pytest.approx(inner)
        even = measure(output[:101, :77], truth[:101, :77])
        padded = [np.pad(p[:101, :77], ((0, 1), (0, 1)), mode="edge") for p in (output, truth)]
        assert even == pytest.approx(measure(*padded))


def test_rgb_forms_use_full_range_luma() -> None:
    output, truth = (np.repeat(p[..., None], 3, axis=2).astype(np.uint8) for p in reference_pair())
    planes = [full_range(luma(image)) for image in (output, truth)]
    assert haarpsi_y(output, truth) == haarpsi(*planes) == pytest.approx(0.86758780, abs=1e-5)
    assert gmsd_y(output, truth) == gmsd(*planes) == pytest.approx(0.040583962, abs=1e-5)


@pytest.mark.parametrize("measure", [haarpsi, gmsd])
def test_bad_shapes(measure: Callable[..., float]) -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        measure(np.zeros((16, 16)), np.zeros((16, 17)))
    with pytest.raises(ValueError, match="16x15 pixels, needs at least 16"):
        measure(np.zeros((15, 16)), np.zeros((15, 16)))
