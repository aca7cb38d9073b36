"""Where a stage starts: a checkpoint of the stage before, or a new network.

start = open_start(settings, Path("runs/distill/checkpoint.safetensors"))
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import AdcVsrConfig
from ..errors import CheckpointError, ConfigError
from ..model import AdcVsr, load_checkpoint
from .settings import StageSettings


@dataclass(frozen=True)
class Start:
    """A student before its first step."""

    network: AdcVsr
    """In training mode."""

    provenance: dict[str, Any] = field(default_factory=dict)
    """That of the checkpoint; empty for a new network."""


def open_start(settings: StageSettings, checkpoint: Path | None) -> Start:
    """Load the student a stage starts from, or build it as an interpolation.

    The caller seeds torch before: a new network's weights are drawn here.

    Raises:
        ConfigError: The recipe names no network and there is no checkpoint, names another one, or
            its crops do not fit the network.
        CheckpointError: The checkpoint cannot be read.
    """
    if checkpoint is not None:
        network, provenance = load_checkpoint(checkpoint)
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
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                total.update(block)
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
            "'network' out of the recipe to take the checkpoint's"
        )
