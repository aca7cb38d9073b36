"""Discriminators: shapes, who gets gradients and who none, what is saved of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from adcvsr.model import AdcVsr
from adcvsr.train.convnext import read_convnext
from adcvsr.train.discriminators import (
    Discriminators,
    FeatureDiscriminator,
    PixelDiscriminator,
    SmallBackbone,
)
from adcvsr.train.losses import discriminator_loss, generator_loss
from adcvsr.train.run_state import TrainedPart
from adcvsr.train.samples import LABELS, SampleKind
from tiny_configs import CLIP_UNET


@pytest.fixture
def student() -> AdcVsr:
    torch.manual_seed(0)
    return AdcVsr(CLIP_UNET)


@pytest.fixture
def judges(student: AdcVsr, convnext_file: Path) -> Discriminators:
    trunk = read_convnext(convnext_file)
    return Discriminators(PixelDiscriminator(trunk), FeatureDiscriminator(student.unet, 16))


@pytest.fixture
def shown() -> tuple[Tensor, Tensor]:
    """Frames (N, T, 3, H, W) and features (N, T, C, H/8, W/8)."""
    return torch.rand(2, 3, 3, 32, 48) * 2 - 1, torch.randn(2, 3, 16, 4, 6)


def test_two_heads_of_maps(judges: Discriminators, shown: tuple[Tensor, Tensor]) -> None:
    verdicts = judges(*shown)
    assert verdicts["pixel"].detail.shape == (2, 3, 192, 8, 12)
    assert verdicts["pixel"].consistency.shape == (2, 3, 64, 8, 12)
    assert verdicts["feature"].detail.shape == (2, 3, 192, 4, 6)
    assert verdicts["feature"].consistency.shape == (2, 3, 64, 4, 6)


def test_without_a_feature_domain(shown: tuple[Tensor, Tensor]) -> None:
    backbone = SmallBackbone()
    judges = Discriminators(PixelDiscriminator(backbone), None)
    assert list(judges(shown[0], None)) == ["pixel"]
    assert judges(shown[0], None)["pixel"].detail.shape == (2, 3, 192, 4, 6)
    generator_loss(judges(shown[0], None)["pixel"]).backward()
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("kind", LABELS)
def test_a_label_of_0_gives_no_gradient(
    judges: Discriminators, shown: tuple[Tensor, Tensor], kind: SampleKind
) -> None:
    for verdict in judges(*shown).values():
        discriminator_loss(verdict, LABELS[kind]).backward()
    for judge in (judges.pixel, judges.feature):
        for head, label in (("detail", "detail"), ("consistency", "consistency")):
            gradient = getattr(judge.tail, head).weight.grad
            assert (gradient is None) == (getattr(LABELS[kind], label) == 0)
        assert judge.tail.temporal.taps[0].weight.grad.abs().sum() > 0


def test_frozen_parts_get_no_gradient(
    judges: Discriminators, shown: tuple[Tensor, Tensor], student: AdcVsr
) -> None:
    for verdict in judges(*shown).values():
        discriminator_loss(verdict, LABELS["crops"]).backward()
    trained = {name for name, p in judges.named_parameters() if p.grad is not None}
    assert trained == judges.trained.keys()
    assert {name.split(".")[1] + "." + name.split(".")[2] for name in trained} == {
        "tail.first",
        "tail.temporal",
        "tail.last",
        "tail.detail",
        "tail.consistency",
        "backbone.conv_in",
    }
    assert all(name.startswith("feature.") for name in trained if "backbone" in name)
    assert all(p.grad is None for p in student.parameters())


def test_the_student_gets_gradients_through_held_discriminators(
    judges: Discriminators, shown: tuple[Tensor, Tensor]
) -> None:
    frames, features = (x.requires_grad_() for x in shown)
    with judges.held():
        verdicts = judges(frames, features)
        torch.stack([generator_loss(v) for v in verdicts.values()]).sum().backward()
    assert frames.grad is not None
    assert features.grad is not None
    assert float(frames.grad.abs().sum()) > 0
    assert float(features.grad.abs().sum()) > 0
    assert all(p.grad is None for p in judges.parameters())
    assert all(p.requires_grad for p in judges.trained.values())


def test_consistency_sees_the_order_of_frames(
    judges: Discriminators, shown: tuple[Tensor, Tensor]
) -> None:
    frames, features = shown
    order = [1, 0, 2]
    with torch.no_grad():
        plain, mixed = judges(frames, features), judges(frames[:, order], features[:, order])
    for domain in plain:
        difference = plain[domain].consistency[:, order] - mixed[domain].consistency
        assert float(difference.abs().max()) > 1e-4


def test_frozen_weights_stay_out_of_checkpoints(judges: Discriminators, student: AdcVsr) -> None:
    saved = TrainedPart(judges, judges.trained).state_dict()
    assert saved.keys() == judges.trained.keys()
    with torch.no_grad():
        for parameter in judges.trained.values():
            parameter.add_(1)
    TrainedPart(judges, judges.trained).load_state_dict({k: v * 0 for k, v in saved.items()})
    assert all(not parameter.any() for parameter in judges.trained.values())
    assert judges.feature is not None
    for key, value in student.unet.state_dict().items():
        if not key.startswith("conv_in"):
            assert torch.equal(judges.feature.backbone.state_dict()[key], value)
    with pytest.raises(RuntimeError, match="other tensors"):
        TrainedPart(judges, judges.trained).load_state_dict({"x": torch.zeros(1)})


def test_small_backbone_saves_its_spectral_norm() -> None:
    backbone = SmallBackbone()
    judges = Discriminators(PixelDiscriminator(backbone), None)
    names = TrainedPart(judges, judges.trained).state_dict()
    assert names.keys() == judges.state_dict().keys()
    assert any(name.endswith("_u") for name in names)
