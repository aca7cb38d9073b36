"""Stage 2 on a small machine: a frozen backbone made for phones, one kind of clip a step."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from adcvsr.config import AdcVsrConfig
from adcvsr.errors import CheckpointError, ConfigError
from adcvsr.train.adversarial import (
    AdversarialWeights,
    _check_processes,
    adversarial,
    judge_shown,
)
from adcvsr.train.cuts import SHIFT_PX
from adcvsr.train.discriminators import (
    DETAIL_CHANNELS,
    Discriminators,
    PixelDiscriminator,
    Verdict,
)
from adcvsr.train.efficientnet import EfficientNetLite, read_efficientnet
from adcvsr.train.losses import discriminator_loss, generator_loss
from adcvsr.train.samples import LABELS, Labels, kinds_of_step
from adcvsr.train.seen import compare_maps
from adcvsr.train.settings import AdversarialSettings, DistillSettings, read_settings
from adcvsr.train.teachers import TeacherSettings, open_teacher
from tiny_training import BLIND, LIGHT, QUICK, Folders, Watch

SETTINGS = AdversarialSettings(
    **QUICK,
    **BLIND,
    batch=1,
    max_steps=3,
    pixel_backbone="efficientnet",
    feature_backbone="none",
    kinds_a_step=1,
    discriminator_learning_rate=1e-4,
)


@pytest.fixture(scope="module")
def backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the package has it: with the blocks and the classifier that are not used."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("efficientnet") / "efficientnet-lite0.pth"
    tensors = {**EfficientNetLite().state_dict(), "_fc.bias": torch.zeros(1000)}
    torch.save(tensors, path)
    return path


def test_maps_are_at_a_quarter_an_eighth_and_a_sixteenth(backbone_file: Path) -> None:
    trunk = read_efficientnet(backbone_file)
    images = (torch.rand(2, 3, 48, 80) * 2 - 1).requires_grad_()
    maps = trunk(images)
    assert [tuple(each.shape) for each in maps] == [
        (2, 24, 12, 20),
        (2, 40, 6, 10),
        (2, 112, 3, 5),
    ]
    assert not trunk.train().training
    assert not any(p.requires_grad for p in trunk.parameters())
    maps[-1].sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0
    odd = trunk(torch.zeros(1, 3, 33, 47))
    assert [tuple(each.shape[2:]) for each in odd] == [(9, 12), (5, 6), (3, 3)]


def test_other_files_are_refused(backbone_file: Path, tmp_path: Path) -> None:
    tensors = torch.load(backbone_file, weights_only=True)
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="holds no _conv_stem.weight"):
        read_efficientnet(tmp_path / "other.pth")
    del tensors["_blocks.3._bn1.weight"]
    torch.save(tensors, tmp_path / "cut.pth")
    with pytest.raises(CheckpointError, match="_blocks.3._bn1.weight: expected"):
        read_efficientnet(tmp_path / "cut.pth")


def test_kinds_take_turns() -> None:
    assert kinds_of_step(7, 5) == [*list(LABELS)[0:]]
    seen = [kind for step in range(10) for kind in kinds_of_step(step, 1)]
    assert seen == [*LABELS, *LABELS]
    pairs = [kind for step in range(5) for kind in kinds_of_step(step, 2)]
    assert sorted(pairs) == sorted([*LABELS, *LABELS])
    assert set(kinds_of_step(0, 5, "detail")) == {"student", "still", "crops"}
    with pytest.raises(ConfigError, match="kinds_a_step=6, expected 1 to 5"):
        dataclasses.replace(SETTINGS, kinds_a_step=6)
    with pytest.raises(ConfigError, match="is for one process, there are 2"):
        _check_processes(SETTINGS, 2)
    _check_processes(dataclasses.replace(SETTINGS, kinds_a_step=5), 2)


def test_heads_count_as_the_recipe_says() -> None:
    verdict = Verdict(torch.full((1, 2, 192, 1, 1), 2.0), torch.full((1, 2, 64, 1, 1), -1.0))
    detail, consistency = (math.log1p(math.exp(-x)) for x in (2, -1))
    both = Labels(detail=1, consistency=1)
    near = partial(pytest.approx, rel=1e-5)
    assert float(discriminator_loss(verdict, both)) == near(0.75 * detail + 0.25 * consistency)
    equal = discriminator_loss(verdict, both, weights="equal")
    assert float(equal) == near(detail + consistency)
    alone = discriminator_loss(verdict, both, heads="detail", weights="equal")
    assert float(alone) == near(detail)
    assert float(generator_loss(verdict)) == near(0.75 * detail + 0.25 * consistency)
    assert float(generator_loss(verdict, "detail")) == near(detail)


def test_the_backbone_is_the_eye_and_its_game_is_judged_apart(backbone_file: Path) -> None:
    judges = Discriminators(PixelDiscriminator(read_efficientnet(backbone_file)), None)
    target, truth = torch.rand(2, 1, 3, 3, 32, 32) * 2 - 1
    shown = target.roll(8, -1).requires_grad_()
    weighed = dataclasses.replace(
        SETTINGS,
        perceptual_weight=0.5,
        perceptual_truth=0.1,
        perceptual_form="structure",
        perceptual_frames=1,
    )
    seen: list[torch.Size] = []
    judges.pixel.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    with judges.held():
        assert set(judge_shown(weighed, judges, (shown, None))) == {"fool_pixel"}
        terms = compare_maps(weighed, judges.pixel.backbone, shown, target, truth)
    # A place drawn anew, against a grid.
    assert seen == [torch.Size([1, 3, 3, 32 - SHIFT_PX, 32 - SHIFT_PX])]
    published = dataclasses.replace(SETTINGS, cut_shown=False)
    with judges.held():
        judge_shown(published, judges, (shown, None))
    assert seen[1:] == [torch.Size([1, 3, 3, 32, 32])]
    assert not read_settings("paper-adversarial", AdversarialSettings).cut_shown
    assert set(terms) == {"perceptual", "perceptual_truth"}
    terms["perceptual"].backward()
    assert shown.grad is not None
    touched = shown.grad.abs().sum((0, 2, 3, 4)).nonzero()
    assert len(touched) == 1
    assert not [p for p in judges.pixel.backbone.parameters() if p.grad is not None]
    with pytest.raises(ConfigError, match="whose maps change as it is trained"):
        dataclasses.replace(weighed, pixel_backbone="small")


def test_a_run_trains_against_it(
    folders: Folders,
    tmp_path: Path,
    backbone_file: Path,
    save_student: Callable[[AdcVsrConfig], Path],
) -> None:
    start, watch = save_student(LIGHT), Watch()

    def run(weights: AdversarialWeights, **changes: Any) -> Path:
        return adversarial(
            dataclasses.replace(SETTINGS, **changes),
            tmp_path / "run",
            clips=[folders.clips],
            images=[folders.images],
            teacher=partial(open_teacher, TeacherSettings(kind="truth")),
            weights=weights,
            start=start,
            report=watch.report,
            progress=watch.progress,
        )

    with pytest.raises(ConfigError, match="needs the weights of EfficientNet-Lite0"):
        run(AdversarialWeights(dists=None))
    given = AdversarialWeights(dists=None, efficientnet=backbone_file)
    with pytest.raises(ConfigError, match="given by --efficientnet, but pixel_backbone='small'"):
        run(given, pixel_backbone="small")
    assert run(given).is_file()
    assert len(watch.losses) == 3
    # The backbone is read again and not saved with every state.
    saved = torch.load(tmp_path / "run" / "trainer.pt", weights_only=True)
    names = saved["parts"]["discriminators"]
    assert not [name for name in names if "_conv" in name]
    assert "pixel.tail.detail.weight" in names


@pytest.mark.parametrize("name", ["nano-restore", "small-restore"])
def test_the_recipes_for_small_machines(name: str) -> None:
    """Of the network of stage 1, and alike but for that."""
    recipe = read_settings(f"{name}-adversarial", AdversarialSettings)
    assert recipe.network == read_settings(name, DistillSettings).network
    alike = read_settings("nano-restore-adversarial", AdversarialSettings)
    assert dataclasses.replace(recipe, network=alike.network) == alike
    assert (recipe.pixel_backbone, recipe.kinds_a_step) == ("efficientnet", 1)
    assert recipe.heads == "both"
    assert (recipe.perceptual_form, recipe.perceptual_frames) == ("structure", 1)
    discriminator = PixelDiscriminator(EfficientNetLite())
    trained = sum(p.numel() for p in discriminator.parameters() if p.requires_grad)
    assert trained < 250_000
    assert discriminator.tail.detail.out_channels == DETAIL_CHANNELS
