"""A camera that shows something else than what was proven is told of once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import av
import numpy as np

from adcvsr.arrays import Levels
from adcvsr.pictures.content import covered_classes, estimate_compression, outside
from adcvsr.pictures.scene_cuts import small_luma
from adcvsr.runtime.live.accounting import Accounting, prometheus_text
from adcvsr.runtime.live.content_watch import ContentWatch

PROVEN = {
    "luminance": {"edges": [50.0, 85.0, 120.0, 155.0], "runs": [0, 2, 10, 8, 0]},
    "motion": {"edges": [0.5, 2.0, 6.0], "runs": [5, 10, 5, 4]},
    "noise": {"edges": [0.6, 1.2, 2.5], "runs": [19, 1, 0, 0]},
    "cold_frames": 30,
    "cuts": 0,
}


def variant(**facts: Any) -> Any:
    return SimpleNamespace(id="int8-ort", facts=facts)


def frame(level: float, noise: float, seed: int) -> Levels:
    values = level + noise * np.random.default_rng(seed).standard_normal((90, 160, 1))
    return np.repeat(values.clip(0, 255), 3, axis=2).astype(np.uint8)


def look(watch: ContentWatch, level: float, noise: float, frames: int, start: int = 0) -> None:
    """Ten frames a second."""
    for index in range(start, start + frames):
        picture = frame(level, noise, index)
        small = small_luma(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        watch.look(picture, lambda small=small: small, CALIBRATED, index / 10)  # type: ignore[misc]


CALIBRATED = variant(calibration={"coverage": PROVEN})


def test_leaving_the_class_is_said_once() -> None:
    notes: list[str] = []
    watch = ContentWatch(notes.append)
    look(watch, 110, 0.3, 80)
    assert (watch.outside, notes) == ({}, [])
    look(watch, 110, 12, 160, start=80)
    assert watch.outside == {"noise": "above"}
    assert len(notes) == 1
    assert "not of the kind int8-ort was proven on: it is noisier" in notes[0]
    assert "its calibration set ends at 1.2" in notes[0]
    look(watch, 110, 0.3, 160, start=240)
    assert watch.outside == {}
    look(watch, 110, 12, 160, start=400)
    assert watch.outside == {"noise": "above"}
    assert len(notes) == 1


def test_the_metric_tells_what_is_outside_now() -> None:
    watch = ContentWatch(print)
    look(watch, 230, 0.3, 80)
    record = {
        **dict.fromkeys(("captured", "presented", "reconnects", "fps", "rss_bytes"), 0),
        "drops": {},
        "resets": {},
        "device": {},
        "cpu_seconds": 0,
        **dict.fromkeys(("model", "variant", "backend"), "x"),
        "content": watch.to_json(),
    }
    text = prometheus_text([record], [Accounting()])
    assert 'adcvsr_content_outside{trait="luminance"} 1' in text
    assert 'adcvsr_content_outside{trait="noise"} 0' in text


def test_a_statement_comes_before_the_calibration_set() -> None:
    notes: list[str] = []
    watch = ContentWatch(notes.append)
    wide = {**PROVEN, "noise": {"edges": [0.6, 1.2, 2.5], "runs": [1, 1, 1, 1]}}
    stated = variant(calibration={"coverage": PROVEN}, statement={"content": wide})
    for index in range(100):
        picture = frame(110, 12, index)
        small = small_luma(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        watch.look(picture, lambda small=small: small, stated, index / 10)  # type: ignore[misc]
    assert notes == []
    assert watch.traits["noise"] > 2.5


def test_cuts_in_a_set_without_are_said_and_nothing_without_a_set() -> None:
    notes: list[str] = []
    watch = ContentWatch(notes.append)
    watch.cut(CALIBRATED)
    watch.cut(CALIBRATED)
    assert len(notes) == 1
    assert "it is cut, and its calibration set has no cut" in notes[0]
    watch = ContentWatch(notes.append)
    unknown = variant()
    watch.cut(unknown)
    watch.look(frame(230, 0, 0), lambda: np.zeros((36, 64), np.float32), unknown, 0.0)
    assert watch.to_json() == {"traits": {}, "outside": {}}
    assert len(notes) == 1


def test_classes_have_a_margin() -> None:
    covered = covered_classes(PROVEN)
    assert set(covered) == {"luminance", "motion", "noise"}
    assert outside(1.3, covered["noise"]) is None  # its border is 1.2
    assert outside(1.4, covered["noise"]) == "above"
    assert outside(0.0, covered["noise"]) is None
    assert outside(40.0, covered["luminance"]) == "below"


def test_blocks_of_a_codec_are_seen() -> None:
    smooth = np.random.default_rng(0).normal(100, 5, (96, 128)).astype(np.float32)
    blocks = np.kron(np.random.default_rng(1).normal(0, 12, (12, 16)), np.ones((8, 8)))
    assert estimate_compression(smooth) < 0.15
    assert estimate_compression((smooth + blocks).astype(np.float32)) > 0.5
    assert estimate_compression(np.zeros((4, 4), np.float32)) == 0
