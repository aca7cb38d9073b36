"""Checkpoints: round trip, and files that do not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from adcvsr.config import PRESETS
from adcvsr.errors import CheckpointError
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint


def test_round_trip(tmp_path: Path) -> None:
    network = AdcVsr(PRESETS["nano"])
    save_checkpoint(tmp_path / "a.safetensors", network, provenance={"steps": 3})
    loaded, provenance = load_checkpoint(tmp_path / "a.safetensors")
    assert provenance == {"steps": 3}
    assert loaded.config == network.config
    for key, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1, "others may read it as any new file"


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "none.safetensors")


def test_not_a_checkpoint(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_checkpoint(text)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no adcvsr config"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_wrong_tensors_are_named(tmp_path: Path) -> None:
    network = AdcVsr(PRESETS["nano"])
    wider = AdcVsr(dataclasses.replace(PRESETS["nano"], widths=(32,)))
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, network, provenance={}, tensors=wider.state_dict())
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert "expected [48, 16, 3, 3], found [48, 32, 3, 3]" in message
    assert message.count("expected") == 10
    assert "and 12 more" in message
