"""The losses: pixels, frame differences, and both sides of the adversarial game.

Everything is computed in float32 whatever the network's precision, and averaged over all elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .discriminators import Verdict
from .samples import Labels


def charbonnier(output: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2), an L1 that is smooth at zero (Charbonnier 1994)."""
    return torch.sqrt((output.float() - truth) ** 2 + epsilon**2).mean()


def l1(output: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error."""
    return F.l1_loss(output.float(), truth.float())


def mse(output: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(output.float(), truth.float())


PIXEL_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "charbonnier": charbonnier,
    "l1": l1,
    "mse": mse,
}
"""By their names in a recipe."""


def frame_difference(output: Tensor, truth: Tensor) -> Tensor:
    """L1 between the frame-to-frame differences of two clips (N, T, C, H, W), T at least 2.

    An error that stays the same from frame to frame costs nothing here, one that flickers does.
    """
    return l1(output.float().diff(dim=1), truth.float().diff(dim=1))


def generator_loss(verdict: Verdict) -> Tensor:
    """`softplus(-D(x))`, the mean over all 256 maps: detail counts three quarters (equation 2)."""
    maps = torch.cat([verdict.detail, verdict.consistency], 2)  # (N, T, 192 + 64, h, w)
    return F.softplus(-maps.float()).mean()


def discriminator_loss(verdict: Verdict, labels: Labels) -> Tensor:
    """`softplus(-y * D(x))` of each labelled head, weighted by its share of the maps (equation 4).

    A label of 0 would add a constant without gradient; its head is left out.
    """
    heads = [(verdict.detail, labels.detail), (verdict.consistency, labels.consistency)]
    count = sum(maps.shape[2] for maps, _ in heads)
    terms = [
        F.softplus(-label * maps.float()).mean() * (maps.shape[2] / count)
        for maps, label in heads
        if label
    ]
    return torch.stack(terms).sum()
