"""The losses on cases with known answers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import pytest
import torch
from torch import Tensor

from adcvsr.train.discriminators import Verdict
from adcvsr.train.distill import Wanted, compare, weigh, weights_of
from adcvsr.train.losses import (
    charbonnier,
    discriminator_loss,
    frame_difference,
    generator_loss,
    l1,
    mse,
)
from adcvsr.train.samples import LABELS, Labels
from adcvsr.train.settings import DistillSettings

if TYPE_CHECKING:
    from adcvsr.train.dists import Dists


def verdict(detail: float, consistency: float) -> Verdict:
    """Heads that say the same everywhere."""
    return Verdict(torch.full((2, 3, 192, 4, 4), detail), torch.full((2, 3, 64, 4, 4), consistency))


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_pixel_losses() -> None:
    zero, half = torch.zeros(1, 2, 3, 4, 4), torch.full((1, 2, 3, 4, 4), 0.5)
    assert float(charbonnier(half, zero)) == pytest.approx(0.5, abs=1e-5)
    assert float(charbonnier(zero, zero)) == pytest.approx(1e-3)
    assert float(l1(half, zero)) == 0.5
    assert float(mse(half, zero)) == 0.25


def test_frame_difference_sees_flicker_alone() -> None:
    truth = torch.rand(1, 4, 3, 4, 4)
    assert float(frame_difference(truth + 0.3, truth)) == pytest.approx(0, abs=1e-6)
    flicker = torch.tensor([0.1, -0.1, 0.1, -0.1]).view(1, 4, 1, 1, 1)
    assert float(frame_difference(truth + flicker, truth)) == pytest.approx(0.2, abs=1e-6)


def test_the_student_wants_both_heads_high_three_to_one() -> None:
    assert float(generator_loss(verdict(0, 0))) == pytest.approx(math.log(2))
    expected = 0.75 * softplus(-2) + 0.25 * softplus(1)
    assert float(generator_loss(verdict(2, -1))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", LABELS)
def test_discriminator_loss_of_every_kind(kind: str) -> None:
    labels = LABELS[kind]  # type: ignore[index]
    expected = 0.0
    if labels.detail:
        expected += 0.75 * softplus(-labels.detail * 2.0)
    if labels.consistency:
        expected += 0.25 * softplus(-labels.consistency * -1.0)
    assert float(discriminator_loss(verdict(2, -1), labels)) == pytest.approx(expected, rel=1e-5)


def test_signs() -> None:
    """A real sample's loss falls as the head says more, a fake one's rises."""
    for sign in (1, -1):
        labels = Labels(detail=sign, consistency=sign)  # type: ignore[arg-type]
        low, high = (float(discriminator_loss(verdict(v, v), labels)) for v in (-1, 1))
        assert (high - low) * sign < 0


def test_dists_is_given_frames_between_0_and_1() -> None:
    """One picture a frame; the network's range is [-1, 1]."""
    frames = torch.linspace(-1, 1, 2 * 3 * 3 * 4 * 4).reshape(2, 3, 3, 4, 4)
    given: list[Tensor] = []

    def distance(output: Tensor, truth: Tensor) -> Tensor:
        given.extend((output, truth))
        return torch.tensor([0.25] * 3 + [0.75] * 3)

    terms = compare(frames, None, Wanted(-frames, frames), cast("Dists", distance), None)
    assert float(terms["dists"]) == 0.5
    for found, clip in zip(given, (frames, -frames), strict=True):
        torch.testing.assert_close(found, (clip.flatten(0, 1) + 1) / 2)


def test_published_weights() -> None:
    terms = {name: torch.tensor(1.0) for name in ("pixel", "dists", "feature")}
    assert float(weigh(terms, weights_of(DistillSettings()))) == pytest.approx(0.1 + 0.1 + 1.0)
