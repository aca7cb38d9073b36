"""Flat patches of any colour, which photographs hardly hold: what comes in must come out.

A network that is trained on photographs and films alone may turn a saturated green by 25 levels
while every measure of its validation clips is fine (docs/decisions.md). So each step also sees a
few flat clips, of colours drawn from the whole cube and from its faces, where saturated ones lie.

    low, high = flat_clips(network.config.size_multiple, device)
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SCALE

PATCHES, FRAMES = 6, 2
"""Clips a step, and frames of each: a flat clip shows its state in the second. A step of the
lightest recipe costs a fifth more by them."""

LEAST_SIDE_PX = 24
"""Of the low-resolution patches: in the middle the lightest networks see no border."""


def flat_clips(size_multiple: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw flat clips by torch's generator, which a run seeds for each step.

    Args:
        size_multiple: Of the network: sides are multiples of it.
        device: Where they are wanted.

    Returns:
        Low-resolution clips (N, T, 3, h, w) and the same colours at (N, T, 3, 4h, 4w), in [-1, 1].
    """
    colours = torch.rand(PATCHES, 3)
    # Half of them have one channel at an end of its range, a quarter two.
    for channels, patches in ((1, PATCHES // 2), (2, PATCHES // 4)):
        for patch in range(patches):
            ends = torch.randperm(3)[:channels]
            colours[patch, ends] = torch.randint(2, (channels,)).float()
    levels = (colours * 255).round() / 127.5 - 1
    side = -(-LEAST_SIDE_PX // size_multiple) * size_multiple
    low = levels[:, None, :, None, None].expand(-1, FRAMES, -1, side, side).to(device)
    return low, low[..., :1, :1].expand(-1, -1, -1, SCALE * side, SCALE * side)
