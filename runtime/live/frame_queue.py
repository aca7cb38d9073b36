"""What waits between capture and network, and what is dropped: the two policies.

`WaitingFrames` is the logic alone, without threads and clocks of its own, so that it can be shown
right; `Channel` makes threads wait on it.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Generic, Literal, TypeAlias, TypeVar

from .source import Clock

Policy: TypeAlias = Literal["newest", "every"]

EVERY_LENGTH = 4
"""Frames that wait at most with the policy `every`; then the source waits."""

POLL_SECONDS = 0.1
"""How often a waiting thread looks whether to stop."""

T = TypeVar("T")


class WaitingFrames(Generic[T]):
    """Frames between capture and network. Not thread-safe.

    `newest` holds one frame: a newer one takes its place (a drop for `newer`). With a limit, a
    frame that could not be out in time any more is not given out (a drop for `late`). `every` holds
    up to `length`, refuses more, and drops nothing.

    Args:
        policy: `newest` or `every`.
        max_latency: Seconds from capture to presentation that a frame may take; None for any.
            With `newest` alone.
        length: Frames that wait at most, with `every`.
    """

    def __init__(
        self, policy: Policy, max_latency: float | None = None, length: int = EVERY_LENGTH
    ) -> None:
        self.policy = policy
        self.length = length
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
        if self.policy == "every":
            if len(self._frames) >= self.length:
                return False
        elif self._frames:
            self._frames.clear()
            self.drops["newer"] += 1
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
        clock: Clock,
        bell: threading.Event | None = None,
    ) -> None:
        self.waiting = waiting
        self._stop, self._clock = stop, clock
        self._bell = bell or threading.Event()
        self._changed = threading.Condition()
        self._ended = False

    def put(self, item: T, captured: float) -> None:
        """Hand a frame over, waiting for room where the policy wants it.

        Raises:
            StoppedError: The run ends.
        """
        with self._changed:
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
            StoppedError: The run ends.
        """
        with self._changed:
            while (item := self.waiting.take(self._clock(), ahead())) is None:
                if self._ended:
                    return None
                self._wait()
            self._changed.notify_all()
            return item

    def _wait(self) -> None:
        if self._stop.is_set():
            raise StoppedError
        self._changed.wait(POLL_SECONDS)
