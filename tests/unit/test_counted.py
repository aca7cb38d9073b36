"""Counts in messages: the word of one is for one alone."""

from __future__ import annotations

import pytest

from adcvsr.cli._say import pixels_line
from adcvsr.counted import counted
from adcvsr.runtime.upscale_report import damage_notes


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 frames"), (1, "1 frame"), (2, "2 frames"), (11, "11 frames")]
)
def test_one_is_no_plural(count: int, told: str) -> None:
    assert counted(count, "frame") == told


def test_a_verb_goes_with_its_count() -> None:
    assert damage_notes(0, 0) == []
    assert damage_notes(1, 1) == [
        "1 damaged packet was skipped",
        "1 frame is damaged and was kept as decoded",
    ]
    assert damage_notes(2, 3) == [
        "2 damaged packets were skipped",
        "3 frames are damaged and were kept as decoded",
    ]


def test_the_line_of_pixels_counts_what_the_gpu_costs() -> None:
    way = "frames are YUV 4:2:0 from the decoder to the encoder"
    assert pixels_line("yuv", "", (1, 0), None) == f"{way} (1 copy in, 0 copies out)"
    gpu = f"{way} (1 copy in, 2 copies out, 2 more to the GPU, 2 back)"
    assert pixels_line("yuv", "", (1, 2), (2, 2)) == gpu
    assert pixels_line("yuv", "", (None, None), None) == way
