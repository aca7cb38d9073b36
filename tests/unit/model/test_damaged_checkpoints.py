"""Checkpoints with damage end in an error that says so, whatever the bytes happen to mean."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from adcvsr.config import PRESETS
from adcvsr.errors import CheckpointError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.model.published import read_tensors
from tiny_configs import CAUSAL_ADD


def damaged(data: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    changed = bytearray(data)
    for _ in range(4):
        changed[rng.randrange(min(len(data), 400))] ^= 1 << rng.randrange(8)
    return bytes(changed[: rng.choice((len(data), rng.randrange(len(data))))])


@pytest.mark.parametrize("suffix", ["pkl", "safetensors"])
def test_flipped_and_cut_files(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole.{suffix}"
    if suffix == "pkl":
        old = False  # the older format, a bare pickle, whose damage is the richer one
        tensors = {"a.weight": torch.zeros(3)}
        torch.save(tensors, whole, _use_new_zipfile_serialization=old)
        read = read_tensors
    else:
        save_checkpoint(whole, AdcVsr(CAUSAL_ADD), provenance={})
        read = load_checkpoint  # type: ignore[assignment]
    refused = 0
    for seed in range(60):
        file = tmp_path / f"damaged.{suffix}"
        file.write_bytes(damaged(whole.read_bytes(), seed))
        try:
            read(file)
        except CheckpointError:
            refused += 1
    assert refused > 30


def test_a_config_of_a_network_that_fits_no_memory(tmp_path: Path) -> None:
    """Shapes are compared before the network is built."""
    huge = {**PRESETS["nano"].to_dict(), "widths": [16384], "down_blocks": [200]}
    header = {"config": huge, "provenance": {}}
    text = json.dumps({"__metadata__": {"adcvsr": json.dumps(header)}}).encode()
    file = tmp_path / "huge.safetensors"
    file.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="does not fit its network"):
        load_checkpoint(file)
