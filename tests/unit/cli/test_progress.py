"""Progress in logs."""

from __future__ import annotations

import pytest

from adcvsr.cli._progress import training_progress
from adcvsr.train.run_state import RunState


def test_log_lines_say_how_long_it_takes(capfd: pytest.CaptureFixture[str]) -> None:
    with training_progress("distill") as progress:
        progress(RunState(step=100, seconds=600), 0.5, 0.25)
        progress(RunState(step=101, seconds=601), 0.5, 0.2525)
        progress(RunState(step=150, seconds=900), 0.5, 0.375)
    assert capfd.readouterr().err.splitlines() == [
        "distill: step 100, loss 0.50000, 25.0% done, 10.0 min",
        "distill: step 150, loss 0.50000, 37.5% done, 15.0 min, 25 min left",
    ]
