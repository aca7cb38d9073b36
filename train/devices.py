"""Devices and processes, by Accelerate; what it would change without a word is refused.

accelerator = open_accelerator("bf16")
"""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from ..errors import ConfigError


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
