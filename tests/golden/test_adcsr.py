"""The published 2D network against stored vectors: weights by rule, output to float16 rounding."""

from __future__ import annotations

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from adcvsr.config import PRESETS
from adcvsr.model import AdcVsr


def published_key(key: str) -> str:
    """Name of a tensor in AdcSR's checkpoints."""
    if key.startswith("unet."):
        return key.replace("unet.", "body.1.", 1)
    return key.replace("decoder.mid_block.", "body.2.", 1)


def value_by_rule(key: str, shape: torch.Size) -> np.ndarray:
    """The weight the vectors were made with: drawn from a generator seeded by the key."""
    draw = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if key.endswith("bias"):
        return 0.02 * draw
    if len(shape) == 1:
        return 1 + 0.1 * draw
    return draw / np.sqrt(np.prod(shape[1:]), dtype=np.float32)


@pytest.mark.slow
@pytest.mark.golden
@torch.no_grad()
def test_the_published_network(data: Path) -> None:
    """456 M parameters, about 20 s and 4 GB on two cores."""
    vectors = data.parent / "golden" / "adcsr_64x64.npz"
    if not vectors.is_file():
        pytest.skip(f"no golden vectors at '{vectors}'")
    with torch.device("meta"):
        network = AdcVsr(dataclasses.replace(PRESETS["paper"], temporal_sites=()))
    network = network.to_empty(device="cpu").eval()
    for key, tensor in network.state_dict().items():
        tensor.copy_(torch.from_numpy(value_by_rule(published_key(key), tensor.shape)))
    with np.load(vectors) as golden:
        clip = torch.from_numpy(golden["lr"])[None]  # (1, T=1, 3, 64, 64)
        expected = golden["sr"].astype(np.float32)
    difference = np.abs(network(clip)[0][0].numpy() - expected)
    assert difference.max() < 5e-3
    assert difference.mean() < 5e-4
