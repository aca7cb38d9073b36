"""The colour match of AdcSR's public test script (Guaishou74851/AdcSR, test.py), in torch.

The reference for what the runtime does to frames when a bundle's `colour_match` says `frame`.
"""

from __future__ import annotations

from torch import Tensor


def match_colours(upscaled: Tensor, low: Tensor) -> Tensor:
    """Give each upscaled image, channel by channel, the input's mean and standard deviation.

    Args:
        upscaled: (N, C, 4H, 4W), in any range.
        low: (N, C, H, W), the input in the same range.

    Returns:
        (N, C, 4H, 4W), not clamped.
    """
    axes = (2, 3)
    scale = low.std(axes, keepdim=True) / upscaled.std(axes, keepdim=True)
    centred = upscaled - upscaled.mean(axes, keepdim=True)
    return centred * scale + low.mean(axes, keepdim=True)
