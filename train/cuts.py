"""Cuts at places drawn anew, against grids.

A network of strides sees some pixels of a grid more than others, and a student that is upscaled by
a shuffle learns that grid. What such a network judges is therefore cut a little smaller, each time
elsewhere.

    rows, columns = draw_cut(clip)
    eye(clip[..., rows, columns])
"""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT_PX = 8
"""How many pixels smaller the cut is, and how many places there are along each side."""


def draw_cut(clip: Tensor) -> tuple[slice, slice]:
    """Draw rows and columns of clips (..., H, W), by torch's generator: runs seed it each step."""
    rows, columns = (
        slice(int(at), int(at) + extent - SHIFT_PX)
        for at, extent in zip(torch.randint(SHIFT_PX, (2,)), clip.shape[-2:], strict=True)
    )
    return rows, columns
