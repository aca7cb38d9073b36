"""Where a network over a clip reads zero beyond the clip's ends.

Every tensor of the unrolled graph is a frame; the picture of a frame near an end is built as one in
the middle, but for reads of frames that are not there. A stream that runs behind has computed
something in their place, and has to take zero instead.

    edges = find_borders(pictures, middle=12, ahead=2)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...errors import AdoptError

Array = npt.NDArray[Any]


@dataclass(eq=False)
class Frame:
    """A tensor of one frame, its time axis 1 long."""

    ready: int
    """Latest frame of the input that it depends on; -1 for none."""

    name: str
    """Of the node it is from, for names and errors."""

    op: onnx.NodeProto | None = None
    """What makes it; None for inputs, constants and zeros."""

    inputs: tuple[Frame | None, ...] = ()
    output: int = 0
    value: Array | None = None
    """Of a constant; a zero of no shape stands for frames before the clip."""

    shape: tuple[int, ...] = ()
    """At the first of `TRIAL_SIDES`."""

    @property
    def is_zero(self) -> bool:
        """Whether it is zero whatever comes in."""
        return self.op is None and self.value is not None and not np.any(self.value)


@dataclass
class Edge:
    """A node's read of a frame, by when the node's own frame of the clip comes in."""

    last: int
    """The clip's last frame."""

    absent: set[int] = field(default_factory=set)
    """Frames with which zero was read."""

    there: set[int] = field(default_factory=set)
    """Frames with which it was not."""

    def agos(self, wait: int, given: int, ahead: int) -> Iterator[int]:
        """How many frames ago ones have come in whose being there the read depends on.

        Args:
            wait: Frames that the node is computed later than it could be.
            given: When what it reads was computed, from the present frame, 0 or less.
            ahead: Frames that pictures come late.
        """
        first, last = min(self.there) + wait, max(self.there) + wait
        # What would have been computed before the first frame is zero already: a state's start.
        if min(self.absent, default=first) + wait < first and given + first - 1 >= 0:
            yield first
        after = last - self.last
        if max(self.absent, default=last) + wait > last and after < ahead:
            yield after


def find_borders(pictures: Sequence[Frame], middle: int, ahead: int) -> dict[tuple[int, int], Edge]:
    """Find reads that are zero near a clip's ends.

    Args:
        pictures: Of all frames of the clip.
        middle: One that no end touches.
        ahead: Frames after its own that a picture needs.

    Returns:
        By node and input what some picture reads as zero.

    Raises:
        AdoptError: Near an end other frames are read instead, as where a clip's first frame is
            repeated.
    """
    last = len(pictures) - 1
    edges: dict[tuple[int, int], Edge] = {}
    seen: set[tuple[int, int]] = set()
    for at in range(middle, last - ahead + 1):
        for other in range(last + 1):
            _lay_beside(pictures[at], pictures[other], other - at, last, edges, seen)
    return {key: edge for key, edge in edges.items() if edge.absent and edge.there}


def _lay_beside(
    first: Frame,
    second: Frame,
    shift: int,
    last: int,
    edges: dict[tuple[int, int], Edge],
    seen: set[tuple[int, int]],
) -> None:
    pending = [(first, second)]
    while pending:
        mine, other = pending.pop()
        if mine is other or mine.op is None or (id(mine), id(other)) in seen:
            continue
        seen.add((id(mine), id(other)))
        alike = (
            other.op is not None
            and mine.op.op_type == other.op.op_type
            and len(mine.inputs) == len(other.inputs)
            and list(mine.op.attribute) == list(other.op.attribute)
        )
        if not alike:
            continue  # built in another way: the proof finds out whether that counts
        for index, (a, b) in enumerate(zip(mine.inputs, other.inputs, strict=True)):
            if a is None or b is None or a.ready < 0:
                continue
            edge = edges.setdefault((id(mine), index), Edge(last))
            if b.is_zero:
                edge.absent.add(mine.ready + shift)
                continue
            if a.op is None and b.op is None and b.ready != a.ready + shift:
                raise AdoptError(
                    f"node '{mine.name}' reads frame {b.ready} instead of frame "
                    f"{a.ready + shift} of a clip of {last + 1}: frames at the ends are repeated, "
                    "which a stream that runs behind does not do; --window runs it in windows"
                )
            edge.there.add(mine.ready + shift)
            pending.append((a, b))
