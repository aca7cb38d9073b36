"""The best network that fits a latency, chosen while a stream runs: `--model auto=small,nano`.

All networks are loaded at the start, so a step is an exchange between two frames: no frame waits
for it or is lost, and the past is forgotten, which is counted as a reset for `model`.

    governor = Governor(spare, budget_ms=120)
    governor.judge(p95_ms, missed)  # about once a second
    governor.swap(upscaler)  # between frames, by the thread of the network
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ...errors import ConfigError
from ..upscaler import Upscaler
from .live_report import LiveOptions
from .notes import Notes

DOWN_AFTER, UP_AFTER = 2, 8
"""Judgements in a row that are too slow, or calm, before a step."""

CALM = 0.7
"""Share of the budget that the better network may be expected to take, to be tried."""

SHARE = 0.7
"""Of the interval between frames, and of the budget, that a network may take at the start."""

REGRET_S = 30.0
"""A step up that is taken back sooner was wrong: the next one waits twice as long."""

MOST_UP_AFTER = 600


class Ladder:
    """When to step, without networks and clocks of its own.

    Args:
        costs: Relative time of each network, the best first.
        budget_ms: That the 95th percentile of latency may have.
        rung: Where it starts, 0 for the best.
    """

    def __init__(self, costs: Sequence[float], budget_ms: float, rung: int) -> None:
        self.costs, self.budget_ms, self.rung = list(costs), budget_ms, rung
        self.up_after = UP_AFTER
        """Calm judgements before the next step up."""
        self._slow = self._calm = 0
        self._rose_at: float | None = None

    def judge(self, latency_ms: float | None, missed: int, now: float) -> int:
        """Look at what happened since the last time.

        Args:
            latency_ms: 95th percentile; None where no frame went through.
            missed: Frames dropped because the network was busy.
            now: Seconds.

        Returns:
            The rung to be on.
        """
        if latency_ms is None and not missed:
            return self.rung  # a camera that is away says nothing
        slow = missed > 0 or (latency_ms or 0.0) > self.budget_ms
        self._slow = self._slow + 1 if slow else 0
        if self._slow >= DOWN_AFTER and self.rung + 1 < len(self.costs):
            if self._rose_at is not None and now - self._rose_at < REGRET_S:
                self.up_after = min(2 * self.up_after, MOST_UP_AFTER)
            self._step(1)
        elif not slow and self.rung:
            expected = (latency_ms or 0.0) * self.costs[self.rung - 1] / self.costs[self.rung]
            self._calm = self._calm + 1 if expected <= CALM * self.budget_ms else 0
            if self._calm >= self.up_after:
                self._rose_at = now
                self._step(-1)
        else:
            self._calm = 0
            if self._rose_at is not None and now - self._rose_at >= REGRET_S:
                self.up_after = UP_AFTER  # the step up was right
        return self.rung

    def _step(self, by: int) -> None:
        self.rung += by
        self._slow = self._calm = 0


class Governor:
    """Steps one stream between networks that are loaded.

    Args:
        networks: The best first, each with a past of its own; the first is replaced by the one
            that the stream has itself.
        budget_ms: See `Ladder`.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        networks: Sequence[Upscaler],
        budget_ms: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.notes = Notes()
        self.steps: Counter[str] = Counter()
        """Steps `down` and `up` so far."""
        self._spare: list[Upscaler | None] = [None, *networks[1:]]
        self._names = [f"{each.bundle.path.name} {each.session.variant.id}" for each in networks]
        self._clock, self._budget_ms = clock, budget_ms
        self._rung, self._wanted, self._missed = 0, len(networks) - 1, 0
        # Until a size is known it is the cheapest, and each better one is taken for twice the cost.
        self._ladder = Ladder([2.0**-i for i in range(len(networks))], budget_ms, self._wanted)
        self._by_hand = False

    def begin(self, upscaler: Upscaler, size: tuple[int, int], interval_s: float) -> None:
        """Measure every network at the stream's size, and begin with the best that fits.

        Args:
            upscaler: The stream's.
            size: Width and height.
            interval_s: Between frames.
        """
        holders = [each or upscaler for each in self._spare]
        costs = [_seconds(each, size) for each in holders]
        most = SHARE * min(interval_s, self._budget_ms / 1000)
        fits = [rung for rung, cost in enumerate(costs) if cost <= most]
        self._wanted = fits[0] if fits else len(costs) - 1
        self._ladder = Ladder(costs, self._budget_ms, self._wanted)
        took = ", ".join(f"{n} {1000 * c:.1f} ms" for n, c in zip(self._names, costs, strict=True))
        self.notes.add(
            f"begins with {self._names[self._wanted]} ({took} a frame of {size[0]}x{size[1]})"
        )
        self._exchange(upscaler)

    def judge(self, latency_ms: float | None, missed: int) -> None:
        """Decide about the next frames.

        Args:
            latency_ms: 95th percentile since the last time; None without a frame.
            missed: Frames dropped so far because the network was busy.
        """
        since, self._missed = missed - self._missed, missed
        if self._by_hand or self._wanted != self._rung:
            return
        rung = self._ladder.judge(latency_ms, since, self._clock())
        if rung != self._rung:
            way = "down" if rung > self._rung else "up"
            self.steps[way] += 1
            why = f"{since} frames missed" if since else f"p95 {latency_ms or 0.0:.0f} ms"
            self.notes.add(
                f"steps {way} to {self._names[rung]}: {why}, the budget is {self._budget_ms:g} ms"
            )
            self._wanted = rung

    def swap(self, upscaler: Upscaler, *, by_hand: bool = False) -> bool:
        """Change networks between two frames, where that was decided; in the network's thread.

        Args:
            upscaler: The stream's.
            by_hand: Somebody chose another network: from now on nothing is decided here.
        """
        if by_hand and not self._by_hand:
            self._by_hand = True
            self.notes.add("a network was chosen by hand: auto is off for this stream")
        if self._by_hand or self._wanted == self._rung:
            return False
        self._exchange(upscaler)
        return True

    def _exchange(self, upscaler: Upscaler) -> None:
        wanted = self._spare[self._wanted]
        if wanted is None:
            return
        upscaler.exchange(wanted)  # which holds the former network now
        self._spare[self._rung], self._spare[self._wanted] = wanted, None
        self._rung = self._wanted


def governor_of(networks: Sequence[Upscaler], options: LiveOptions) -> Governor | None:
    """What chooses among several networks for a stream; None where there is one.

    Raises:
        ConfigError: There is no latency to choose by.
    """
    if len(networks) < 2:
        return None
    if options.max_latency_ms is None:
        raise ConfigError("--model auto=... chooses by latency: give --max-latency-ms")
    if late := next((each.bundle.name for each in networks if each.bundle.delay), None):
        raise ConfigError(
            f"--model auto=... takes networks that answer each frame at once; '{late}' looks ahead"
        )
    return Governor(networks, options.max_latency_ms)


def _seconds(upscaler: Upscaler, size: tuple[int, int]) -> float:
    """The shorter of two runs, after one that allocates."""
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        upscaler(frame)
        took.append(time.perf_counter() - began)
    upscaler.reset()
    return min(took[1:])
