"""Drift, flicker and transients of errors whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.metrics.quantization import (
    PATCH_PX,
    drift,
    flicker,
    patch_errors,
    rms_error,
    transient,
)


def test_rms_error_in_levels() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert rms_error(black, black) == 0
    assert rms_error(black, black + 3) == pytest.approx(3)
    assert rms_error(black + 3, black) == pytest.approx(3)  # no wrap of unsigned bytes
    half = black.copy()
    half[:4] = 2
    assert rms_error(half, black) == pytest.approx(np.sqrt(2))
    with pytest.raises(ValueError, match="pictures of"):
        rms_error(black, black[:4])


def test_patch_errors_are_signed_means() -> None:
    base = np.full((2 * PATCH_PX + 3, 3 * PATCH_PX, 3), 100, np.uint8)
    other = base.copy()
    other[:PATCH_PX, :PATCH_PX] += 4
    other[PATCH_PX : 2 * PATCH_PX, 2 * PATCH_PX :] -= 2
    assert patch_errors(other, base) == pytest.approx([4, 0, 0, 0, 0, -2])
    assert patch_errors(base[:5, :7], base[:5, :7]).shape == (1,)


def test_patches_are_exact_and_of_equal_pictures(rng: np.random.Generator) -> None:
    """Odd sides: what fills no patch is left out; a picture of one row is no patch to broadcast."""
    first, second = rng.integers(0, 256, (2, 37, 50, 3), dtype=np.uint8)
    error = first.astype(int) - second
    expected = [error[y : y + 16, x : x + 16].mean() for y in (0, 16) for x in (0, 16, 32)]
    assert patch_errors(first, second) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="pictures of"):
        patch_errors(first, second[:1])


def test_a_line_has_its_slope() -> None:
    found = drift([1 + 0.002 * t for t in range(1000)])
    assert found.slope_per_1000 == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.growth == pytest.approx(1.0, rel=0.01)
    assert found.grows


def test_noise_does_not_drift(rng: np.random.Generator) -> None:
    found = drift(list(1 + 0.1 * rng.standard_normal(1000)))
    assert abs(found.slope_per_1000) < 0.05
    assert found.low < 0 < found.high
    assert not found.grows


def test_content_that_repeats_is_no_drift() -> None:
    """An error that follows the content looks like a slope unless periods are averaged."""
    wave = [1 + 0.5 * np.sin(2 * np.pi * t / 200) for t in range(1000)]
    assert drift(wave, period=200).slope_per_1000 == pytest.approx(0, abs=1e-9)
    assert abs(drift(wave[:350]).slope_per_1000) > 0.5
    rising = [value + 0.001 * t for t, value in enumerate(wave)]
    assert drift(rising, period=200).slope_per_1000 == pytest.approx(1.0)
    assert drift(rising, period=200).frames == 1000


def test_one_bad_frame_is_no_drift() -> None:
    errors = [1.0] * 300
    errors[-1] = 200.0
    assert drift(errors).slope_per_1000 == 0
    assert not drift(errors).grows


def test_a_shrinking_or_absent_error_does_not_grow() -> None:
    assert not drift([2 - 0.001 * t for t in range(1000)]).grows
    assert not drift([0.0] * 100).grows
    with pytest.raises(ValueError, match="needs 3"):
        drift([1.0] * 5, period=2)


def test_alternating_error_is_all_flicker() -> None:
    found = flicker([np.array([a, a / 2]) for a in [3.0, -3.0] * 50])
    assert found.peak == 0.5
    assert found.rms == pytest.approx(np.sqrt((9 + 2.25) / 2), rel=0.01)
    assert sum(found.power) == pytest.approx(found.rms**2, rel=0.01)


def test_a_sine_has_its_frequency_and_power() -> None:
    times = np.arange(200)
    found = flicker(list(2 * np.sin(2 * np.pi * 0.25 * times)[:, None]))
    assert found.peak == pytest.approx(0.25)
    assert found.rms == pytest.approx(np.sqrt(2), rel=0.01)


def test_a_constant_or_slow_error_does_not_flicker() -> None:
    assert flicker([np.array([5.0])] * 50).rms == 0
    slow = flicker(list(np.sin(2 * np.pi * np.arange(200) / 100)[:, None]))
    assert slow.rms < 0.01
    assert sum(slow.power) == pytest.approx(0.5, rel=0.05)
    with pytest.raises(ValueError, match="needs 4"):
        flicker([np.zeros(1)] * 3)


def test_a_decay_settles_where_it_should() -> None:
    """1 + 3 exp(-t/4) is within a quarter of 1 from t = 4 ln 12 = 9.94 on."""
    found = transient([1 + 3 * np.exp(-t / 4) for t in range(60)])
    assert found.settled == pytest.approx(1, abs=0.01)
    assert found.peak == pytest.approx(4)
    assert found.settle_frames == 10
    whole = 3 / (1 - np.exp(-1 / 4))
    assert found.excess == pytest.approx(whole, rel=0.1)


def test_no_transient() -> None:
    found = transient([1.0] * 20)
    assert (found.settle_frames, found.excess) == (0, 0)
    assert transient([0.0] * 20).settle_frames == 0
    with pytest.raises(ValueError, match="needs 4"):
        transient([1.0] * 3)


def test_a_later_change_of_content_is_not_the_transient() -> None:
    errors = [4.0, 2.0, *[1.0] * 10, *[3.0] * 3, *[1.0] * 10]
    found = transient(errors)
    assert found.settle_frames == 2
    assert found.excess == pytest.approx(4)
