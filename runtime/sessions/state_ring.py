"""The carried state of several streams on one network: sets of buffers that change places.

A network reads the state of before and writes the next one into a set that nobody reads; then the
two change places. So there is one set more than streams, and nothing is copied.

    ring.fill(slots, lambda: [np.zeros(shape) for shape in shapes])
    current, following = ring.places(slot)
    run(ring.sets[current], ring.sets[following])
    ring.advance(slot)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class StateRing(Generic[T]):
    """Sets of one network's buffers; empty until filled. A slot is a stream, or a tile of one."""

    def __init__(self) -> None:
        self.sets: list[T] = []
        """All there are, the spare one included; whoever frees buffers frees these."""
        self._of: list[int] = []
        self._spare = 0

    def fill(self, slots: int, make: Callable[[], T]) -> None:
        """Make a set for each slot, and the one to write into.

        Args:
            slots: Streams.
            make: Makes a set of zeros. Where it fails, the sets made so far are in `sets`.
        """
        self.sets, self._of, self._spare = [], [], 0
        for _ in range(slots + 1):
            self.sets.append(make())
        self._of, self._spare = list(range(slots)), slots

    def current(self) -> list[T]:
        """The set that each slot reads next."""
        return [self.sets[place] for place in self._of]

    def places(self, slot: int) -> tuple[int, int]:
        """Which of `sets` a slot reads next, and which one is written meanwhile."""
        return self._of[slot], self._spare

    def advance(self, slot: int) -> None:
        """Make what was written the slot's state; what it read may be written next."""
        self._of[slot], self._spare = self._spare, self._of[slot]
