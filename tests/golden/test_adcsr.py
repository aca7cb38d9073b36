"""The published 2D network against stored vectors: weights by rule, output to float16 rounding."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.model import AdcVsr
from published_files import published_key

STILL = dataclasses.replace(PRESETS["paper"], temporal_sites=())
SMALL = dataclasses.replace(
    STILL, widths=(12, 24, 48, 48), attention_heads=(1, 2, 4, 4), decoder_widths=(4, 8, 16, 256)
)
"""Every part of the published network, thin; the link has 256 channels as there."""

MAX_ERROR, MEAN_ERROR = 5e-3, 5e-4


def value_by_rule(key: str, shape: torch.Size) -> np.ndarray:
    """The weight the vectors were made with: drawn from a generator seeded by the key."""
    draw = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if key.endswith("bias"):
        return 0.02 * draw
    if len(shape) == 1:
        return 1 + 0.1 * draw
    return draw / np.sqrt(np.prod(shape[1:]), dtype=np.float32)


def network_by_rule(config: AdcVsrConfig) -> AdcVsr:
    with torch.device("meta"):
        network = AdcVsr(config)
    network = network.to_empty(device="cpu").eval()
    for key, tensor in network.state_dict().items():
        tensor.copy_(torch.from_numpy(value_by_rule(published_key(key), tensor.shape)))
    return network


def match_colours(upscaled: torch.Tensor, low: torch.Tensor) -> torch.Tensor:
    """The colour match of AdcSR's public test script (Guaishou74851/AdcSR, test.py).

    Each upscaled image gets, channel by channel, the input's mean and standard deviation.
    """
    axes = (2, 3)
    scale = low.std(axes, keepdim=True) / upscaled.std(axes, keepdim=True)
    return (upscaled - upscaled.mean(axes, keepdim=True)) * scale + low.mean(axes, keepdim=True)


def assert_reproduced(config: AdcVsrConfig, path: Path) -> None:
    """Raw output and output matched to the input's colours, both as stored."""
    with np.load(path) as golden:
        low = torch.from_numpy(golden["lr"])  # (1, 3, H, W)
        raw, matched = (golden[key].astype(np.float32) for key in ("sr", "sr_matched"))
    found = network_by_rule(config)(low[None])[0][0]
    for output, expected in ((found, raw), (match_colours(found, low), matched)):
        difference = np.abs(output.numpy() - expected)
        assert difference.max() < MAX_ERROR
        assert difference.mean() < MEAN_ERROR
    assert np.abs(raw - matched).max() > 10 * MAX_ERROR  # the match does something


@pytest.mark.slow
@pytest.mark.golden
@torch.no_grad()
def test_the_published_network(data: Path) -> None:
    """456 M parameters, about 20 s and 4 GB on two cores."""
    vectors = data.parent / "golden" / "adcsr_64x64.npz"
    if not vectors.is_file():
        pytest.skip(f"no golden vectors at '{vectors}'")
    assert_reproduced(STILL, vectors)


@pytest.mark.golden
@torch.no_grad()
def test_a_thin_one_in_every_run() -> None:
    """Vectors of this project's network, written while the published one above held."""
    assert_reproduced(SMALL, Path(__file__).with_name("adcsr_thin_16x16.npz"))
