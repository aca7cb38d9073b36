"""The losses: pixels, frame differences, and both sides of the adversarial game.

Everything is computed in float32 whatever the network's precision, and averaged over all elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..metrics.planes import LUMA_WEIGHTS
from .discriminators import Verdict
from .samples import Heads, HeadWeights, Labels

FAINT = 1e-3
"""Variance of a channel below which its pattern says nothing; maps are about 1 in magnitude."""


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


def chroma_error(output: Tensor, truth: Tensor) -> Tensor:
    """L1 between what two clips (N, T, 3, H, W) are beside their luma.

    In RGB an error of colour costs no more than one of brightness, and a small network pays for a
    sharp edge with coloured fringes.
    """
    return l1(_beside_luma(output.float()), _beside_luma(truth.float()))


def area_error(output: Tensor, truth: Tensor, side_px: int) -> Tensor:
    """L1 between the mean colours of two clips' areas, (N, T, 3, H, W).

    An L1 of pixels is content with the median of what they may be: a brightness or colour that is
    off everywhere by a level costs it nothing where the truth is uncertain. Here it costs a level.

    Args:
        output: The student's clip.
        truth: The true one.
        side_px: Of the areas, which H and W are multiples of.
    """
    means = [F.avg_pool2d(clip.float().flatten(0, 1), side_px) for clip in (output, truth)]
    return l1(*means)


def _beside_luma(clip: Tensor) -> Tensor:
    weights = clip.new_tensor(LUMA_WEIGHTS)[:, None, None]
    return clip - (clip * weights).sum(2, keepdim=True)


def map_error(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over a backbone's maps (N, C, h, w) of the L1 between two pictures' maps."""
    pairs = zip(output, target, strict=True)
    return torch.stack([l1(ours, theirs) for ours, theirs in pairs]).mean()


def structure_error(output: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """How little the patterns of two pictures' maps (N, C, h, w) are alike: 0 for equal ones.

    Channel by channel `1 - 2 cov / (var + var)`, the half of SSIM and DISTS that asks whether the
    same is where it was and as strong: a faint channel counts as much as a strong one, and a blur
    loses although it is right in the mean.
    """
    errors = []
    for ours, theirs in zip(output, target, strict=True):
        x, y = (each.float().flatten(2) for each in (ours, theirs))
        x, y = x - x.mean(2, keepdim=True), y - y.mean(2, keepdim=True)
        alike = 2 * (x * y).mean(2) + FAINT
        errors.append(1 - (alike / ((x**2).mean(2) + (y**2).mean(2) + FAINT)).mean())
    return torch.stack(errors).mean()


def generator_loss(verdict: Verdict, heads: Heads = "both") -> Tensor:
    """`softplus(-D(x))`, the mean over all 256 maps: detail counts three quarters (equation 2).

    Args:
        verdict: Of the student's clip.
        heads: `detail` leaves the consistency head out.
    """
    maps = [verdict.detail, *([verdict.consistency] if heads == "both" else [])]
    return F.softplus(-torch.cat(maps, 2).float()).mean()  # (N, T, 192 + 64, h, w)


def discriminator_loss(
    verdict: Verdict,
    labels: Labels,
    *,
    heads: Heads = "both",
    weights: HeadWeights = "maps",
) -> Tensor:
    """`softplus(-y * D(x))` of each labelled head, summed (equation 4).

    A label of 0 would add a constant without gradient; its head is left out.

    Args:
        verdict: Of a clip.
        labels: Of its kind; a head that counts has one that is not 0.
        heads: `detail` leaves the consistency head out.
        weights: `maps` weighs a head by its share of the maps, 192 to 64, as it counts for the
            student; `equal` as the equation is written.
    """
    judged = [(verdict.detail, labels.detail), (verdict.consistency, labels.consistency)]
    count = sum(maps.shape[2] for maps, _ in judged)
    terms = [
        F.softplus(-label * maps.float()).mean()
        * (maps.shape[2] / count if weights == "maps" else 1.0)
        for maps, label in judged[: 2 if heads == "both" else 1]
        if label
    ]
    return torch.stack(terms).sum()
