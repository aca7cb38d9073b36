"""What the student is to become like: a teacher's clips, cached ones, or the truth itself.

target = target_of(batch, teacher, device)  # (N, T, 3, 4h, 4w) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable

import torch
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
