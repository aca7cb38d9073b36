"""Devices and processes, by Accelerate; what it would change without a word is refused.

accelerator = open_accelerator("bf16")
"""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from ..errors import ConfigError

LOST_PROCESS = "another process of this run ended, whose own line says why"
"""What a process says that waited for it."""


def open_accelerator(precision: str) -> Accelerator:
    """Find the devices and processes there are.

    Args:
        precision: `no`, `bf16` or `fp16`.

    Raises:
        ConfigError: The precision, or the number of processes, would be another.
    """
    try:
        # Accelerate joins CPU processes only when told that there is nothing else.
        cpu = not torch.accelerator.is_available()
        accelerator = Accelerator(mixed_precision=precision, cpu=cpu)
    except ValueError as error:
        raise ConfigError(f"precision='{precision}' cannot be used: {error}") from error
    if precision != "no" and not accelerator.native_amp:
        raise ConfigError(
            f"precision='{precision}' cannot be used on '{accelerator.device}'; set "
            'precision = "bf16" or "no"'
        )
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != started:
        raise ConfigError(
            f"{started} processes were started, {accelerator.num_processes} found each other; "
            "start them with torchrun"
        )
    return accelerator


def lost_process(error: BaseException | None) -> bool:
    """Whether an error came from a process of the run that is gone, or does not answer."""
    lost = getattr(torch.distributed, "DistError", ())
    while error is not None:
        # Gloo's errors have no class of their own.
        if isinstance(error, lost) or (isinstance(error, RuntimeError) and "gloo" in str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
