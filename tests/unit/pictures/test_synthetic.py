"""The drawn clip: working in parts of the picture changes no pixel of it."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.pictures import synthetic


@pytest.mark.parametrize("size", [(1, 1), (24, 32), (96, 33), (54, 180), (20, 240)])
def test_each_part_holds_all_that_is_drawn_there(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    frames = 120  # 5 seconds: what drifts leaves the picture, the star turns past its tips
    parts = synthetic.draw_clip(frames, *size)
    monkeypatch.setattr(synthetic, "_part", lambda colour, x, y, *_: (colour, x, y))
    assert np.array_equal(parts, synthetic.draw_clip(frames, *size))
    assert parts.shape == (frames, *size, 3)


def test_things_move() -> None:
    first, later = synthetic.draw_clip(26, 54, 96)[[0, 25]].astype(int)
    for rows in (slice(4, 30), slice(38, 40), slice(44, 54)):  # rings and star, stripes, checks
        assert np.abs(later - first)[rows].mean() > 5
