"""Banding: how much of a smooth slope is climbed in steps that one sees.

CAMBI looks at a picture alone and takes steps of two levels and more for edges of what is shown.
Here a reference says what is smooth, so steps of any height are told from edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .planes import same_shape

FLAT_PX = 3
"""On each side of a step the picture is even for so long: noise and texture are not."""

LEAST_STEP = 2
"""Levels: steps of one are those of 8 bits."""

LINES = 4
"""One line of so many is looked at, in both directions."""

LEAST_CLIMB = 100
"""Levels that the lines of a picture climb in all, fewer say nothing."""

CONTOURS_LEAST_PX = 2 * FLAT_PX + 2

_Signed = npt.NDArray[np.int16]


def contour_climb(output: Levels, reference: Levels) -> tuple[int, int]:
    """Sum up the steps of an output where the reference is smooth, and what that climbs there.

    A place is smooth where the reference changes by at most a level from pixel to pixel over
    `2 FLAT_PX + 2` pixels, and a step where the output is even before and after and jumps between
    by `LEAST_STEP` levels or more. All lines of one direction count, then those of the other.

    Args:
        output: (H, W, 3) uint8 RGB.
        reference: The same shape.

    Returns:
        Levels climbed in steps, and levels climbed by the reference: sums add up over pictures.

    Raises:
        ValueError: The shapes differ, or a side is under `CONTOURS_LEAST_PX`.
    """
    same_shape(output, reference)
    if min(output.shape[:2]) < CONTOURS_LEAST_PX:
        raise ValueError(f"{output.shape[1]}x{output.shape[0]} pixels, needs {CONTOURS_LEAST_PX}")
    steps = climb = 0
    for axis in (0, 1):
        lines = [
            np.moveaxis(each, axis, 0)[:, ::LINES].astype(np.int16) for each in (output, reference)
        ]
        found = _along(np.diff(lines[0], axis=0), np.diff(lines[1], axis=0))
        steps, climb = steps + found[0], climb + found[1]
    return steps, climb


def contours(output: Levels, reference: Levels) -> float | None:
    """Share of the reference's smooth slopes that the output climbs in visible steps, in percent.

    From 0, lower is better; a picture rounded to every fourth level has 50 to 85. None where the
    reference has no slope. Arguments and errors are those of `contour_climb`.
    """
    return climb_percent(*contour_climb(output, reference))


def climb_percent(steps: int, climb: int) -> float | None:
    """The share of sums that `contour_climb` gave; None where there is too little to climb."""
    return 100 * steps / climb if climb >= LEAST_CLIMB else None


def _along(change: _Signed, slope: _Signed) -> tuple[int, int]:
    """Both sums along the first axis, of changes from pixel to pixel."""
    places = len(change) - 2 * FLAT_PX

    def window(each: npt.NDArray[np.bool_], begin: int, count: int) -> npt.NDArray[np.bool_]:
        """Whether all of `count` neighbours from `begin` on are so."""
        found: npt.NDArray[np.bool_] = each[begin : begin + places].copy()
        for offset in range(begin + 1, begin + count):
            found &= each[offset : offset + places]
        return found

    middle = slice(FLAT_PX, FLAT_PX + places)
    smooth = window(np.abs(slope) <= 1, 0, 2 * FLAT_PX + 1)
    even = change == 0
    step = np.abs(change[middle])
    stepped = smooth & (step >= LEAST_STEP)
    stepped &= window(even, 0, FLAT_PX)
    stepped &= window(even, FLAT_PX + 1, FLAT_PX)
    return int(step[stepped].sum()), int(np.abs(slope[middle])[smooth].sum())
