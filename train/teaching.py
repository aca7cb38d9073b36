"""What the student is to become like: a teacher's clips, cached ones, or the truth itself.

with open_teacher("truth", device) as teacher:
    target = target_of(batch, teacher, device)  # (N, T, 3, 4h, 4w) in [-1, 1]
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor

from ..errors import ConfigError
from .data import PairBatch


class Teacher(AbstractContextManager["Teacher"], Protocol):
    """Upscales low-resolution clips without gradient; holds memory within its `with` block."""

    @property
    def identity(self) -> str:
        """Names the teacher and its weights, in checkpoints and messages."""

    def teach(self, low: Tensor, high: Tensor | None = None) -> Tensor:
        """Map (N, T, 3, h, w) in [0, 1] to (N, T, 3, 4h, 4w) in [0, 1]; the truth gives `high`."""


OpenTeacher = Callable[[torch.device], Teacher]
"""Makes the teacher on the device a stage runs on."""


class GroundTruth(AbstractContextManager["GroundTruth"]):
    """The truth as a teacher."""

    identity = "truth"

    def __exit__(self, *error: object) -> None:
        """Nothing to give back."""

    def teach(self, low: Tensor, high: Tensor | None = None) -> Tensor:
        """Give `high`."""
        assert high is not None
        return high


def open_teacher(name: str, device: torch.device) -> Teacher:
    """The teacher of that name.

    Raises:
        ConfigError: There is no such teacher.
    """
    if name != "truth":
        raise ConfigError(f"no teacher '{name}'; there is: truth")
    return GroundTruth()


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
