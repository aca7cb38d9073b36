"""A time written into the picture, so that whoever sees the picture knows how old it is.

Two rows of 24 dark or bright cells along the upper edge hold milliseconds (32 bits) and a CRC
(16 bits). Cells are placed by shares of the width and height, so the code is read at any scale; a
cell is judged by its middle, so blur and codec do little. What is misread fails the CRC.

    write_time(rgb, wall_ms())
    age_ms = age_of(read_time(rgb), wall_ms())
"""

from __future__ import annotations

import binascii
import time

import numpy as np

from ...arrays import Levels

COLUMNS, ROWS = 24, 2
"""Cells across and down: 48 bits."""

ROW_SHARE = 32
"""A row of cells is a 32nd of the picture's height."""

MIN_WIDTH_PX, MIN_HEIGHT_PX = 2 * COLUMNS, 2 * ROW_SHARE
"""Two pixels a cell each way; smaller ones drown in a codec."""

BLACK, WHITE = 88, 168
"""Levels of the cells: far enough apart for any codec, too near for the flicker of the code to be
taken for a scene cut."""

MIN_CONTRAST = 40
"""Levels between the darkest and the brightest cell; less is a picture without a code."""

WRAP_MS = 1 << 32
"""The time starts over after 49 days."""


def wall_ms() -> int:
    """Milliseconds of the wall clock as they are coded; machines must agree on it (NTP, PTP)."""
    return time.time_ns() // 1_000_000 % WRAP_MS


def write_time(picture: Levels, time_ms: int) -> None:
    """Write a time along the upper edge.

    Args:
        picture: (H, W, 3) uint8, changed in place; at least `MIN_WIDTH_PX` x `MIN_HEIGHT_PX`.
        time_ms: In [0, `WRAP_MS`).
    """
    payload = time_ms.to_bytes(4, "big")
    payload += binascii.crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
    bits = np.unpackbits(np.frombuffer(payload, np.uint8)).reshape(ROWS, COLUMNS)
    height, width = picture.shape[:2]
    # A pixel belongs to the cell its centre lies in.
    columns = (2 * np.arange(width) + 1) * COLUMNS // (2 * width)
    rows = (2 * np.arange(height) + 1) * ROW_SHARE // (2 * height)
    rows = rows[rows < ROWS]
    cells = np.where(bits, WHITE, BLACK).astype(np.uint8)
    picture[: len(rows)] = cells[rows][:, columns, None]


def read_time(picture: Levels) -> int | None:
    """Read the time in a picture, or None where none can be read.

    Args:
        picture: (H, W, 3) uint8, of any size.
    """
    height, width = picture.shape[:2]
    if width < MIN_WIDTH_PX or height < MIN_HEIGHT_PX:
        return None
    means = np.empty((ROWS, COLUMNS), np.float32)
    for row in range(ROWS):
        top, bottom = _middle(row, height / ROW_SHARE)
        for column in range(COLUMNS):
            left, right = _middle(column, width / COLUMNS)
            means[row, column] = picture[top:bottom, left:right].mean()
    low, high = float(means.min()), float(means.max())
    if high - low < MIN_CONTRAST:
        return None
    payload = np.packbits(means > (low + high) / 2).tobytes()
    if binascii.crc_hqx(payload[:4], 0xFFFF) != int.from_bytes(payload[4:], "big"):
        return None
    return int.from_bytes(payload[:4], "big")


def age_of(coded_ms: int, now_ms: int) -> int:
    """Milliseconds since a coded time, across the wrap; negative where clocks disagree."""
    return (now_ms - coded_ms + WRAP_MS // 2) % WRAP_MS - WRAP_MS // 2


def _middle(index: int, size: float) -> tuple[int, int]:
    """Pixels of the middle half of a cell, at least one."""
    start = int((index + 0.25) * size)
    return start, max(int((index + 0.75) * size), start + 1)
