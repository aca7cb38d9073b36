"""What the student is to become like: a teacher's clips, cached ones, or the truth itself.

target = target_of(batch, teacher, device)  # (N, T, 3, 4h, 4w) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .data import PairBatch
from .teachers import Teacher

OpenTeacher = Callable[[torch.device], Teacher]
"""Makes the teacher on the device a stage runs on."""


def target_of(batch: PairBatch, teacher: Teacher, device: torch.device) -> Tensor:
    """The clips to come near to: cached ones where the batch has them, else the teacher's.

    Returns:
        (N, T, 3, 4h, 4w) float32 in [-1, 1].
    """
    if batch.teacher is not None:
        return to_signed(batch.teacher, device)
    low, high = (clip.to(device).float() / 255 for clip in (batch.low, batch.high))
    return teacher.teach(low, high) * 2 - 1


def to_signed(clip: Tensor, device: torch.device) -> Tensor:
    """Bring uint8 to float32 in [-1, 1] on the device."""
    return clip.to(device, non_blocking=True).float() / 127.5 - 1


def with_areas_of(target: Tensor, truth: Tensor, side_px: int) -> Tensor:
    """The teacher's detail around the truth's colours.

    Teachers shift brightness and colours by some levels, and those that see frame by frame do so
    anew in each: what is coarser than an area is taken from the truth.

    Args:
        target: The teacher's clip (N, T, 3, H, W).
        truth: The true one, likewise.
        side_px: Of the areas, which H and W are multiples of; 0 leaves the target as it is.
    """
    if not side_px:
        return target
    missing = F.avg_pool2d((truth.float() - target.float()).flatten(0, 1), side_px)
    smooth = F.interpolate(missing, target.shape[-2:], mode="bilinear", align_corners=False)
    return (target + smooth.view_as(target)).clamp(-1, 1)
