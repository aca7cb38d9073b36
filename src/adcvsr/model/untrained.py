"""Weights by rule instead of training, for speed and build work before there are any others.

Every tensor is drawn from a generator seeded by its name, so that the same network comes out on any
machine and with any torch.

    network = untrained_network(preset("paper"))
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from ..config import AdcVsrConfig
from .network import AdcVsr
from .temporal import TemporalBlock, TemporalConv

TEMPORAL_GAIN = 0.1
"""Of the last convolution of a temporal block. No norm follows it, so 38 sites of gain 1 would grow
beyond what FP16 holds; a trained block is a small correction too."""


@torch.no_grad()
def untrained_network(config: AdcVsrConfig, *, seed: int = 0) -> AdcVsr:
    """Build a network with weights by rule, temporal blocks that do something included.

    Light networks interpolate (see `AdcVsr.start_as_interpolation`), VAE decoders give noise.
    Activations stay far inside FP16's range.

    Args:
        config: What to build.
        seed: Another seed gives other weights.

    Returns:
        The network in evaluation mode.
    """
    with torch.device("meta"):
        network = AdcVsr(config)
    network = network.to_empty(device="cpu").eval()
    for key, tensor in network.state_dict().items():
        tensor.copy_(_draw(key, tensor.shape, seed))
    for module in network.modules():
        if isinstance(module, TemporalConv):
            _scale(module, module.kernel**-0.5)
        elif isinstance(module, TemporalBlock):
            _scale(module.conv2 or module.conv1, TEMPORAL_GAIN)
    network.start_as_interpolation()
    return network


def _draw(key: str, shape: torch.Size, seed: int) -> Tensor:
    """Small biases, norm scales around one, weights that keep the variance."""
    generator = np.random.default_rng([seed, zlib.crc32(key.encode())])
    drawn = generator.standard_normal(tuple(shape), dtype=np.float32)
    if key.endswith("bias"):
        drawn *= 0.02
    elif len(shape) == 1:
        drawn = 1 + 0.1 * drawn
    else:
        drawn /= np.sqrt(np.prod(shape[1:]), dtype=np.float32)
    return torch.from_numpy(drawn)


def _scale(convolution: TemporalConv, gain: float) -> None:
    for tap in convolution.taps:
        assert isinstance(tap, torch.nn.Conv2d)
        tap.weight.mul_(gain)
