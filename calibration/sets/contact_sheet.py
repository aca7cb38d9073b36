"""A calibration set as one picture: a row a run, so that a person sees what ranges come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import Levels
from ...pictures.lettering import LETTER_HEIGHT_PX, write_text
from .calibration_set import StoredRun

MOST_COLUMNS = 6
"""Frames shown of a run, evenly spread, the first and the last among them."""

MOST_ROWS = 64
"""The picture of a larger set shows every second, third, ... run."""

GAP_PX = 4
GROUND, INK = 24, 235


def draw_contact_sheet(runs: Sequence[StoredRun]) -> Levels:
    """Draw the runs, (H, W, 3) uint8; frames behind a cut have a bar on their left."""
    step = -(-len(runs) // MOST_ROWS)
    rows = [_draw_row(index, runs[index]) for index in range(0, len(runs), step)]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=GROUND)
        for row in rows
    ]
    return np.concatenate(padded)


def _draw_row(index: int, run: StoredRun) -> Levels:
    frames = run.frames
    shown = sorted({round(at) for at in np.linspace(0, len(frames) - 1, MOST_COLUMNS)})
    height, width = frames.shape[1:3]
    line = LETTER_HEIGHT_PX + 2 * GAP_PX
    row = np.full((line + height + GAP_PX, (width + GAP_PX) * len(shown), 3), GROUND, np.uint8)
    write_text(row, _title(index, run), top=GAP_PX, left=GAP_PX, level=INK)
    for column, at in enumerate(shown):
        left = column * (width + GAP_PX)
        row[line : line + height, left : left + width] = frames[at]
        if run.cut is not None and at >= run.cut:
            row[line : line + height, max(left - GAP_PX, 0) : left] = INK
    return row


def _title(index: int, run: StoredRun) -> str:
    facts = run.facts
    if "joined" in facts:
        return f"{index}: {' | '.join(facts['joined'])}, joined at {run.cut}"
    if "drawn" in facts:
        return f"{index}: drawn graphics"
    traits = ", ".join(f"{name} {value:g}" for name, value in facts["traits"].items())
    cut = "" if run.cut is None else f", cut at {run.cut}"
    return f"{index}: {facts['clip']} from {facts['first_frame']}{cut}, {traits}"
