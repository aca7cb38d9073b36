"""What a frozen network sees as a term of both stages."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.errors import ConfigError
from adcvsr.train.cuts import SHIFT_PX
from adcvsr.train.distill import LossWeights, distill, weights_of
from adcvsr.train.efficientnet import EfficientNetLite
from adcvsr.train.losses import structure_error
from adcvsr.train.seen import compare_maps, open_eye
from adcvsr.train.settings import DistillSettings, read_settings
from adcvsr.train.teachers import GroundTruth
from tiny_training import BLIND, DATA, LIGHT, QUICK, Folders, Watch

SETTINGS = DistillSettings(
    **QUICK,
    **BLIND,
    network=LIGHT,
    batch=1,
    max_steps=2,
    pixel_weight=0.5,
    perceptual_weight=0.2,
    perceptual_truth=0.1,
    perceptual_frames=1,
)


def test_drawn_frames_at_drawn_places_count_to_target_and_truth() -> None:
    eye = EfficientNetLite()
    seen: list[torch.Size] = []
    eye.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    target, truth = torch.rand(2, 2, 4, 3, 40, 40) * 2 - 1
    shown = target.clone().requires_grad_()
    terms = compare_maps(SETTINGS, eye, shown, target, truth)
    side = 40 - SHIFT_PX
    assert seen == [torch.Size([2, 3, side, side])] * 3
    assert float(terms["perceptual"].detach()) == 0 < float(terms["perceptual_truth"].detach())
    terms["perceptual_truth"].backward()
    assert shown.grad is not None
    touched = {int(index) for index in shown.grad.abs().sum((0, 2, 3, 4)).nonzero()}
    assert len(touched) == 1  # one frame of each clip
    longer = dataclasses.replace(DATA, frames=4)
    later = dataclasses.replace(SETTINGS, data=longer, first_frame=3, perceptual_truth=0.0)
    shown.grad = None
    terms = compare_maps(later, eye, shown, truth, truth)
    assert set(terms) == {"perceptual"}
    terms["perceptual"].backward()
    assert shown.grad[:, :3].abs().sum() == 0 < shown.grad[:, 3].abs().sum()
    weights = weights_of(SETTINGS)
    assert (weights["perceptual"], weights["perceptual_truth"]) == (0.1, 0.05)
    assert compare_maps(SETTINGS, None, shown, target, truth) == {}


def test_patterns_count_and_neither_brightness_nor_how_faint_they_are() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    pattern = torch.sin(x / 2)[None, None] + torch.cos(y / 3)
    error = partial(structure_error, target=[pattern])
    assert float(error([pattern])) == pytest.approx(0, abs=1e-6)
    assert float(error([pattern + 3])) == pytest.approx(0, abs=1e-5)
    assert float(error([-pattern])) == pytest.approx(2, rel=1e-2)
    assert float(error([torch.zeros_like(pattern)])) == pytest.approx(1, rel=1e-2)
    assert float(error([0.5 * pattern])) == pytest.approx(0.2, rel=1e-2)  # 1 - 2 * 0.5 / 1.25
    faint = structure_error([0.1 * pattern.flip(3)], [0.1 * pattern])
    assert float(faint) == pytest.approx(float(error([pattern.flip(3)])), rel=0.1)
    flat = torch.zeros(1, 1, 8, 8)
    assert float(structure_error([flat + 1e-4 * torch.rand(1, 1, 8, 8)], [flat])) < 1e-3


def test_the_picture_counts_as_a_map_where_patterns_do() -> None:
    eye = EfficientNetLite()
    target, truth = torch.rand(2, 1, 2, 3, 40, 40) * 2 - 1
    recipe = dataclasses.replace(SETTINGS, perceptual_form="structure")
    same = compare_maps(recipe, eye, target, target, truth)
    assert float(same["perceptual"]) == pytest.approx(0, abs=1e-5)
    assert 0.2 < float(same["perceptual_truth"]) < 1.5
    with pytest.raises(ConfigError, match="perceptual_form='ssim', expected one of l1, structure"):
        dataclasses.replace(SETTINGS, perceptual_form="ssim")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perceptual_weight": 0.0}, "with perceptual_weight=0: nothing is seen"),
        ({"perceptual_frames": -1}, "perceptual_frames=-1"),
        ({"grey_share": 1.5}, "grey_share=1.5, expected a share"),
        ({"data": dataclasses.replace(DATA, patch_px=3)}, "data.patch_px=3, expected 4 or more"),
    ],
)
def test_values_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SETTINGS, **changes)


def test_a_run_needs_the_weights_and_takes_none_for_nothing(
    folders: Folders, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    file = tmp_path / "efficientnet-lite0.pth"
    torch.save(EfficientNetLite().state_dict(), file)
    blind = dataclasses.replace(
        SETTINGS, perceptual_weight=0.0, perceptual_truth=0.0, perceptual_frames=0
    )
    cpu = torch.device("cpu")
    assert open_eye(blind, None, cpu) is None
    with pytest.raises(ConfigError, match="given by --efficientnet, but .*perceptual_weight is 0"):
        open_eye(blind, file, cpu)
    with pytest.raises(ConfigError, match="perceptual_weight=0.2 needs the weights of Efficient"):
        open_eye(SETTINGS, None, cpu)
    watch = Watch()
    made = distill(
        SETTINGS,
        tmp_path / "run",
        clips=[folders.clips],
        images=[folders.images],
        teacher=GroundTruth,
        weights=LossWeights(dists=None, efficientnet=file),
        report=watch.report,
        progress=watch.progress,
    )
    assert made.is_file()
    assert len(watch.losses) == 2


def test_the_recipe_of_small_restore() -> None:
    recipe = read_settings("small-restore", DistillSettings)
    assert recipe.network is not None
    assert (recipe.network.widths, recipe.network.temporal_side) == ((32, 64), 3)
    assert recipe.perceptual_weight > 0 < recipe.grey_share
