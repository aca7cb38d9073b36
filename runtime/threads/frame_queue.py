"""What waits between two threads of a stream or a file, and what is dropped: the two policies.

`WaitingFrames` is the logic alone, without threads and clocks of its own, so that it can be shown
right; `Channel` makes threads wait on it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Literal, TypeAlias, TypeVar

Policy: TypeAlias = Literal["newest", "every"]

EVERY_LENGTH = 4
"""Frames that wait at most with the policy `every`; then the source waits."""

POLL_SECONDS = 0.1
"""How often a waiting thread looks whether to stop."""

T = TypeVar("T")


class WaitingFrames(Generic[T]):
    """Frames between two threads. Not thread-safe.

    `newest` holds up to `length`: the oldest gives way to a newer one (a drop for `newer`). With a
    limit, a frame that could not be out in time any more is not given out (a drop for `late`).
    `every` holds up to `length`, refuses more, and drops nothing.

    Args:
        policy: `newest` or `every`.
        max_latency: Seconds from capture to presentation that a frame may take; None for any.
            With `newest` alone.
        length: Frames that wait at most; None for one with `newest`, a few with `every`.
        gave_way: Called with each frame that gave way.
    """

    def __init__(
        self,
        policy: Policy,
        max_latency: float | None = None,
        length: int | None = None,
        gave_way: Callable[[T], None] = lambda frame: None,
    ) -> None:
        self.policy = policy
        self.length = length or (EVERY_LENGTH if policy == "every" else 1)
        self._gave_way = gave_way
        self.max_latency = max_latency
        self.drops: Counter[str] = Counter()
        """Frames dropped, by reason."""
        self._frames: deque[tuple[T, float]] = deque()

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    def offer(self, item: T, captured: float) -> bool:
        """Take a frame in; False where it has to wait outside.

        Args:
            item: The frame.
            captured: When it was captured, in seconds; never before the one offered last.
        """
        if len(self._frames) >= self.length:
            if self.policy == "every":
                return False
            self.drops["newer"] += 1
            self._gave_way(self._frames.popleft()[0])
        self._frames.append((item, captured))
        return True

    def take(self, now: float, ahead: float = 0.0) -> T | None:
        """Give the frame to work on next, or None where none is there.

        Args:
            now: Seconds, on the clock of `captured`.
            ahead: Seconds that network and encoder are expected to take. Where they alone are
                more than `max_latency`, only the waiting counts: dropping all frames helps nobody.
        """
        while self._frames:
            item, captured = self._frames.popleft()
            if self.max_latency is None or self.policy == "every":
                return item
            expected = ahead if ahead <= self.max_latency else 0.0
            if now - captured + expected <= self.max_latency:
                return item
            self.drops["late"] += 1
        return None

    def clear(self) -> list[T]:
        """Forget what waits, and give it back."""
        left = [item for item, _ in self._frames]
        self._frames.clear()
        return left


class StoppedError(Exception):
    """The run ends: whoever waits gives up."""


class Channel(Generic[T]):
    """Hands frames from thread to thread.

    Args:
        waiting: What is held and what is dropped.
        stop: Set to end all waiting.
        clock: Monotonic seconds.
        bell: Set whenever a frame came or the last one has come, for a thread that serves several
            channels and waits on none of them.
    """

    def __init__(
        self,
        waiting: WaitingFrames[T],
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        bell: threading.Event | None = None,
    ) -> None:
        self.waiting = waiting
        self._stop, self._clock = stop, clock
        self._bell = bell or threading.Event()
        self._changed = threading.Condition()
        self._ended = self.is_closed = False

    def put(self, item: T, captured: float = 0.0) -> None:
        """Hand a frame over, waiting for room where the policy wants it.

        Raises:
            StoppedError: The run ends, or nobody takes anything any more.
        """
        with self._changed:
            if self.is_closed:
                raise StoppedError
            while not self.waiting.offer(item, captured):
                self._wait()
            self._changed.notify_all()
        self._bell.set()

    def end(self) -> None:
        """Say that no more frames come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._bell.set()

    def close(self) -> list[T]:
        """Take nothing any more; whoever waits gives up. Gives back what waited."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
            return self.waiting.clear()

    @property
    def has_room(self) -> bool:
        """Whether a frame can be put without waiting, and without another one's giving way."""
        with self._changed:
            return self.is_closed or len(self.waiting) < self.waiting.length

    @property
    def has_ended(self) -> bool:
        """Whether no more frames come; some may wait."""
        return self._ended

    @property
    def is_over(self) -> bool:
        """Whether no frame waits and none comes any more."""
        with self._changed:
            return self._ended and not len(self.waiting)

    def poll(self, ahead: float = 0.0) -> T | None:
        """The next frame without waiting for it; None where none is there.

        Args:
            ahead: See `WaitingFrames.take`.
        """
        with self._changed:
            item = self.waiting.take(self._clock(), ahead)
            self._changed.notify_all()
            return item

    def get(self, ahead: Callable[[], float] = float) -> T | None:
        """Wait for the next frame; None after the last one.

        Args:
            ahead: See `WaitingFrames.take`; called when a frame is there.

        Raises:
            StoppedError: The run ends, or the channel was closed.
        """
        with self._changed:
            while (item := self.waiting.take(self._clock(), ahead())) is None:
                if self._ended:
                    return None
                self._wait()
            self._changed.notify_all()
            return item

    def _wait(self) -> None:
        if self._stop.is_set() or self.is_closed:
            raise StoppedError
        self._changed.wait(POLL_SECONDS)
