"""Training samples as a picture, to be looked at before a run.

sheet, lines = draw_sheet(pairs, samples=8, epoch=0)
write_sheet(path, sheet)
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from torch import Tensor

from ...arrays import Levels
from ...config import SCALE
from ...errors import OutputNotWritableError
from ...files import replace_file
from ...pictures.clips import write_png
from . import ClipPairs

GAP_PX = 8
BACKGROUND = 32


def draw_sheet(pairs: ClipPairs, *, samples: int, epoch: int) -> tuple[Levels, list[str]]:
    """Draw samples spread over an epoch, one a row, each of another degraded clip while they last.

    A row shows the first frame of the low-resolution clip, each pixel four times as large, beside
    its truth, then the same of the last frame.

    Args:
        pairs: The samples.
        samples: How many.
        epoch: Whose.

    Returns:
        (H, W, 3) uint8 RGB, and a line a row saying what it shows.
    """
    samples = min(samples, len(pairs))
    rows, lines = [], []
    for row, index in enumerate(_spread(pairs, samples, epoch)):
        pair = pairs.pair(epoch, index)
        cells = [
            cell
            for frame in (0, -1)
            for cell in (_enlarge(pair.low[frame]), _image(pair.high[frame]))
        ]
        rows.append(np.concatenate([_frame(cell) for cell in cells], axis=1))
        lines.append(f"row {row + 1}: sample {index}, {pairs.describe(epoch, index)}, {pair.key}")
    return np.concatenate(rows), lines


def _spread(pairs: ClipPairs, samples: int, epoch: int) -> list[int]:
    """Samples spread over an epoch; the next of an unseen clip where a place would repeat one.

    Equal steps alone may fall on one lane again and again, and so on one clip.
    """
    chosen: list[int] = []
    seen: set[int] = set()
    for row in range(samples):
        first = row * len(pairs) // samples
        near = range(first, min(first + pairs.options.lanes, len(pairs)))
        new = (index for index in near if pairs.clip_of(epoch, index) not in seen)
        index = next(new, first)
        seen.add(pairs.clip_of(epoch, index))
        chosen.append(index)
    return chosen


def write_sheet(path: Path, sheet: Levels) -> None:
    """Write the picture beside its place and move it there.

    Raises:
        OutputNotWritableError: It cannot be written; an earlier picture stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{path}': {error.strerror}") from error
    replace_file(path, lambda part: write_png(part, sheet), also=(av.FFmpegError,))


def _image(planes: Tensor) -> Levels:
    image: Levels = planes.permute(1, 2, 0).numpy()
    return image


def _enlarge(planes: Tensor) -> Levels:
    return _image(planes).repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def _frame(cell: Levels) -> Levels:
    """Put a margin right of and below a cell."""
    return np.pad(cell, ((0, GAP_PX), (0, GAP_PX), (0, 0)), constant_values=BACKGROUND)
