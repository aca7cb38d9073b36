"""Spatial tiles: frames larger than memory allows, in overlapping pieces of one size.

A network without norms and attention sees only so far: its tiles share twice that distance and are
cut in the middle, where both are what the whole frame would give. A network with GroupNorm or
attention sees all of its input: its tiles differ, and are crossfaded.

    layout = Tiling(side=256, multiple=2, radius=22).layout(1080, 1920)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Levels
from ...errors import ConfigError
from ...pictures.spacing import Piece, Spacing, crossfade

BLEND_PART = 8
"""Blended tiles share their side divided by this with each neighbour: with it no seam could be
measured any more, and a wider overlap changed nothing (docs/decisions.md)."""


@dataclass(frozen=True)
class TileLayout:
    """Where the tiles of one frame stand; in order of rows, then columns."""

    rows: list[Piece]
    """Heights, in input pixels."""

    columns: list[Piece]
    """Widths, in input pixels."""

    radius: int | None
    """Input pixels the network sees to each side; None for a network that sees the whole frame."""

    overlap: int
    """Input pixels neighbours share."""

    @property
    def count(self) -> int:
        """Tiles of a frame; each has a slot of carried state."""
        return len(self.rows) * len(self.columns)

    @property
    def height(self) -> int:
        """Of every tile, in input pixels."""
        return self.rows[0].stop - self.rows[0].start

    @property
    def width(self) -> int:
        """Of every tile, in input pixels."""
        return self.columns[0].stop - self.columns[0].start

    def __iter__(self) -> Iterator[tuple[Piece, Piece]]:
        """Rows and columns of each tile."""
        return ((row, column) for row in self.rows for column in self.columns)

    @property
    def exact(self) -> bool:
        """Whether the tiled result is the whole frame's."""
        return self.count == 1 or self.radius is not None

    @property
    def work(self) -> float:
        """Pixels the network is given over pixels of the frame."""
        return self.count * self.height * self.width / (self.rows[-1].stop * self.columns[-1].stop)

    def facts(self) -> dict[str, Any]:
        """JSON-ready values for reports."""
        return {
            "count": self.count,
            "width": self.width,
            "height": self.height,
            "overlap": self.overlap,
            "exact": self.exact,
            "work": round(self.work, 2),
        }

    def describe(self) -> str:
        """One line for the user."""
        size = f"{self.count} of {self.width}x{self.height} pixels sharing {self.overlap}"
        work = f"{self.work:.2f} times the whole frame's work"
        if self.exact:
            return f"exact tiles: {size}, {work}"
        return (
            f"blended tiles: {size}, {work}; the network sees its whole input, so tiles differ "
            "from the whole frame (docs/windows-and-tiles.md)"
        )


@dataclass(frozen=True)
class Tiling:
    """How frames of a network are tiled."""

    side: int | None
    """Largest side of a tile in input pixels, margins included; None for whole frames."""

    multiple: int
    """The network's size multiple; tiles start and end at multiples of it."""

    radius: int | None
    """The network's `spatial_radius`."""

    def __post_init__(self) -> None:
        """Refuse tiles that are all margin.

        Raises:
            ConfigError: The side is too small; the message says how large it must be.
        """
        if self.side is None or self.side >= self._least_side:
            return
        reach = (
            "its whole input, and blended tiles need an overlap"
            if self.radius is None
            else f"{self.radius} pixels around each position"
        )
        raise ConfigError(
            f"tiles of {self.side} pixels; this network sees {reach}: tiles need at least "
            f"{self._least_side} pixels, and several times as much to be worth their while"
        )

    @property
    def _least_side(self) -> int:
        if self.radius is None:
            return BLEND_PART * self.multiple
        return self._margins + self.multiple

    @property
    def _margins(self) -> int:
        """Twice the radius, so that a cut in the middle of the overlap is exact."""
        assert self.radius is not None
        return -(-2 * self.radius // self.multiple) * self.multiple

    def layout(self, height: int, width: int) -> TileLayout:
        """Place tiles on a frame; every tile is as large as every other.

        A frame that is shorter than a tile in one direction is tiled in the other alone.

        Args:
            height: Of the frame, padded to the multiple.
            width: Likewise.
        """
        if self.side is None:
            return TileLayout([Piece(0, height, 0, 0)], [Piece(0, width, 0, 0)], self.radius, 0)
        side = self.side // self.multiple * self.multiple
        if self.radius is None:
            overlap = fade = side // BLEND_PART // self.multiple * self.multiple
        else:
            overlap, fade = self._margins, 0
        spacing = Spacing(side, overlap, fade)
        return TileLayout(spacing.place(height), spacing.place(width), self.radius, overlap)


class Canvas:
    """An upscaled picture put together from its tiles.

    Args:
        layout: Of the tiles.
        scale: Of the network.
        kind: Of the tiles' levels, uint8 or uint16.
    """

    def __init__(self, layout: TileLayout, scale: int, kind: npt.DTypeLike = np.uint8) -> None:
        self._scale = scale
        self._last_column = layout.columns[-1]
        height, width = (axis[-1].stop * scale for axis in (layout.rows, layout.columns))
        ramp = max(row.fade_stop - row.fade_start for row in layout.rows) * scale
        self._ramp = np.empty((ramp, width, 3), kind)  # a row of tiles where it is faded in
        self.picture: Levels = np.empty((height, width, 3), kind)
        """(sH, sW, 3); complete when every tile was put."""

    def put(self, row: Piece, column: Piece, tile: Levels) -> None:
        """Put the next tile; they must come in the layout's order.

        Args:
            row: Where it stands.
            column: Where it stands.
            tile: (scale * tile height, scale * tile width, 3).
        """
        start, stop, begin, full = self._edges(row)
        self._fade_in(self.picture[full:stop], tile[full - start :], column)
        if begin < full:
            self._fade_in(self._ramp, tile[begin - start : full - start], column)
            if column is self._last_column:
                shares, of = _ramp_shares(full - begin)
                above = self.picture[begin:full]
                above[:] = crossfade(above, self._ramp, shares[:, None, None], of)

    def _fade_in(self, target: Levels, tile: Levels, column: Piece) -> None:
        """Let rows of a tile take over from the tile on their left."""
        start, stop, begin, full = self._edges(column)
        target[:, full:stop] = tile[:, full - start :]
        if begin < full:
            shares, of = _ramp_shares(full - begin)
            left = target[:, begin:full]
            left[:] = crossfade(left, tile[:, begin - start : full - start], shares[:, None], of)

    def _edges(self, piece: Piece) -> tuple[int, int, int, int]:
        """Start, stop, fade start and fade stop in pixels of the upscaled picture."""
        edges = (piece.start, piece.stop, piece.fade_start, piece.fade_stop)
        start, stop, begin, full = (edge * self._scale for edge in edges)
        return start, stop, begin, full


def _ramp_shares(width: int) -> tuple[npt.NDArray[np.uint32], int]:
    """The new tile's share at each pixel of a linear ramp, and what it is a share of."""
    return np.arange(1, width + 1, dtype=np.uint32), width + 1
