"""A verdict speaks of what was measured, and says what was not."""

from __future__ import annotations

from typing import Any

import pytest

from adcvsr.calibration.profile.judgement import HELD, Limits, judge, verdict
from adcvsr.calibration.profile.page_plots import _plot


def row(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "variant": "int8-ort",
        "psnr_db": 45.0,
        "worst_frame_db": 40.0,
        "truth_loss_db": None,
        "flicker_levels": 0.1,
        "drift": None,
        "drifts": None,
        "drift_growth": None,
        "time_ratio": 0.6,
        "time_ratio_high": 0.7,
    }
    return {**values, **changes}


def lines(*rows: dict[str, Any]) -> str:
    judged = [judge(each, Limits(), None) for each in rows]
    return " ".join(verdict("fp32-onnx", judged, Limits(), "wall")["lines"])


MEASURED = {"truth_loss_db": 0.0, "drift": {"growth": 0.0}, "drifts": False, "drift_growth": 0.0}


@pytest.mark.parametrize("missing", [name for _, name, _ in HELD])
def test_no_limit_is_claimed_that_was_not_measured(missing: str) -> None:
    word = next(name for name, key, _ in HELD if key == missing)
    whole = lines(row(**MEASURED))
    assert word in whole
    assert "not measured:" not in whole
    said = lines(row(**{**MEASURED, missing: None}))
    held, left = said.split("not measured: ")
    assert word not in held
    assert left.startswith(word)


def test_a_plot_without_figures_is_not_called_zero() -> None:
    assert "all are zero" in _plot("t", {"a": [(0, 0.0), (1, 0.0)]}, {"a": 0}, "x", "y")
    said = _plot("t", {"a": []}, {"a": 0}, "x", "y")
    assert "not measured" in said
    assert "zero" not in said


def test_what_was_not_shipped_is_held_to_the_same() -> None:
    said = lines(row(time_ratio=1.2, time_ratio_high=1.3))
    assert "no other variant was measured to be both good and faster" in said
    assert "takes 120% of the time. int8-ort is within the limits of pictures, flicker; " in said
    assert "not measured: distance to the truth (--truth measures it), drift" in said
    said = lines(row(time_ratio=None, time_ratio_high=None))
    assert "its time was not measured" in said
    said = lines(row(psnr_db=20.0))
    assert "No to int8-ort: 20.0 dB to the reference (limit 38)" in said
