"""Real clips, which have no truth, and the middle of those that have one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from adcvsr.calibration.evaluate.evaluate import evaluate
from adcvsr.calibration.evaluate.methods import Method, baselines, frame_by_frame
from adcvsr.calibration.evaluate.truth import TruthOptions, read_pairs
from adcvsr.cli.commands import cli
from adcvsr.metrics import UsableMetrics, resize_bicubic, usable_without_truth
from adcvsr.metrics.catalogue import Metric
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    still = draw_clip(1, 72, 88).astype(np.float32)
    noisy = still + rng.normal(0, 6, (5, 72, 88, 1))
    path = tmp_path / "real.mkv"
    write_clip(path, noisy.clip(0, 255).astype(np.uint8))
    return path


def calm(low: np.ndarray) -> np.ndarray:
    """An upscaler that removes what is fine in the input."""
    soft = resize_bicubic(low, low.shape[0] // 2, low.shape[1] // 2)
    return resize_bicubic(soft, low.shape[0] * 4, low.shape[1] * 4)


def test_a_clip_is_its_own_input_and_bicubic_what_it_is_held_against(clip: Path) -> None:
    methods = [*baselines(), Method("calm", frame_by_frame(calm))]
    mean = Metric(name="mean", title="mean", digits=1, higher_is_better=True)
    given = {"mean": lambda output, truth: float(output.mean())}
    metrics = usable_without_truth("default")
    brought = UsableMetrics((*metrics.metrics, mean), given=given)
    (scores,) = evaluate(methods, [clip], brought, options=TruthOptions(no_reference=True)).clips
    assert scores.size == (352, 288)
    assert scores.frames == 5
    bicubic, soft = scores.figures["bicubic"], scores.figures["calm"]
    assert bicubic["delta_e"] == 0
    for name in ("sharpness", "noise", "flicker"):
        assert soft[name] < 0.9 * bicubic[name]  # type: ignore[operator]
    assert bicubic["blockiness"] == pytest.approx(1, abs=0.3)
    assert bicubic["mean"] == pytest.approx(soft["mean"], abs=1)


def test_the_middle_begins_at_the_codecs_grid(clip: Path) -> None:
    options = TruthOptions(no_reference=True, centre_px=160, frames=2)
    for truth, low in read_pairs(clip, options):
        assert low.shape == (40, 40, 3)
        assert np.array_equal(truth, resize_bicubic(low, 160, 160))
    whole = next(iter(read_pairs(clip, TruthOptions(no_reference=True))))[1]
    assert np.array_equal(low, whole[16:56, 24:64]) or low.shape == (40, 40, 3)
    _, first = next(iter(read_pairs(clip, options)))
    assert np.array_equal(first, whole[16:56, 24:64])
    truth, low = next(iter(read_pairs(clip, TruthOptions(centre_px=48))))
    assert truth.shape == (48, 48, 3)
    assert low.shape == (12, 12, 3)


def test_the_command_says_what_needs_a_truth(clip: Path, tmp_path: Path) -> None:
    command = ["evaluate", str(clip), "--no-reference", "--frames", "2", "--model", "nano"]
    done = CliRunner().invoke(
        cli, [*command, "--centre", "128", "--json", "--strip", str(tmp_path / "strip.png")]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["protocol"] == {
        "frames": 2,
        "no_reference": True,
        "centre_px": 128,
        "border_px": 0,
    }
    assert set(report["mean"]["nano"]) == {
        *("sharpness", "blockiness", "noise", "flicker", "delta_e")
    }
    assert (tmp_path / "strip.png").stat().st_size > 1000
    wrong = CliRunner().invoke(cli, [*command, "--degradation", "web"])
    assert wrong.exit_code == 2
    assert "takes PATHS as inputs" in wrong.stderr
