"""Nothing is lost without being counted, nothing is given out of order or too late."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcvsr.runtime.threads.frame_queue import Channel, StoppedError, WaitingFrames

steps = st.lists(
    st.tuples(st.sampled_from(["put", "take"]), st.floats(0, 0.2), st.floats(0, 0.3)), max_size=80
)


@dataclass
class Played:
    """What a sequence of steps did to a queue, with a clock that only the steps move."""

    waiting: WaitingFrames[int]
    offered: int = 0
    refused: int = 0
    now: float = 0.0

    def __post_init__(self) -> None:
        self.taken: list[int] = []
        self.captured: dict[int, float] = {}

    def play(self, step: tuple[str, float, float]) -> tuple[int | None, float]:
        what, wait, ahead = step
        self.now += wait
        if what == "put":
            self.offered += 1
            self.captured[self.offered] = self.now
            self.refused += not self.waiting.offer(self.offered, self.now)
            return None, ahead
        item = self.waiting.take(self.now, ahead)
        self.taken += [item] if item is not None else []
        return item, ahead


@settings(max_examples=80, deadline=None)
@given(steps, st.none() | st.floats(0.01, 0.5))
def test_newest_counts_every_frame_and_gives_the_newest_in_time(
    sequence: list[tuple[str, float, float]], limit: float | None
) -> None:
    played = Played(WaitingFrames("newest", limit))
    for step in sequence:
        newest = played.offered
        item, ahead = played.play(step)
        assert len(played.waiting) <= 1
        if item is not None:
            assert item == newest
            age = played.now - played.captured[item]
            assert limit is None or age + (ahead if ahead <= limit else 0) <= limit
    dropped = sum(played.waiting.drops.values())
    assert played.offered == len(played.taken) + dropped + len(played.waiting)
    assert played.taken == sorted(set(played.taken))
    assert played.refused == 0
    assert limit is not None or "late" not in played.waiting.drops


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 5))
def test_every_drops_nothing_and_keeps_the_order(
    sequence: list[tuple[str, float, float]], length: int
) -> None:
    played = Played(WaitingFrames("every", length=length))
    accepted = []
    for step in sequence:
        room, refused = len(played.waiting) < length, played.refused
        played.play(step)
        if step[0] == "put":
            assert (played.refused == refused) == room
            accepted += [played.offered] if room else []
        assert len(played.waiting) <= length
    assert not played.waiting.drops
    assert played.taken == accepted[: len(played.taken)]
    assert len(accepted) == len(played.taken) + len(played.waiting)


def test_a_limit_that_cannot_be_held_does_not_drop_everything() -> None:
    waiting: WaitingFrames[str] = WaitingFrames("newest", 0.1)
    waiting.offer("a", 10.0)
    assert waiting.take(10.05, ahead=0.3) == "a"
    waiting.offer("b", 11.0)
    assert waiting.take(11.2, ahead=0.3) is None
    assert waiting.drops == {"late": 1}


class TestChannel:
    def test_a_full_channel_makes_the_giver_wait_and_loses_nothing(self) -> None:
        stop = threading.Event()
        channel: Channel[int] = Channel(WaitingFrames("every", length=1), stop, lambda: 0.0)

        def give() -> None:
            for index in range(50):
                channel.put(index, 0.0)
            channel.end()

        giver = threading.Thread(target=give)
        giver.start()
        got = list(iter(channel.get, None))
        giver.join()
        assert got == list(range(50))

    def test_whoever_waits_ends_when_the_run_does(self) -> None:
        stop = threading.Event()
        channel: Channel[int] = Channel(WaitingFrames("every", length=1), stop, lambda: 0.0)
        channel.put(1, 0.0)
        stop.set()
        with pytest.raises(StoppedError):
            channel.put(2, 0.0)
        assert channel.get() == 1
        with pytest.raises(StoppedError):
            channel.get()
