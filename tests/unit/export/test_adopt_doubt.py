"""A range that the picture cannot tell from another is said, and one that was given is not."""

from __future__ import annotations

from adcvsr.export.adopt.facts import Facts


def facts(**distances: float) -> Facts:
    tried = {f"{name.replace('_', '-')} RGB": value for name, value in distances.items()}
    return Facts(2, 1, "0-255", "RGB", "NCHW", 2.8, tried | {"0-255 RGB": 2.8})


def test_a_tie_is_told() -> None:
    said = facts(**{"0_1": 2.81, "-1_1": 9.0}).doubt() or ""
    assert "does not tell the range 0-255, which was taken, from 0-1: give --range" in said


def test_a_range_that_is_found_or_said_is_not() -> None:
    assert facts(**{"0_1": 3.4}).doubt() is None
    assert facts().doubt() is None
