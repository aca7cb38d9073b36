"""Network configs: presets, round trip, and values that make no sense."""

from __future__ import annotations

import dataclasses
import json

import pytest

from adcvsr.config import PRESETS, AdcVsrConfig, preset
from adcvsr.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    config = PRESETS[name]
    assert AdcVsrConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_size_multiple() -> None:
    assert PRESETS["nano"].size_multiple == 1
    assert PRESETS["paper"].size_multiple == 16  # unshuffle 2 times three halvings


@pytest.mark.parametrize("name", ["small", "base"])
def test_widths_suit_tensor_cores(name: str) -> None:
    """INT8 tensor cores work on 32 channels at a time and pad others."""
    assert all(width % 32 == 0 for width in PRESETS[name].widths)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unshuffle": 3}, "unshuffle=3, expected 1, 2 or 4"),
        ({"down_blocks": (1, 2)}, "down_blocks"),
        ({"temporal_kernel": 1}, "temporal_kernel"),
        ({"causal": False}, "odd when the network is not causal"),
        ({"attention_levels": (0,)}, "attention_heads"),
        ({"decoder": "vae"}, "decoder_widths"),
        ({"skip": "concat"}, "up_blocks"),
    ],
)
def test_impossible_values(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(PRESETS["nano"], **change)  # type: ignore[arg-type]


def test_unknown_key_names_the_nearest() -> None:
    values = {**PRESETS["nano"].to_dict(), "width": [16]}
    with pytest.raises(ConfigError, match="unknown key 'width', did you mean 'widths'"):
        AdcVsrConfig.from_dict(values)


def test_missing_key() -> None:
    values = PRESETS["nano"].to_dict()
    del values["widths"]
    with pytest.raises(ConfigError, match="missing widths"):
        AdcVsrConfig.from_dict(values)


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="no preset 'nanno', did you mean 'nano'"):
        preset("nanno")
