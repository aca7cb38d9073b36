"""What a training run needs to go on: weights, optimisers, moving average, step and clock.

Written in one file, atomically; the weights to use are saved beside it as a normal checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, OutputExistsError, OutputNotWritableError
from ..files import replace_file

STATE_FILE = "trainer.pt"
CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass
class RunState:
    """Progress of a run."""

    step: int = 0
    """Steps done."""

    seconds: float = 0.0
    """Seconds trained, over all legs."""


class Stateful(Protocol):
    """Anything that is saved and restored: a network, an optimiser, a gradient scaler."""

    def state_dict(self) -> dict[str, Any]:
        """What to save."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Take back what was saved."""


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

    def state_dict(self) -> dict[str, Tensor]:
        """The averaged weights."""
        return self.tensors

    def load_state_dict(self, state_dict: dict[str, Tensor], /) -> None:
        """Take back averaged weights."""
        for key, value in self.tensors.items():
            value.copy_(state_dict[key])


class TrainedPart:
    """The trained parameters and the buffers of a module; frozen backbones stay out of the file."""

    def __init__(self, module: nn.Module, trained: Mapping[str, Tensor]) -> None:
        self.module = module
        buffers = {name for name, _ in module.named_buffers()} & module.state_dict().keys()
        self.names = trained.keys() | buffers

    def state_dict(self) -> dict[str, Tensor]:
        """The part to save."""
        return {k: v for k, v in self.module.state_dict().items() if k in self.names}

    def load_state_dict(self, state_dict: dict[str, Tensor], /) -> None:
        """Take back a saved part.

        Raises:
            RuntimeError: It is another module's.
        """
        if state_dict.keys() != self.names:
            wrong = sorted(state_dict.keys() ^ self.names)
            raise RuntimeError(f"other tensors than this module's, such as {wrong[0]}")
        self.module.load_state_dict(state_dict, strict=False)


def prepare_run_folder(folder: Path, *, resume: bool) -> None:
    """Create a run's folder; an earlier run in it is not overwritten.

    Raises:
        OutputExistsError: It holds a run and this one does not resume it.
        CheckpointError: It holds none, and this one would resume it.
        OutputNotWritableError: It cannot be created.
    """
    if resume and not (folder / STATE_FILE).is_file():
        raise CheckpointError(f"nothing to resume in '{folder}': no {STATE_FILE} there")
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
    folder: Path, parts: Mapping[str, Stateful], state: RunState, recipe: Mapping[str, Any]
) -> None:
    """Write the run's state atomically.

    Args:
        folder: The run's.
        parts: What to save, by name.
        state: Progress.
        recipe: Plain values that say how the run is made.

    Raises:
        OutputNotWritableError: The disk is full or not writable; the previous state stays.
    """
    saved = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "step": state.step,
        "seconds": state.seconds,
        "recipe": dict(recipe),
    }

    def write(part: Path) -> None:
        # Through a Python file: torch's own writer hides why a write failed.
        with part.open("wb") as file:
            torch.save(saved, file)

    replace_file(folder / STATE_FILE, write, also=(RuntimeError,))


def load_state(folder: Path, parts: Mapping[str, Stateful]) -> tuple[RunState, dict[str, Any]]:
    """Read the state `save_state` wrote into the given parts.

    Returns:
        The progress, and the recipe the run was made by.

    Raises:
        CheckpointError: It belongs to another network or stage, or is damaged.
    """
    path = folder / STATE_FILE
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress = RunState(step=int(saved["step"]), seconds=float(saved["seconds"]))
        recipe = dict(saved["recipe"])
        if saved["parts"].keys() != parts.keys():
            raise ValueError(f"it holds {', '.join(saved['parts'])}, expected {', '.join(parts)}")
        for name, part in parts.items():
            part.load_state_dict(saved["parts"][name])
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(
            f"'{path}' does not fit this config: {first}; resume with the config the run began with"
        ) from error
    return progress, recipe
