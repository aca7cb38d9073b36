"""Where a stage starts: a checkpoint of the stage before, or a new network.

start = open_start(settings, Path("runs/distill/checkpoint.safetensors"))
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from ..config import AdcVsrConfig
from ..errors import CheckpointError, ConfigError
from ..files import add_to_hash
from ..given import CHECKPOINT, mistaken
from ..model import AdcVsr, load_checkpoint
from .settings import StageSettings

CHECKPOINT_FOLDER = Path(__file__).parent / "checkpoints"
"""Checkpoints of the package; `--start-from nano` means `nano.safetensors` here."""


@dataclass(frozen=True)
class Start:
    """A student before its first step."""

    network: AdcVsr
    """In training mode."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """That of the checkpoint; empty for a new network."""


def find_start(given: Path) -> Path:
    """The file a checkpoint's name or path means.

    Raises:
        CheckpointError: There is neither such a file nor a checkpoint of that name.
    """
    named = CHECKPOINT_FOLDER / f"{given}.safetensors"
    for path in (given, named):
        if path.is_file():
            return path
    if wrong := mistaken(given, CHECKPOINT):
        raise CheckpointError(f"'{given}' is not a checkpoint{wrong}")
    known = ", ".join(sorted(path.stem for path in CHECKPOINT_FOLDER.glob("*.safetensors")))
    raise CheckpointError(
        f"no checkpoint '{given}'; expected a .safetensors file that 'adcvsr train' or 'adcvsr "
        f"import' wrote, or one of: {known}"
    )


def open_start(
    settings: StageSettings, checkpoint: Path | None, report: Callable[[str], None]
) -> Start:
    """Load the student a stage starts from, or build it as an interpolation.

    The caller seeds torch before: a new network's weights are drawn here. `report` is told what was
    taken from a checkpoint of another network.

    Raises:
        ConfigError: The recipe names no network and there is no checkpoint, names another one, or
            its crops do not fit the network.
        CheckpointError: The checkpoint cannot be read.
    """
    if checkpoint is not None:
        network, provenance = load_checkpoint(checkpoint)
        if settings.start_partly and settings.network is not None:
            network, said = _take_over(network, settings.network)
            report(f"from '{checkpoint}': {said}")
        _check_same(settings.network, network.config, checkpoint)
        start = Start(network.train(), provenance)
    elif settings.network is not None:
        network = AdcVsr(settings.network)
        network.start_as_interpolation()
        start = Start(network)
    else:
        raise ConfigError(
            "'network' is missing in the recipe; expected a preset's name or a table there, or a "
            "checkpoint to start from (--start-from)"
        )
    multiple = start.network.config.size_multiple
    if settings.data.patch_px % multiple:
        raise ConfigError(
            f"data.patch_px={settings.data.patch_px}, expected a multiple of {multiple} for "
            f"'{start.network.config.name}'"
        )
    return start


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files and their names.

    Raises:
        CheckpointError: There is nothing.
    """
    if not path.exists():
        raise CheckpointError(f"no file or folder '{path}'")
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        if path.is_dir():
            total.update(str(file.relative_to(path)).encode())
        add_to_hash(total, file)
    return total.hexdigest()


def _check_same(wanted: AdcVsrConfig | None, found: AdcVsrConfig, checkpoint: Path) -> None:
    """A recipe's network and a checkpoint's differ in name alone."""
    if wanted is None:
        return
    theirs = dataclasses.asdict(found)
    differ = [
        f"{key}={value!r} in the recipe, {theirs[key]!r} in the checkpoint"
        for key, value in dataclasses.asdict(wanted).items()
        if key != "name" and value != theirs[key]
    ]
    if differ:
        raise ConfigError(
            f"'{checkpoint}' holds another network than the recipe: {'; '.join(differ)}; leave "
            "'network' out of the recipe to take the checkpoint's, or set start_partly = true to "
            "take what fits"
        )


def _take_over(found: AdcVsr, config: AdcVsrConfig) -> tuple[AdcVsr, str]:
    """A network of another config with what fits of a checkpoint's, and what was done in words."""
    network = AdcVsr(config)
    network.start_as_interpolation()
    wanted, theirs = network.state_dict(), found.state_dict()
    taken = {
        name: fit_tensor(theirs[name], tensor) for name, tensor in wanted.items() if name in theirs
    }
    fitting = {name: tensor for name, tensor in taken.items() if tensor is not None}
    grown = sum(theirs[name].shape != tensor.shape for name, tensor in fitting.items())
    network.load_state_dict({**wanted, **fitting})
    left = sorted(wanted.keys() - fitting.keys())
    said = f"{len(fitting)} of {len(wanted)} tensors taken over, {grown} of them enlarged"
    return network, said + (f"; new: {', '.join(left)}" if left else "")


def fit_tensor(tensor: Tensor, like: Tensor) -> Tensor | None:
    """A tensor of the wanted shape: its own, or a convolution's with zeros around its kernel."""
    if tensor.shape == like.shape:
        return tensor
    if tensor.ndim != 4 or tensor.shape[:2] != like.shape[:2]:
        return None
    rows, columns = (of - is_ for of, is_ in zip(like.shape[2:], tensor.shape[2:], strict=True))
    if min(rows, columns) < 0 or rows % 2 or columns % 2:
        return None
    return F.pad(tensor, (columns // 2, columns // 2, rows // 2, rows // 2))
