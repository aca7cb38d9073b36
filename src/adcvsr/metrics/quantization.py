"""What a narrower precision does over time: drift, flicker, and what follows a start or a cut.

The error is always that to the same network in its reference precision, on the same frames, each
with its own carried state. Definitions and limits: docs/profile.md, "Measures over time".

    errors = [rms_error(a, b) for a, b in zip(narrow, reference)]
    drift(errors, period=2 * len(clip) - 2).grows
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..arrays import Doubles, Levels

PATCH_PX = 16
"""Flicker is that of patches: single pixels are texture, whole frames hide what moves in places."""

FLICKER_FROM = 0.1
"""Cycles a frame from which change counts as flicker: 2.5 Hz at 25 fps, where eyes notice."""

GROWTH_LIMIT = 0.10
"""An error that grows by more of itself over the run drifts; less is no one's problem."""

SETTLED_WITHIN = 0.25
"""A transient is over when the error stays within this share of its settled level."""


@dataclass(frozen=True)
class Drift:
    """How an error changes with the frames a state has been carried for."""

    slope_per_1000: float
    """Levels in 1,000 frames: Theil-Sen, the median over all pairs of periods."""

    low: float
    """Of the interval that holds the slope in 95 of 100 cases (Sen 1968), same unit."""

    high: float
    """Likewise."""

    level: float
    """Median error in levels."""

    frames: int

    @property
    def growth(self) -> float:
        """Change over the whole run as a share of the median error."""
        change = self.slope_per_1000 * self.frames / 1000
        return change / self.level if self.level > 0 else 0.0

    @property
    def grows(self) -> bool:
        """Whether the error grows, certainly and by more than `GROWTH_LIMIT`."""
        return self.low > 0 and self.growth > GROWTH_LIMIT

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "growth": self.growth, "grows": self.grows}


@dataclass(frozen=True)
class Flicker:
    """How an error moves from frame to frame."""

    frequencies: list[float]
    """Cycles a frame, 0 to 0.5."""

    power: list[float]
    """Squared levels in each bin, mean over patches; their sum is its variance in time."""

    rms: float
    """Levels, of what is faster than `FLICKER_FROM`."""

    peak: float
    """Frequency of the strongest bin above 0, in cycles a frame; 0 where nothing moves."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class Transient:
    """What follows an event: a start without a past, or a cut with a wrong one."""

    settled: float
    """Median error in levels of the second half of what follows."""

    peak: float
    """Largest error in levels."""

    excess: float
    """Sum of what is above the settled level, in levels times frames."""

    settle_frames: int
    """First frame after the event from which the error stays near the settled level."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def rms_error(output: Levels, reference: Levels) -> float:
    """Root mean squared difference of two pictures (H, W, 3) uint8, in levels."""
    difference = _difference(output, reference).ravel()
    return math.sqrt(float(np.dot(difference, difference)) / difference.size)


def patch_errors(output: Levels, reference: Levels) -> Doubles:
    """Mean signed difference of every patch of `PATCH_PX` squared, (P,) levels.

    Args:
        output: (H, W, 3) uint8.
        reference: The same shape.
    """
    _require_alike(output, reference)
    rows, columns = (max(side // PATCH_PX, 1) for side in output.shape[:2])
    tall, wide = (min(PATCH_PX, side) for side in output.shape[:2])
    inside = slice(rows * tall), slice(columns * wide)
    # Integers: sums of whole levels, a fifth of the time of means of means.
    change = np.subtract(output[inside], reference[inside], dtype=np.int16)
    sums = change.reshape(rows, tall, columns, wide * 3).sum((1, 3), dtype=np.int32)
    patches: Doubles = (sums / (tall * wide * 3)).ravel()
    return patches


def drift(errors: Sequence[float], *, period: int = 1) -> Drift:
    """Measure whether an error grows while state is carried.

    Args:
        errors: Of every frame, in levels.
        period: Frames after which the content repeats; errors are averaged over it, so that what
            is in the frames does not look like drift. Frames beyond the last whole period are left
            out.

    Raises:
        ValueError: Fewer than three periods.
    """
    count = len(errors) // period
    if count < 3:
        raise ValueError(f"{len(errors)} frames are {count} periods of {period}, drift needs 3")
    values = np.asarray(errors[: count * period], np.float64).reshape(count, period).mean(1)
    first, second = np.triu_indices(count, 1)
    slopes = np.sort((values[second] - values[first]) / (second - first))
    # Sen's interval: Kendall's statistic is normal with this deviation for a series without trend.
    reach = 1.96 * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    low = max(int((len(slopes) - reach) / 2), 0)
    high = min(math.ceil((len(slopes) + reach) / 2), len(slopes) - 1)
    scale = 1000 / period
    return Drift(
        slope_per_1000=float(np.median(slopes)) * scale,
        low=float(slopes[low]) * scale,
        high=float(slopes[high]) * scale,
        level=float(np.median(values)),
        frames=count * period,
    )


def flicker(patches: Sequence[Doubles]) -> Flicker:
    """Measure how fast an error changes.

    Args:
        patches: Of every frame, (P,) as `patch_errors` gives them.

    Returns:
        Spectrum of the patches' errors in time, their means taken off, Hann window.

    Raises:
        ValueError: Fewer than four frames.
    """
    if len(patches) < 4:
        raise ValueError(f"{len(patches)} frames, a spectrum needs 4")
    series = np.stack(patches).astype(np.float64)  # (T, P)
    series -= series.mean(0)
    window = np.hanning(len(series) + 2)[1:-1, None]
    spectrum = np.abs(np.fft.rfft(series * window, axis=0)) ** 2
    spectrum[1 : (len(series) + 1) // 2] *= 2  # every bin but 0 and Nyquist stands for two
    power = spectrum.mean(1) / (len(series) * float(np.square(window).sum()))
    frequencies = np.fft.rfftfreq(len(series))
    fast = frequencies >= FLICKER_FROM
    peak = frequencies[1:][power[1:].argmax()] if power[1:].max() > 0 else 0.0
    return Flicker(
        frequencies=[float(f) for f in frequencies],
        power=[float(p) for p in power],
        rms=math.sqrt(float(power[fast].sum())),
        peak=float(peak),
    )


def transient(errors: Sequence[float]) -> Transient:
    """Measure what an event leaves behind.

    Args:
        errors: In levels, from the first frame after the event on.

    Raises:
        ValueError: Fewer than four frames.
    """
    if len(errors) < 4:
        raise ValueError(f"{len(errors)} frames after the event, a transient needs 4")
    values = np.asarray(errors, np.float64)
    settled = float(np.median(values[len(values) // 2 :]))
    away = np.abs(values - settled) > SETTLED_WITHIN * settled
    # Content makes errors vary for good: only a run of frames from the event on is the transient.
    steady = np.flatnonzero(~away)
    return Transient(
        settled=settled,
        peak=float(values.max()),
        excess=float(np.maximum(values - settled, 0)[: steady[0] if len(steady) else None].sum()),
        settle_frames=int(steady[0]) if len(steady) else len(values),
    )


def _difference(output: Levels, reference: Levels) -> npt.NDArray[np.float32]:
    _require_alike(output, reference)
    difference: npt.NDArray[np.int16] = np.subtract(output, reference, dtype=np.int16)
    return difference.astype(np.float32)


def _require_alike(output: Levels, reference: Levels) -> None:
    if output.shape != reference.shape:
        raise ValueError(f"pictures of {output.shape} and {reference.shape}")
