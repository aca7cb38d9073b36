"""What `benchmarks/state_ablation.py` trains: its states start as nothing and are one function."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from adcvsr.config import PRESETS
from adcvsr.model import AdcVsr
from adcvsr.train.settings import PretrainSettings
from tiny_training import DATA, Folders

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
EXPERIMENTS = (
    "recurrent 3x3, gated",
    "recurrent 3x3 and at half size",
    "recurrent 3x3, matched",
    "output and features fed back",
)


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("state_ablation")


@pytest.fixture
def clips(ablation: ModuleType) -> ModuleType:
    return importlib.import_module("state_clips")


def _clip() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(2, 5, 3, 12, 16, generator=generator) - 1


def _plain(preset: str, ablation: ModuleType) -> AdcVsr:
    torch.manual_seed(0)
    plain: AdcVsr = ablation.students(PRESETS[preset])[ablation.NO_STATE].build()
    return plain


def _trained(network: nn.Module) -> nn.Module:
    """Weights that are zero at the start are drawn, as if something had been learned."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.mark.parametrize("preset", ["nano", "small"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_untrained_state_changes_nothing(preset: str, name: str, ablation: ModuleType) -> None:
    plain, clip = _plain(preset, ablation), _clip()
    with torch.no_grad():
        expected, none = plain(clip)
        out, state = ablation.students(PRESETS[preset])[name].finish(plain)(clip)
    assert not none
    assert state
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("preset", ["nano", "small"])
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_clip_in_pieces_is_the_clip(preset: str, name: str, ablation: ModuleType) -> None:
    network, clip = _trained(ablation.students(PRESETS[preset])[name].build()), _clip()
    with torch.no_grad():
        whole, end = network(clip)
        first, state = network(clip[:, :1])
        second, state = network(clip[:, 1:4], state)
        third, state = network(clip[:, 4:], state)
        alone, _ = network(clip[:, 1:2])
    torch.testing.assert_close(torch.cat([first, second, third], 1), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(state, end, rtol=0, atol=1e-5)
    # A reset forgets: the second frame as a first one is another picture.
    assert float((alone - whole[:, 1:2]).abs().max()) > 1e-3


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_later_frame_teaches_every_weight(name: str, ablation: ModuleType) -> None:
    """Of the new parts too, through frames before, and the first frame's input counts."""
    network, clip = _trained(ablation.students(PRESETS["nano"])[name].build()), _clip()
    clip.requires_grad_()
    network(clip)[0][:, -1].square().mean().backward()
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without
    assert clip.grad is not None
    assert bool(clip.grad[:, 0].any())


def test_matching_follows_what_moves(ablation: ModuleType) -> None:
    """A tap that passes the past on finds a picture that moved by two pixels."""
    tap = importlib.import_module("state_students").MatchedTap(4, "state")
    with torch.no_grad():
        tap.before.weight[:, :, 1, 1] = torch.eye(4)
        tap.sharpness.fill_(8.0)
        last = torch.rand(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
        moved = last.roll(2, 3)
        found = tap.recall(moved, last)
    inner = (..., slice(4, -4), slice(4, -4))
    torch.testing.assert_close(found[inner], moved[inner], rtol=0, atol=1e-3)


def test_cost_counts_what_is_matched(ablation: ModuleType) -> None:
    students = ablation.students(PRESETS["nano"])
    plain, matched = (
        ablation.multiply_adds(students[name].build())
        for name in (ablation.NO_STATE, "recurrent 3x3, matched")
    )
    assert matched - plain == 16 * 16 * (1 + 9) + 2 * 25 * 16


def test_noise_is_as_strong_as_said(clips: ModuleType) -> None:
    grey = torch.full((2, 3, 3, 64, 64), 128, dtype=torch.uint8)
    strength = torch.tensor([0.0, 8.0]).view(2, 1, 1, 1, 1)
    noisy = clips.add_noise(grey, strength, torch.Generator().manual_seed(0)).float()
    assert float(noisy[0].std()) == 0
    assert 7.8 < float(noisy[1].std()) < 8.2
    assert float((noisy[1, 0] - noisy[1, 1]).std()) > 10  # new in every frame


def test_batches_are_drawn_once_and_those_of_other_options_refused(
    clips: ModuleType, folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PretrainSettings(data=DATA, batch=2)
    material = clips.Material([folders.clips], [folders.images], ["bicubic", "noise"], 3)
    drawn = clips.draw(material, settings, tmp_path)
    assert [part.shape for part in drawn] == [(3, 2, 3, 3, 8, 8), (3, 2, 3, 3, 32, 32)]
    monkeypatch.setattr(clips, "ClipPairs", None)
    for again, part in zip(clips.draw(material, settings, tmp_path), drawn, strict=True):
        assert (again == part).all()
        assert part.any()
    with pytest.raises(SystemExit, match="holds batches of"):
        clips.draw(dataclasses.replace(material, batches=4), settings, tmp_path)


def test_what_stands_still_is_noisy_and_its_truth_is_not(
    clips: ModuleType, folders: Folders
) -> None:
    settings = PretrainSettings(data=dataclasses.replace(DATA, patch_px=16))
    for low, high, _ in clips.validation("still", [folders.clips], settings).clips:
        assert not high.float().diff(dim=0).any()
        assert float(low.float().diff(dim=0).std()) > 8


def test_a_student_is_held_against_those_that_cost_as_much(ablation: ModuleType) -> None:
    def row(cost: float, psnr_y: float) -> dict[str, object]:
        figures = {"psnr_y": psnr_y, "flicker": psnr_y / 10}
        return {"multiply_adds": cost, "drift_db": 0.0, "web": figures}

    rows = {
        "no state": row(10, 30.0),
        "no state, a block more": row(12, 29.0),
        "tap": row(11, 30.5),
        "dear": row(13, 30.75),
    }
    lines = ablation.table(rows, ["web"]).splitlines()
    assert lines[-2] == "| tap | 11 | 30.50 dB | +1.500 dB | 1.052 | +0.000 dB |"
    assert lines[-1].startswith("| dear (over the best, which costs less) | 13 | 30.75 dB | +0.750")


def test_frames_that_were_not_trained_are_not_measured(clips: ModuleType, folders: Folders) -> None:
    data = dataclasses.replace(DATA, frames=4)
    found = []
    for first in (0, 2):
        settings = PretrainSettings(data=data, first_frame=first)
        made = clips.validation("bicubic", [folders.clips], settings)
        clip = made.clips[0]
        out = clip.high.float()[None] / 255
        out[:, :2] = 1 - out[:, :2]
        found.append(made._compare(out, clip))
    assert found[0]["flicker"] > 1 > found[1]["flicker"] == 0
    assert found[0]["psnr_y"] < found[1]["psnr_y"]
