"""Overlapping pieces along one axis: windows in time, tiles in height and in width.

Pieces of one size stand at 0, stride, 2*stride and so on; the last one is shifted back so that it
ends where the axis ends. Where they go depends on indices alone, never on how frames arrive. In
order, each piece takes over from what the pieces before it left: it counts nothing before
`fade_start`, linearly more from there, alone from `fade_stop` on.

    Spacing(size=25, overlap=8, fade=8).place(100)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Levels


@dataclass(frozen=True)
class Piece:
    """One window or one side of a tile, [start, stop) of the axis."""

    start: int
    stop: int
    fade_start: int
    """First index where it counts."""
    fade_stop: int
    """First index where nothing before it counts any more."""


@dataclass(frozen=True)
class Spacing:
    """How pieces stand on an axis of any length."""

    size: int
    """Length of every piece; an axis that is shorter is one piece of its own length."""

    overlap: int
    """Indices neighbours share, in [0, size); the last two share more where it is shifted back."""

    fade: int = 0
    """Indices crossfaded, in [0, overlap], centred in the overlap; 0 is a cut in its middle."""

    @property
    def stride(self) -> int:
        """From one piece to the next."""
        return self.size - self.overlap

    def takeover(self, previous_stop: int) -> tuple[int, int]:
        """`fade_start` and `fade_stop` of the piece after one that ends at `previous_stop`."""
        fade_start = previous_stop - (self.overlap + self.fade) // 2
        return fade_start, fade_start + self.fade

    def place(self, length: int) -> list[Piece]:
        """Pieces that cover [0, length), in order.

        Args:
            length: Of the axis, at least 1.
        """
        pieces = [Piece(0, min(self.size, length), 0, 0)]
        while (stop := pieces[-1].stop) < length:
            start = min(len(pieces) * self.stride, length - self.size)
            pieces.append(Piece(start, start + self.size, *self.takeover(stop)))
        return pieces


def crossfade(old: Levels, new: Levels, share: int | npt.NDArray[np.uint32], of: int) -> Levels:
    """`old + (new - old) * share / of` in integers, rounded to nearest; equal pictures stay equal.

    Args:
        old: uint8, or uint16 where `of` is at most 2**16.
        new: Likewise, of the same shape.
        share: The new picture's share, in [0, of]; an array is broadcast.
        of: At most 2**24.
    """
    # The dtype is spelled out: NumPy before 2 would compute with a scalar in uint8.
    mixed = np.multiply(old, of - share, dtype=np.uint32, casting="unsafe")
    mixed += np.multiply(new, share, dtype=np.uint32, casting="unsafe")
    mixed += np.uint32(of // 2)
    mixed //= np.uint32(of)
    return mixed.astype(new.dtype)
