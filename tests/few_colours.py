"""Adopting holds three flat colours in tests instead of 749, which take seconds."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.export.adopt import adopt as adopting
from adcvsr.runtime.proof.colours import ColourRequest


def few(kind: str, multiple: int, *, scale: int) -> ColourRequest:
    """Three colours show what is stored."""
    colours = np.array([(0, 0, 0), (255, 255, 255), (90, 200, 30)], np.uint8)
    return ColourRequest(32, 48, colours, clips=False, scale=scale)


@pytest.fixture
def few_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for these."""
    monkeypatch.setattr(adopting, "request_for", few)
