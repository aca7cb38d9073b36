"""What a training run needs to go on: raw weights, optimiser, moving average, step and clock.

Written in one file, atomically; the weights to use are saved beside it as a normal checkpoint.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, OutputExistsError, OutputNotWritableError

STATE_FILE = "trainer.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass
class RunState:
    """Progress of a run."""

    step: int = 0
    """Steps done."""

    seconds: float = 0.0
    """Seconds trained, over all legs."""


class MovingAverage:
    """Exponential moving average of a network's weights, kept on their device."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards the network; the first steps follow faster, as their start is noise."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for key, value in network.state_dict().items():
            self.tensors[key].lerp_(value.detach(), 1 - decay)


def prepare_run_folder(folder: Path, *, resume: bool) -> None:
    """Create a run's folder; an earlier run in it is not overwritten.

    Raises:
        OutputExistsError: It holds a run and this one does not resume it.
        OutputNotWritableError: It cannot be created.
    """
    if not resume and (folder / STATE_FILE).exists():
        raise OutputExistsError(
            f"'{folder}' holds a run; pass --resume to continue it, or choose another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot create the run's folder '{folder}': {error.strerror}"
        ) from error


def save_state(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    state: RunState,
) -> None:
    """Write the run's state atomically.

    Raises:
        OSError: The disk is full or not writable; the previous state stays.
    """
    part = folder / f".{STATE_FILE}.part"
    try:
        torch.save(
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.tensors,
                "step": state.step,
                "seconds": state.seconds,
            },
            part,
        )
        os.replace(part, folder / STATE_FILE)
    finally:
        part.unlink(missing_ok=True)


def load_state(
    folder: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: MovingAverage,
    device: torch.device,
) -> RunState:
    """Read the state `save_state` wrote into the given objects.

    Raises:
        CheckpointError: There is none, or it belongs to another network.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise CheckpointError(f"nothing to resume in '{folder}': no {STATE_FILE} there")
    try:
        saved: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        tensors: dict[str, Tensor] = saved["average"]
    except (RuntimeError, ValueError, KeyError, EOFError) as error:
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"'{path}' does not fit this config: {first}; resume with the config the run began with"
        ) from error
    average.tensors = tensors
    return RunState(step=saved["step"], seconds=saved["seconds"])
