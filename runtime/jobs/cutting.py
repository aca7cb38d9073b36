"""Where segments begin: so that each is about as long as asked for, and little is decoded twice.

The network must see a few frames before a segment, its warm-up, and where it looks ahead a few
after it. Where there is a choice a segment begins as many frames as its warm-up has after a key
frame: then the warm-up is what follows the key frame, and no frame is decoded only to reach it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction

from .plan import Segment, compact_steps
from .scan import Scan

LONGEST = 2
"""Times the asked length: without a key frame until there, a segment ends anywhere."""

SHORTEST_LAST = Fraction(1, 4)
"""Of the asked length: a last segment that is shorter joins the one before."""


def cut(scan: Scan, seconds: float, warm_up: int, ahead: int = 0) -> list[Segment]:
    """Cut an input into segments.

    Args:
        scan: Its frames, at least one.
        seconds: Length of a segment.
        warm_up: Frames the network must see before each.
        ahead: Frames the network must see after each.
    """
    times = scan.times
    length = Fraction(seconds) / scan.info.time_base
    begins = _begins(scan, length, warm_up)
    keys = scan.keys
    key_times = [time for time, _ in keys]
    found = []
    for index, (begin, end) in enumerate(zip(begins, [*begins[1:], len(times)], strict=True)):
        warm = min(warm_up, begin)
        before = bisect_right(key_times, times[begin - warm])
        found.append(
            Segment(
                index=index,
                frames=end - begin,
                pts=times[begin],
                steps=compact_steps(times[begin:end]),
                warm_up=warm,
                begin_pts=times[begin - warm],
                seek=keys[before - 1][1] if before > 1 else None,
                end_pts=times[min(end + ahead, len(times)) - 1] if ahead else None,
            )
        )
    return found


def _begins(scan: Scan, length: Fraction, warm_up: int) -> list[int]:
    times, begins = scan.times, [0]
    liked = _liked(scan, warm_up)
    while True:
        begin = times[begins[-1]]
        following = bisect_right(times, begin + length - 1)  # the first frame a length later
        if times[-1] - begin < length * (1 + SHORTEST_LAST) or following >= len(times):
            return begins
        earliest = bisect_right(times, begin + length / 2)
        place = bisect_right(liked, max(earliest, begins[-1]))
        latest = bisect_right(times, begin + LONGEST * length) - 1
        near = liked[place : bisect_right(liked, latest)]
        if near:
            following = min(near, key=lambda at: abs(times[at] - begin - length))
        begins.append(following)


def _liked(scan: Scan, warm_up: int) -> list[int]:
    """Frames so far behind a key frame that its warm-up begins with it."""
    positions = {time: at for at, time in enumerate(scan.times)}

    def all_of() -> Iterator[int]:
        for time, _ in scan.keys:
            at = positions.get(time)
            if at is not None and 0 < at + warm_up < len(scan.times):
                yield at + warm_up

    return sorted(set(all_of()))
