"""Cross-layer equalisation: channels of one tensor brought to one range, the network unchanged.

A tensor has one scale for all its channels, so a channel a tenth as wide as the widest loses three
of its eight bits (Nagel et al. 2019, arXiv 1906.04721).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...arrays import Floats
from .channel_groups import ChannelGroup

LARGEST_FACTOR = 1000.0
"""A channel narrower than the widest by more is nearly dead; its noise is not blown up."""

Range = tuple[Floats, Floats]
Ranges = Mapping[str, Range]
"""By tensor: lowest and highest value of each channel."""


def equalise(groups: Iterable[ChannelGroup], ranges: Ranges) -> dict[str, Floats]:
    """Factors that make all channels of a tensor span the same.

    Args:
        groups: Tensors that share their factors.
        ranges: Of the tensors that will be quantized, where they were measured.

    Returns:
        (C,) by tensor, for `channel_groups.change_units`; groups that are zero throughout are left
        out.
    """
    factors: dict[str, Floats] = {}
    for group in groups:
        measured = [ranges[tensor] for tensor in group.tensors if tensor in ranges]
        factor = _factor(measured, signed=group.mixable) if measured else None
        if factor is not None:
            factors |= dict.fromkeys(group.tensors, factor)
    return factors


def _factor(measured: Sequence[Range], *, signed: bool) -> Floats | None:
    """Factor of each channel of a group; None where it is zero throughout.

    Where signs may change, each channel's longer side becomes the positive one: the shorter sides
    lie on one side then, which a zero point makes use of.
    """
    low = np.min([low for low, _ in measured], axis=0)
    high = np.max([high for _, high in measured], axis=0)
    span = np.maximum(-low, high)
    if not span.max() > 0:
        return None
    factor = span.max() / np.maximum(span, span.max() / LARGEST_FACTOR)
    sign = np.where(-low > high, -1, 1) if signed else 1
    scaled: Floats = (factor * sign).astype(np.float32)
    return scaled
