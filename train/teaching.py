"""What the student is to become like: a teacher's clips, cached ones, or the truth itself.

target = target_of(batch, teacher, device)  # (N, T, 3, 4h, 4w) in [-1, 1]
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ..errors import ConfigError
from .pairs import PairBatch


class Teacher(Protocol):
    """Upscales low-resolution clips; runs without gradient."""

    identity: str
    """Names the teacher and its weights, in checkpoints and messages."""

    def teach(self, low: Tensor) -> Tensor:
        """Map (N, T, 3, h, w) in [0, 1] to (N, T, 3, 4h, 4w) in [0, 1]."""


def target_of(batch: PairBatch, teacher: Teacher | None, device: torch.device) -> Tensor:
    """The clips to come near to: cached ones first, then the teacher's, without one the truth.

    Returns:
        (N, T, 3, 4h, 4w) float32 in [-1, 1].
    """
    if batch.teacher is not None:
        return to_signed(batch.teacher, device)
    if teacher is None:
        return to_signed(batch.high, device)
    low = batch.low.to(device).float() / 255
    with torch.no_grad():
        return teacher.teach(low).float() * 2 - 1


def to_signed(clip: Tensor, device: torch.device) -> Tensor:
    """Bring uint8 to float32 in [-1, 1] on the device."""
    return clip.to(device, non_blocking=True).float() / 127.5 - 1


def open_teacher(name: str) -> Teacher | None:
    """The teacher of that name; None for `truth`.

    Raises:
        ConfigError: There is no such teacher.
    """
    if name != "truth":
        raise ConfigError(f"no teacher '{name}'; there is: truth")
    return None
