"""Checkpoints: one safetensors file with the config and provenance in its metadata.

Written atomically (beside the final name, then renamed), so a file that exists is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import AdcVsrConfig
from ..errors import CheckpointError, ConfigError, missing_package
from ..files import replace_file
from ..given import CHECKPOINT, mistaken
from ..reading import parse_json
from .network import AdcVsr

_METADATA_KEY = "adcvsr"
_LISTED_KEYS = 10
"""How many wrong tensors an error names; a wrong file has hundreds."""


def save_checkpoint(
    path: str | Path,
    network: AdcVsr,
    *,
    provenance: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a network's weights with its config and where they come from.

    Args:
        path: File to write, `.safetensors`.
        network: Gives the config, and the weights unless `tensors` does.
        provenance: JSON-ready facts that travel on into bundles: training recipe, data, licences.
        tensors: Weights to write instead of the network's own, such as their moving average.

    Raises:
        OutputNotWritableError: The disk is full or not writable; an earlier checkpoint stays.
    """
    save_file = _safetensors("save_file")
    weights = {
        key: value.detach().cpu().contiguous()
        for key, value in (tensors or network.state_dict()).items()
    }
    header = {"config": network.config.to_dict(), "provenance": dict(provenance)}
    metadata = {_METADATA_KEY: json.dumps(header, sort_keys=True)}
    replace_file(
        Path(path),
        lambda part: save_file(weights, part, metadata=metadata),
        also=(_safetensors("SafetensorError"),),
    )


def load_checkpoint(path: str | Path) -> tuple[AdcVsr, dict[str, Any]]:
    """Build the network a checkpoint describes and load its weights.

    Args:
        path: A file `save_checkpoint` wrote.

    Returns:
        The network in evaluation mode on the CPU, and the provenance.

    Raises:
        CheckpointError: The file is missing, is not an adcvsr checkpoint, or its tensors do not fit
            its config (the first ten are named with expected and found shapes).
    """
    safe_open = _safetensors("safe_open")
    path = Path(path)
    if wrong := mistaken(path, CHECKPOINT):
        raise CheckpointError(f"'{path}' is not a checkpoint{wrong}")
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at '{path}'; expected a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own untyped exception
        raise CheckpointError(f"'{path}' is not a readable safetensors file: {error}") from error
    if _METADATA_KEY not in metadata:
        raise CheckpointError(
            f"'{path}' holds tensors but no adcvsr config; expected a checkpoint written by "
            "'adcvsr train'"
        )
    source = f"'{path}': its metadata"
    header = parse_json(metadata[_METADATA_KEY], source=source, error=CheckpointError)
    try:
        config = AdcVsrConfig.from_dict(header["config"].mapping())
    except ConfigError as error:
        raise CheckpointError(f"'{path}': {error}") from error
    provenance = header["provenance"].mapping()
    if (licences := header["provenance"].get("licences")) is not None:
        for licence in licences.items():
            licence.text()
    with torch.device("meta"):  # shapes first: a config may describe what fits no memory
        expected = AdcVsr(config).state_dict()
    check_tensors(tensors, expected, source=str(path))
    network = AdcVsr(config)
    network.load_state_dict(tensors)
    return network.eval(), provenance


def check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, source: str
) -> None:
    """Compare names and shapes, and name the first ten that are wrong.

    Raises:
        CheckpointError: A tensor is missing, surplus or of another shape.
    """
    wrong = [
        f"{key}: expected {list(expected[key].shape) if key in expected else 'no such tensor'}, "
        f"found {list(found[key].shape) if key in found else 'nothing'}"
        for key in sorted(expected.keys() | found.keys())
        if key not in found or key not in expected or found[key].shape != expected[key].shape
    ]
    if wrong:
        listed = "; ".join(wrong[:_LISTED_KEYS])
        more = f"; and {len(wrong) - _LISTED_KEYS} more" if len(wrong) > _LISTED_KEYS else ""
        raise CheckpointError(f"'{source}' does not fit its network: {listed}{more}")


def _safetensors(name: str) -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise missing_package("safetensors", "train", "reading and writing checkpoints") from error
    return getattr(safetensors.torch, name, None) or getattr(safetensors, name)
