"""The states of `benchmarks/state_students.py`: they start as nothing and are one function."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from adcvsr.config import PRESETS
from adcvsr.model import AdcVsr

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
    tap = ablation.MatchedTap(4, "state")
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
