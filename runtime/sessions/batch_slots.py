"""The carried state of streams of one size, side by side in the batch axis of a network.

Every stream has a slot of two arrays that change roles with each frame, so a batch of neighbouring
slots is a slice: nothing is gathered, a stream joins and leaves without the others, and one alone
reads and writes its slice as a session of its own would.

    slots = BatchSlots(shapes, np.dtype("float32"))
    slot = slots.take()
    slots.views(0, slot, slot + 2)  # of two neighbours, one array a state tensor
    slots.give(slot)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...arrays import AnyFloats
from ...pictures.yuv_picture import AnyPicture
from .stream_session import StreamSession

MOST_SLOTS = 32
"""Of one size; memory is taken when a slot is used first. Further streams run by themselves."""


class BatchSlots:
    """Slots of one size of frames.

    Args:
        shapes: Of each state tensor, (1, C, h, w).
        dtype: Of all.
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtype: npt.DTypeLike) -> None:
        # Zeros of this size are pages that the system gives when they are written.
        self._sets: list[list[AnyFloats]] = [
            [np.zeros((MOST_SLOTS, *shape[1:]), dtype) for shape in shapes] for _ in range(2)
        ]
        self._taken: set[int] = set()

    def __len__(self) -> int:
        """Slots that are taken."""
        return len(self._taken)

    def take(self) -> int | None:
        """The lowest free slot, so that streams are neighbours; None where there is none."""
        free = next((slot for slot in range(MOST_SLOTS) if slot not in self._taken), None)
        if free is not None:
            self._taken.add(free)
        return free

    def give(self, slot: int) -> None:
        """Free a slot."""
        self._taken.discard(slot)

    def views(self, role: int, first: int, end: int) -> list[AnyFloats]:
        """Slots `first` to `end` (not included) of one of the two arrays of each state tensor."""
        return [array[first:end] for array in self._sets[role]]


def neighbours(slots: Sequence[int], most: int) -> list[list[int]]:
    """Part places of slots into runs of neighbours of at most `most`.

    Args:
        slots: Each once, in any order.
        most: At least 1.

    Returns:
        Indices into `slots`, in the order of the slots.
    """
    runs: list[list[int]] = []
    for index in sorted(range(len(slots)), key=slots.__getitem__):
        last = runs[-1] if runs else None
        if last and slots[last[-1]] + 1 == slots[index] and len(last) < most:
            last.append(index)
        else:
            runs.append([index])
    return runs


def run_ahead(pairs: Sequence[tuple[StreamSession, AnyPicture]]) -> list[int]:
    """Run the next frames of several streams, as many at once as their network takes.

    Afterwards each session's `infer`, or `infer_yuv`, of that very frame gives its picture. Frames
    that cannot be in a batch are left for it to run: sizes met for the first time, tiles, other
    networks, one of RGB beside one of YUV.

    Args:
        pairs: Opened sessions, each once, and what `infer` will be given.

    Returns:
        How many frames each batch held; empty where all are left.

    Raises:
        RuntimeError, ValueError: See `StreamSession.infer`.
    """
    groups: dict[tuple[int, tuple[int, int]], list[int]] = {}
    for index, (session, frame) in enumerate(pairs):
        if (family := session.batch_family(frame)) is not None:
            height, width = frame.shape[:2]
            groups.setdefault((id(family), (height, width)), []).append(index)
    sizes = []
    for members in groups.values():
        if len(members) > 1:
            sizes += pairs[members[0]][0].run_batch([pairs[index] for index in members])
    return sizes
