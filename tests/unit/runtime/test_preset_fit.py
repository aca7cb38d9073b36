"""`--preset auto`: as slow as real time allows on this machine, and a line that says so."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from adcvsr.errors import ConfigError
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.live_run import LiveRun
from adcvsr.runtime.upscaler import Upscaler
from adcvsr.runtime.video import preset_fit
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.preset_fit import PRESET_MS, fit_preset
from video_facts import VideoMaker

AUTO = EncodeOptions(preset="auto")
HD = (1280, 720)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As fast as that of the table, with as many processors as a test says."""

    def make(cores: int, slower: float = 1.0) -> None:
        monkeypatch.setattr(preset_fit, "usable_processors", lambda: cores)
        monkeypatch.setattr(preset_fit, "reference_ms", lambda: preset_fit.REFERENCE_MS * slower)

    make(2)
    return make


def fitted(size: tuple[int, int] = HD, rate: int = 30, encoder: str = "libx264") -> Any:
    notes: list[str] = []
    options = fit_preset(encoder, AUTO, size, Fraction(rate), notes.append)
    assert len(notes) == 1
    return options.preset, notes[0]


@pytest.mark.parametrize("encoder", PRESET_MS)
def test_costs_rise_from_preset_to_preset(encoder: str) -> None:
    costs = list(PRESET_MS[encoder].values())
    assert costs == sorted(costs)


def test_the_slowest_that_fits(machine: Any) -> None:
    """33 CPU-ms a frame of 2 processors at 30 fps are the encoder's, and faster takes 34."""
    preset, line = fitted()
    assert preset == "veryfast"
    assert line == (
        "preset veryfast: about 21 CPU-ms a frame of 1280x720, of 33 that 30 fps leave an encoder "
        "on 2 processors"
    )
    assert fitted(rate=25)[0] == "faster"
    assert fitted(rate=60)[0] == "superfast"
    machine(16)
    assert fitted()[0] == list(PRESET_MS["libx264"])[-1]
    machine(2, slower=2.0)
    assert fitted()[0] == "superfast"
    machine(1)
    preset, line = fitted((7680, 4320), 60)
    assert preset == "ultrafast"
    assert "more than the 8 that 60 fps leave" in line


def test_other_encoders_have_tables_of_their_own() -> None:
    assert fitted(encoder="libsvtav1")[0] == "9"
    assert fitted((640, 360), 25, encoder="libx265")[0] == "fast"


def test_a_preset_that_is_named_stays() -> None:
    options = EncodeOptions(preset="slow")
    assert fit_preset("libx264", options, HD, Fraction(30), pytest.fail) is options
    with pytest.raises(ConfigError, match="preset auto knows libx264"):
        fit_preset("h264_nvenc", AUTO, HD, Fraction(30), pytest.fail)


def test_files_and_streams_take_it(make_video: VideoMaker, tmp_path: Path) -> None:
    with Upscaler("nano", threads=1) as upscaler:
        report = upscaler.upscale_file(make_video(), tmp_path / "out.mp4", options=AUTO)
        assert any(note.startswith("preset slow: about ") for note in report.notes)
        run = LiveRun(
            upscaler,
            "test://?size=160x90&fps=30&frames=3",
            str(tmp_path / "live.mp4"),
            LiveOptions(policy="every"),
            encode=AUTO,
        )
        assert any(note.startswith("preset slow: about ") for note in run.run().notes)


MEASURE = preset_fit.reference_ms
"""As it is where no test stands in for it."""


def test_this_machine_is_measured() -> None:
    took = MEASURE()
    assert 1 < took < 3000
    assert MEASURE() == took
