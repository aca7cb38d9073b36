"""Pretraining end to end at a tiny size: it learns, resumes bit for bit, and stops on NaN."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.clips import write_png
from adcvsr.config import PRESETS
from adcvsr.errors import (
    CheckpointError,
    ConfigError,
    OutputExistsError,
    TrainingDivergedError,
)
from adcvsr.model import AdcVsr, load_checkpoint
from adcvsr.synthetic import draw_clip
from adcvsr.train.data import ClipPairs, DataOptions, PairLoader
from adcvsr.train.pretrain import _learning_rate, charbonnier, pretrain
from adcvsr.train.settings import PretrainSettings, read_settings

SETTINGS = PretrainSettings(
    network=dataclasses.replace(PRESETS["nano"], down_blocks=(1,)),
    data=DataOptions(frames=2, patch_px=8, pan_px=2, crops_per_clip=14),
    batch=4,
    max_steps=20,
    warmup_steps=2,
    checkpoint_minutes=1e-9,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for index, image in enumerate(draw_clip(2, 96, 128)):
        write_png(folder / f"{index}.png", image)
    return folder


def run(
    images: Path, output: Path, *, resume: bool = False, stop_at: int = 0, **changes: Any
) -> tuple[Path, list[float]]:
    losses: list[float] = []

    def progress(state: Any, loss: float, done: float) -> None:
        losses.append(loss)
        if stop_at and state.step == stop_at + 1:
            raise KeyboardInterrupt

    settings = dataclasses.replace(SETTINGS, **changes)
    checkpoint = output / "checkpoint.safetensors"
    try:
        checkpoint = pretrain(
            settings,
            output,
            clips=[],
            images=[images],
            resume=resume,
            report=lambda line: None,
            progress=progress,
        )
    except KeyboardInterrupt:
        assert stop_at
    return checkpoint, losses


def test_the_loss_falls(images: Path, tmp_path: Path) -> None:
    """On the same crops: the trained network against the interpolation it started as."""
    path, _ = run(images, tmp_path / "run", max_steps=150, learning_rate=3e-3, ema_decay=0.9)
    trained, _ = load_checkpoint(path)
    start = AdcVsr(SETTINGS.network)
    start.start_as_interpolation()
    pairs = ClipPairs([], [images], SETTINGS.data, SETTINGS.degradation, seed=0, report=print)
    batch = next(PairLoader(pairs, batch=64))
    low, high = (clip.float() / 127.5 - 1 for clip in (batch.low, batch.high))
    with torch.no_grad():
        before, after = (float(charbonnier(net(low)[0], high)) for net in (start, trained))
    assert after < 0.93 * before


def test_resumed_equals_uninterrupted_bit_for_bit(images: Path, tmp_path: Path) -> None:
    """Stopped after step 11's checkpoint, in the middle of the second epoch, then resumed."""
    whole, losses = run(images, tmp_path / "whole")
    _, first = run(images, tmp_path / "parts", stop_at=11)
    parts, second = run(images, tmp_path / "parts", resume=True)
    assert first[:11] + second == losses
    expected, found = (load_checkpoint(path)[0].state_dict() for path in (whole, parts))
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


def test_checkpoint_says_how_it_was_made(images: Path, tmp_path: Path) -> None:
    path, _ = run(images, tmp_path / "run", max_steps=3)
    network, provenance = load_checkpoint(path)
    assert network.config == SETTINGS.network
    assert provenance["steps"] == 3
    assert provenance["recipe"]["stage"] == "pretrain"
    assert provenance["recipe"]["batch"] == 4


def test_minutes_end_the_schedule(images: Path, tmp_path: Path) -> None:
    path, losses = run(images, tmp_path / "run", max_steps=10**6, max_minutes=0.03)
    assert 0 < len(losses) < 10**5
    load_checkpoint(path)


def test_not_a_number_stops_and_keeps_the_last_state(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(images, tmp_path / "run", max_steps=5)
    before = (tmp_path / "run" / "trainer.pt").read_bytes()
    monkeypatch.setattr(
        "adcvsr.train.pretrain.charbonnier", lambda a, b: (a - b).sum() * float("nan")
    )
    with pytest.raises(TrainingDivergedError, match="loss is nan at step 5"):
        run(images, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "trainer.pt").read_bytes() == before


def test_a_run_is_not_overwritten(images: Path, tmp_path: Path) -> None:
    path, _ = run(images, tmp_path / "run", max_steps=2)
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="pass --resume to continue it"):
        run(images, tmp_path / "run", max_steps=3)
    assert path.read_bytes() == before


def test_nothing_to_resume_and_another_network(images: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        run(images, tmp_path / "run", resume=True)
    run(images, tmp_path / "run", max_steps=2)
    with pytest.raises(CheckpointError, match="does not fit this config"):
        run(images, tmp_path / "run", resume=True, network=PRESETS["nano"])


def test_learning_rate_schedule() -> None:
    settings = dataclasses.replace(SETTINGS, learning_rate=1.0, warmup_steps=10)
    assert _learning_rate(settings, 0, 0.0) == pytest.approx(0.1)
    assert _learning_rate(settings, 10, 0.0) == pytest.approx(1.0)
    assert _learning_rate(settings, 99, 0.5) == pytest.approx(0.505)
    assert _learning_rate(settings, 99, 1.0) == pytest.approx(0.01)


class TestSettings:
    def test_shipped_recipes_are_valid(self) -> None:
        assert read_settings("nano").network == PRESETS["nano"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('network = "nano"\nbacth = 3', "unknown key 'bacth', did you mean 'batch'"),
            ('network = "nano"\n[data]\nframe = 3', "did you mean 'frames'"),
            ('network = "nanno"', "did you mean 'nano'"),
            ("batch = 3", "'network' is missing"),
            ('network = "nano"\nbatch = 0', "batch=0, expected more than 0"),
            ("network = ", "not valid TOML"),
            ('network = "nano"\n[degradation]\nclean_share = 3', "expected a share"),
        ],
    )
    def test_mistakes_are_named(self, tmp_path: Path, text: str, message: str) -> None:
        path = tmp_path / "a.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            read_settings(path)

    def test_no_such_recipe(self) -> None:
        with pytest.raises(ConfigError, match="no training config 'huge'; .* nano"):
            read_settings("huge")
