"""How two variants compare on a machine that is never quiet: paired blocks and their medians.

Variants take turns in short blocks, forwards and backwards, so that what drifts (clocks, heat,
other work) meets all alike; a ratio is taken within each round, and the median over rounds.

    times = run_rounds(steps, seconds=20, block_frames=8)
    paired_ratio(times.block_ms("int8-ort"), times.block_ms("fp32-onnx"))
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

LEAST_ROUNDS = 8
"""Rounds that are run even where the duration is over: fewer give no interval."""

SETTLE_BELOW_SECONDS = 0.02
"""Frames faster than this get one frame at a block's start that is not counted: it finds the other
variant's data in the caches."""


class Clock(Protocol):
    """What tells time; replaced in tests."""

    def wall(self) -> float:
        """Seconds that passed."""

    def cpu(self) -> float:
        """Processor seconds of this process, all threads together."""


class SystemClock:
    """This machine's clocks."""

    def wall(self) -> float:
        """See `Clock`."""
        return time.perf_counter()

    def cpu(self) -> float:
        """See `Clock`."""
        return time.process_time()


@dataclass
class Timings:
    """Times of one variant's measured frames."""

    wall_ms: list[list[float]] = field(default_factory=list)
    """Of every frame, a list a round."""

    cpu_ms: list[list[float]] = field(default_factory=list)
    """Processor milliseconds of every frame, all threads together."""

    def frames(self, kind: str = "wall") -> list[float]:
        """All frames in order, `wall` or `cpu`."""
        return [value for block in self._blocks(kind) for value in block]

    def blocks(self, kind: str = "wall") -> list[float]:
        """Middle frame time of every round, `wall` or `cpu`.

        CPU clocks tick in steps of up to 10 ms on some systems, so CPU time is the block's mean.
        """
        if kind == "cpu":
            return [math.fsum(block) / len(block) for block in self.cpu_ms]
        return [median(block) for block in self.wall_ms]

    def _blocks(self, kind: str) -> list[list[float]]:
        return self.wall_ms if kind == "wall" else self.cpu_ms


@dataclass(frozen=True)
class Ratio:
    """One variant's time over another's."""

    median: float
    """Over all rounds; below 1 the first is faster."""

    low: float
    """Of the interval that holds the true median in 95 of 100 cases."""

    high: float
    """Likewise."""

    rounds: int

    @property
    def spread(self) -> float:
        """Width of the interval over the median."""
        return (self.high - self.low) / self.median


def run_rounds(
    steps: Mapping[str, Callable[[], None]],
    *,
    seconds: float,
    block_frames: int,
    settle: bool = True,
    clock: Clock | None = None,
    progress: Callable[[float], None] = lambda share: None,
    turn: Callable[[str | None], None] = lambda name: None,
) -> dict[str, Timings]:
    """Let variants take turns until the time is over.

    Args:
        steps: By variant, what runs its next frame.
        seconds: Wall seconds for all together; `LEAST_ROUNDS` are run in any case.
        block_frames: Measured frames of each variant's turn.
        settle: Run one more frame at the start of a turn that is not measured.
        clock: What tells time.
        progress: Called after every round with the share that is done.
        turn: Called with the variant whose turn begins, and with None at the end.

    Returns:
        By variant its times, the same number of rounds for all.
    """
    clock = clock or SystemClock()
    times = {name: Timings() for name in steps}
    began, rounds = clock.wall(), 0
    while rounds < LEAST_ROUNDS or clock.wall() - began < seconds:
        order = [*steps] if rounds % 2 == 0 else [*steps][::-1]
        for name in order:
            turn(name)
            if settle:
                steps[name]()
            wall, cpu = _block(steps[name], block_frames, clock)
            times[name].wall_ms.append(wall)
            times[name].cpu_ms.append(cpu)
        rounds += 1
        by_time = (clock.wall() - began) / seconds if seconds else 1.0
        progress(min(by_time, rounds / LEAST_ROUNDS, 1.0))
    turn(None)
    return times


def _block(step: Callable[[], None], frames: int, clock: Clock) -> tuple[list[float], list[float]]:
    wall_ms, cpu_ms = [], []
    for _ in range(frames):
        wall, cpu = clock.wall(), clock.cpu()
        step()
        wall_ms.append(1000 * (clock.wall() - wall))
        cpu_ms.append(1000 * (clock.cpu() - cpu))
    return wall_ms, cpu_ms


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> Ratio | None:
    """Compare two variants round by round.

    Args:
        first: A time of every round.
        second: The other variant's, of the same rounds.

    Returns:
        Median of first/second with its distribution-free interval (order statistics of the
        binomial); None without a round in which both took time.
    """
    pairs = zip(first, second, strict=True)
    ratios = sorted(one / other for one, other in pairs if one > 0 and other > 0)
    if not ratios:
        return None
    rank = max(0, math.floor(len(ratios) / 2 - 1.96 * math.sqrt(len(ratios)) / 2))
    return Ratio(median(ratios), ratios[rank], ratios[-1 - rank], len(ratios))


def median(values: Sequence[float]) -> float:
    """Middle value; the mean of the two middle ones of an even number."""
    return percentile(values, 50)


def percentile(values: Sequence[float], percent: float) -> float:
    """Percentile with linear interpolation between values, as numpy's default.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
