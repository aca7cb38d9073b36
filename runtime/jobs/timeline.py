"""Times of a joined file's packets: all from the plan, none from the segments' own clocks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction

from ..video.decoding_times import LONG_TICKS, REORDERED


class Timeline:
    """Presentation and decoding times of all frames.

    Args:
        times: Of every frame in shown order, in ticks.
        reorder: Frames by which the coded order runs ahead of the shown one, at most.
        time_base: Seconds a tick.
        nominal: Ticks of a frame that none follows.
        denominator: Ticks a second of the output, in which readers of mp4 limit a pause.
    """

    def __init__(
        self,
        times: Sequence[int],
        reorder: int,
        time_base: Fraction,
        nominal: int,
        denominator: int,
    ) -> None:
        self.times = times
        self._reorder = reorder
        self._nominal = nominal
        ahead = min(reorder, len(times) - 1)
        self._lead = times[ahead] - times[0] + (reorder - ahead) * nominal
        self._behind = [
            at
            for at in range(1, len(times))
            if (times[at] - times[at - 1]) * time_base * denominator > LONG_TICKS
        ]

    def decoding(self, coded: int) -> int:
        """When the packet of a place in coded order is decoded."""
        times = self.times
        early = coded < self._reorder
        time = times[coded] - self._lead if early else times[coded - self._reorder]
        place = bisect_right(self._behind, coded) - 1
        if place >= 0 and coded - self._behind[place] < REORDERED:
            # Not from before a long pause, see `DecodingTimes`.
            pause = self._behind[place]
            time = max(time, times[pause] - REORDERED + coded - pause)
        return time

    def duration(self, shown: int) -> int:
        """How long a frame of a place in shown order is shown."""
        last = shown + 1 >= len(self.times)
        return self._nominal if last else self.times[shown + 1] - self.times[shown]
