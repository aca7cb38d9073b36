"""Progress in logs."""

from __future__ import annotations

import io
import itertools

import pytest

from adcvsr.cli import _progress
from adcvsr.cli._progress import (
    build_progress,
    count_progress,
    files_progress,
    frame_progress,
    training_progress,
)
from adcvsr.train.run_state import RunState


def test_log_lines_say_how_long_it_takes(capfd: pytest.CaptureFixture[str]) -> None:
    with training_progress("distill") as progress:
        progress(RunState(step=100, seconds=600), 0.5, 0.25)
        progress(RunState(step=101, seconds=601), 0.5, 0.2525)
        progress(RunState(step=150, seconds=900), 0.5, 0.375)
        progress(RunState(step=400, seconds=1800), 0.5, 1.853)  # a slow step passed the time limit
    assert capfd.readouterr().err.splitlines() == [
        "distill: step 100, loss 0.50000, 25.0% done, 10.0 min",
        "distill: step 150, loss 0.50000, 37.5% done, 15.0 min, 25 min left",
        "distill: step 400, loss 0.50000, 100.0% done, 30.0 min",
    ]


def test_counted_things_have_a_line_a_minute(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.chain([0.0, 30.0, 90.0, 100.0, 120.0])
    monkeypatch.setattr(_progress.time, "monotonic", lambda: next(clock))
    with count_progress("cache", log=True) as count:
        for done in (1, 3, 4, 6):
            count(done, 6, "")
    assert capfd.readouterr().err.splitlines() == [
        "cache: 3 of 6, 30.0 s each, 2 min left",
        "cache: 6 of 6, 20.0 s each, 0 min left",
    ]


def test_every_bar_shows_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal: the label, the share or count, the command's own texts, the time left."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(_progress, "shows_progress", lambda: True)
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with frame_progress("clip[b].mp4") as frames:
        assert frames is not None
        frames(3, 10)
    with files_progress(2) as files:
        update = files(1, "b.mp4")
        assert update is not None
        update(4, 8)
    with build_progress("nano") as build:
        assert build is not None
        build(0.25, "timing kernels")
    with training_progress("distill") as train:
        train(RunState(step=1234, seconds=5), 0.5, 0.5)
    with count_progress("search") as count:
        count(2, 5, "conv_7")
    shown = terminal.getvalue()
    for text in (
        *("clip[b].mp4", "3/10", "fps", "b.mp4", "4/8", "frames", "timing kernels", "25%"),
        *("step 1,234  loss 0.50000", "50%", "search", "2/5", "conv_7", "left"),
    ):
        assert text in shown, text
