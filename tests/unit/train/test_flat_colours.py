"""Flat clips of drawn colours: what they are, and that each stage sees them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.config import AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.model import load_checkpoint
from adcvsr.train.adversarial import AdversarialWeights, adversarial
from adcvsr.train.distill import LossWeights, distill
from adcvsr.train.flat_colours import FRAMES, PATCHES, flat_clips
from adcvsr.train.pretrain import pretrain
from adcvsr.train.settings import AdversarialSettings, DistillSettings, PretrainSettings
from adcvsr.train.teachers import TeacherSettings, open_teacher
from tiny_training import BLIND, LIGHT, QUICK, Folders, Watch

COMMON: dict[str, Any] = {**QUICK, "batch": 1, "max_steps": 1, "learning_rate": 0.0}
LIGHT_GAME = {"pixel_backbone": "small", "feature_backbone": "none", **BLIND}


def test_colours_are_drawn_by_the_steps_seed_and_half_of_them_are_saturated() -> None:
    torch.manual_seed(3)
    low, high = flat_clips(5, torch.device("cpu"))
    assert low.shape == (PATCHES, FRAMES, 3, 25, 25)
    assert high.shape == (PATCHES, FRAMES, 3, 100, 100)
    torch.manual_seed(3)
    assert torch.equal(flat_clips(5, torch.device("cpu"))[0], low)
    assert not torch.equal(flat_clips(5, torch.device("cpu"))[0], low)
    colours = low[:, 0, :, 0, 0]
    assert torch.equal(low, colours[:, None, :, None, None].expand_as(low))
    assert torch.equal(high[:, 0, :, 7, 50], colours)
    ends = (colours.abs() == 1).sum(1)
    assert (ends >= 1).sum() >= PATCHES // 2
    levels = (colours + 1) * 127.5
    assert (levels - levels.round()).abs().max() < 1e-4


@pytest.mark.parametrize("stage", ["pretrain", "distill", "adversarial"])
def test_every_stage_can_see_them(
    stage: str, folders: Folders, tmp_path: Path, save_student: Callable[[AdcVsrConfig], Path]
) -> None:
    start = save_student(LIGHT)
    network, _ = load_checkpoint(start)
    torch.manual_seed(0)  # of step 0
    low, high = flat_clips(network.config.size_multiple, torch.device("cpu"))
    with torch.no_grad():
        error = float((network(low)[0] - high).abs().mean())
    assert error > 1e-4
    losses = []
    for weight in (0.0, 10.0):
        watch = Watch()
        given: dict[str, Any] = {
            "clips": [folders.clips],
            "images": [folders.images],
            "start": start,
            "report": watch.report,
            "progress": watch.progress,
        }
        taught = {"teacher": partial(open_teacher, TeacherSettings(kind="truth"))}
        out = tmp_path / f"{weight:g}"
        if stage == "pretrain":
            pretrain(PretrainSettings(**COMMON, loss="l1", flat_weight=weight), out, **given)
        elif stage == "distill":
            settings = DistillSettings(**COMMON, **BLIND, flat_weight=weight)
            distill(settings, out, weights=LossWeights(dists=None), **taught, **given)
        else:
            game = AdversarialSettings(**COMMON, **LIGHT_GAME, flat_weight=weight)
            adversarial(game, out, weights=AdversarialWeights(dists=None), **taught, **given)
        losses.append(watch.losses[0])
    assert losses[1] - losses[0] == pytest.approx(10 * error, rel=0.02)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="flat_weight=-1"):
        dataclasses.replace(PretrainSettings(), flat_weight=-1.0)
