"""Ratios on a machine that is never quiet, under a clock that plays one."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.runtime.bench.ratio import LEAST_ROUNDS, median, paired_ratio, percentile, run_rounds

FAST_MS, SLOW_MS = 6.0, 10.0


class LoadedClock:
    """A clock of a busy machine: bursts of other work, preemption, clocks that fall over time."""

    def __init__(self, seed: int, slowdown_per_second: float = 0.15) -> None:
        self.rng = np.random.default_rng(seed)
        self.now = self.worked = 0.0
        self.slowdown = slowdown_per_second
        self.burst_ends = 0.0

    def wall(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.worked

    def work(self, milliseconds: float) -> None:
        if self.now > self.burst_ends and self.rng.random() < 0.02:
            self.burst_ends = self.now + self.rng.exponential(0.4)
        factor = 1 + self.slowdown * self.now
        spent = milliseconds / 1000 * factor * self.rng.lognormal(0, 0.05)
        share = 0.4 if self.now < self.burst_ends else 1.0
        preempted = self.rng.exponential(0.012) if self.rng.random() < 0.25 else 0.0
        self.worked += spent
        self.now += spent / share + preempted


def measure(seed: int, seconds: float = 20.0) -> float:
    clock = LoadedClock(seed)
    steps = {"fp32": lambda: clock.work(SLOW_MS), "int8": lambda: clock.work(FAST_MS)}
    times = run_rounds(steps, seconds=seconds, block_frames=12, clock=clock)
    found = paired_ratio(times["int8"].blocks(), times["fp32"].blocks())
    assert found is not None
    assert found.low <= found.median <= found.high
    return found.median


def measure_one_after_the_other(seed: int) -> float:
    """What a bench without turns would say, of the same machine."""
    clock = LoadedClock(seed)
    means = []
    for milliseconds in (SLOW_MS, FAST_MS):
        began, frames = clock.wall(), 0
        while clock.wall() - began < 10:
            clock.work(milliseconds)
            frames += 1
        means.append((clock.wall() - began) / frames)
    return means[1] / means[0]


def test_five_repeats_agree_within_a_tenth() -> None:
    ratios = [measure(seed) for seed in range(5)]
    assert max(ratios) / min(ratios) < 1.1
    assert np.mean(ratios) == pytest.approx(FAST_MS / SLOW_MS, rel=0.05)


def test_the_same_machine_fools_a_bench_without_turns() -> None:
    """Else the test above would show nothing."""
    ratios = [measure_one_after_the_other(seed) for seed in range(5)]
    assert np.mean(ratios) > 1.3 * FAST_MS / SLOW_MS


def test_drift_alone_cancels_exactly() -> None:
    """Turns forwards and backwards: what grows evenly meets both the same."""
    clock = LoadedClock(0)
    clock.work = lambda ms: setattr(clock, "now", clock.now + ms / 1000 * (1 + clock.now))  # type: ignore[method-assign]
    steps = {"a": lambda: clock.work(5.0), "b": lambda: clock.work(5.0)}
    times = run_rounds(steps, seconds=3, block_frames=4, clock=clock)
    found = paired_ratio(times["a"].blocks(), times["b"].blocks())
    assert found is not None
    assert found.median == pytest.approx(1.0, abs=0.01)
    assert found.low < 1 < found.high


def test_turns_alternate_and_settling_frames_are_not_counted() -> None:
    turns: list[str | None] = []
    clock = LoadedClock(0, 0.0)
    ran = {"a": 0, "b": 0}

    def step(name: str) -> None:
        ran[name] += 1
        clock.work(1.0)

    times = run_rounds(
        {"a": lambda: step("a"), "b": lambda: step("b")},
        seconds=0,
        block_frames=3,
        clock=clock,
        turn=turns.append,
    )
    assert turns[:6] == ["a", "b", "b", "a", "a", "b"]
    assert turns[-1] is None
    assert len(times["a"].frames()) == 3 * LEAST_ROUNDS
    assert ran["a"] == 4 * LEAST_ROUNDS


def test_cpu_time_does_not_see_other_work() -> None:
    clock = LoadedClock(1, 0.0)
    steps = {"fp32": lambda: clock.work(SLOW_MS), "int8": lambda: clock.work(FAST_MS)}
    times = run_rounds(steps, seconds=5, block_frames=8, clock=clock)
    found = paired_ratio(times["int8"].blocks("cpu"), times["fp32"].blocks("cpu"))
    assert found is not None
    assert found.median == pytest.approx(FAST_MS / SLOW_MS, rel=0.02)
    assert (found.high - found.low) / found.median < 0.05


def test_paired_ratio_without_times() -> None:
    assert paired_ratio([], []) is None
    assert paired_ratio([0.0], [1.0]) is None
    single = paired_ratio([1.0], [2.0])
    assert single is not None
    assert (single.median, single.low, single.high, single.rounds) == (0.5, 0.5, 0.5, 1)


def test_percentiles_are_numpys() -> None:
    values = list(np.random.default_rng(0).normal(size=101))
    for percent in (0, 50, 90, 95, 99, 100):
        assert percentile(values, percent) == pytest.approx(np.percentile(values, percent))
    assert median([1.0, 2.0]) == 1.5
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
