"""A picture to judge figures by: of every clip the crop where a bundle is furthest from the truth.

One row a clip: the input's pixels, every method, the truth, each with its PSNR-Y in the crop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from ...arrays import Levels
from ...config import SCALE
from ...files import replace_file
from ...metrics import luma, psnr_y
from ...pictures.clips import write_png
from ...pictures.lettering import LETTER_HEIGHT_PX, write_text

CROP_PX = 128
"""Side of a crop in the truth; a smaller picture is shown whole."""

BLOCK_PX = 32
"""Crops start at multiples of it, which keeps the input's pixels whole."""

ZOOM = 2
MOST_ROWS = 24
"""Of more files those with the largest error; the picture stays near 7,000 pixels high."""

TEXT_SCALE = 2
GAP_PX = 8
GROUND, INK = 24, 235


@dataclass(frozen=True)
class _Row:
    """The worst crop of one file."""

    error: float
    """Mean squared error of the judged method's luma in the crop."""

    title: str
    cells: tuple[tuple[str, Levels], ...]
    """Label and picture, (CROP_PX, CROP_PX, 3) or smaller."""


class Strip:
    """Collects the worst crop of every file, one frame at a time.

    Args:
        judged: Method whose error decides.
        shown: Methods in the picture, in order, between the input and the truth.
        scale: Truth over input.
        instead: Where there is no truth, what stands in its place; then crops have no PSNR, and the
            one shown is where most was changed.
    """

    def __init__(
        self, judged: str, shown: Sequence[str], scale: int = SCALE, *, instead: str | None = None
    ) -> None:
        self._scale, self._instead = scale, instead
        self.judged, self.shown = judged, tuple(shown)
        self._rows: dict[Path, _Row] = {}

    def show(
        self,
        file: Path,
        frame: str,
        low: Levels,
        outputs: Mapping[str, Levels],
        truth: Levels,
    ) -> None:
        """Look at the next frame of a file: its input, what became of it, and the truth.

        Args:
            file: Has one row, that of its worst crop.
            frame: Which one it is, for the row's title.
            low: The input.
            outputs: By method.
            truth: Of the frame.
        """
        error, top, left = worst_crop(outputs[self.judged], truth)
        if file in self._rows and error <= self._rows[file].error:
            return

        def cut(image: Levels, scale: int = 1) -> Levels:
            y, x, side = top // scale, left // scale, CROP_PX // scale
            crop: Levels = image[y : y + side, x : x + side].copy()
            return crop

        small = cut(low, self._scale)
        cells = [("input", small.repeat(self._scale, axis=0).repeat(self._scale, axis=1))]
        for name in self.shown:
            crop = cut(outputs[name])
            figure = "" if self._instead else f" {psnr_y(crop, cut(truth)):.1f} dB"
            cells.append((name + figure, crop))
        cells.append((self._instead or "truth", cut(truth)))
        title = f"{file.name}, {frame}, at {left},{top}"
        self._rows[file] = _Row(error, title, tuple(cells))

    def forget(self, file: Path) -> None:
        """Leave a file out that could not be read to its end."""
        self._rows.pop(file, None)

    @property
    def left_out(self) -> int:
        """Files of which the picture has no row."""
        return max(len(self._rows) - MOST_ROWS, 0)

    def picture(self) -> Levels:
        """Lay the rows out, (H, W, 3): in the order of files, at most `MOST_ROWS`, the worst."""
        worst = sorted(self._rows, key=lambda file: -self._rows[file].error)[:MOST_ROWS]
        rows = [_draw_row(row) for file, row in self._rows.items() if file in worst]
        width = max(row.shape[1] for row in rows)
        return np.concatenate([_widen(row, width) for row in rows])

    def write(self, path: Path) -> None:
        """Write the picture as PNG; it appears under its name only when it is complete.

        Raises:
            OutputNotWritableError: It cannot be written.
        """
        picture = self.picture()
        replace_file(path, lambda part: write_png(part, picture), also=(av.FFmpegError,))


def worst_crop(output: Levels, truth: Levels) -> tuple[float, int, int]:
    """Find where an output is furthest from the truth.

    Args:
        output: (H, W, 3).
        truth: (H, W, 3).

    Returns:
        Mean squared error of luma in the worst crop, and the crop's top and left.
    """
    error = np.square(luma(output) - luma(truth))
    for axis in (0, 1):
        error = _window_means(error, axis)
    top, left = np.unravel_index(int(error.argmax()), error.shape)
    return float(error[top, left]), int(top) * BLOCK_PX, int(left) * BLOCK_PX


def _window_means(error: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Means of windows of CROP_PX along an axis at every multiple of BLOCK_PX that fits."""
    extent = error.shape[axis]
    starts = range(0, max(extent - CROP_PX, 0) + 1, BLOCK_PX)
    windows = [
        error.take(range(start, min(start + CROP_PX, extent)), axis).mean(axis) for start in starts
    ]
    return np.stack(windows, axis)


def _draw_row(row: _Row) -> Levels:
    """A title above the labelled cells."""
    line = LETTER_HEIGHT_PX * TEXT_SCALE + GAP_PX
    sides = [(crop.shape[0] * ZOOM, crop.shape[1] * ZOOM) for _, crop in row.cells]
    cell_width = max(width for _, width in sides) + GAP_PX
    height = 2 * line + max(height for height, _ in sides) + 2 * GAP_PX
    picture = np.full((height, GAP_PX + cell_width * len(sides), 3), GROUND, np.uint8)
    write_text(picture, row.title, top=GAP_PX, left=GAP_PX, scale=TEXT_SCALE, level=INK)
    for index, ((label, crop), (tall, wide)) in enumerate(zip(row.cells, sides, strict=True)):
        left = GAP_PX + index * cell_width
        column = picture[:, left : left + cell_width - GAP_PX]
        write_text(column, label, top=GAP_PX + line, left=0, scale=TEXT_SCALE, level=INK)
        below = GAP_PX + 2 * line
        column[below : below + tall, :wide] = crop.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    return picture


def _widen(row: Levels, width: int) -> Levels:
    return np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=GROUND)
