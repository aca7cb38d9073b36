"""The grid of a pixel shuffle, and its removal from a trained network.

The decoder makes the sixteen output pixels of an input's pixel with weights of their own. Losses on
photographs hold them together only roughly: flat walls and skies may carry a pattern of four
pixels, a level high (docs/decisions.md, "A grid on flat walls").

    before, after = remove_grid(network)

What each of the pixels adds to the mean of the sixteen on flat pictures is a function of the
features there, nearly a linear one. It is fitted over flat colours by ridge regression and taken
off the middle of the last convolution's kernel and off its bias. Edges and texture change by as
much as that pattern had put on them.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from ..errors import ConfigError
from ..graph.receptive import spatial_radius
from ..model import AdcVsr
from ..model.decoder import PixelShuffleDecoder
from ..model.temporal import StateFlow

LEVELS_A_CHANNEL = 6
"""Of the flat colours, as evenly apart as web colours: 216 in all."""

FRAMES = 4
"""Of each flat clip; the last one is looked at, whose past is flat, too."""

RIDGE = 1e-4
"""Share of the features' mean square that keeps the change of weights small."""


@torch.no_grad()
def remove_grid(network: AdcVsr) -> tuple[float, float]:
    """Change the last convolution so that flat pictures come out flat.

    Args:
        network: A causal one with a pixel-shuffle decoder; changed in place.

    Returns:
        How far the pixels of one position are apart at most over flat colours, in levels of 0 to
        255: before, and afterwards.

    Raises:
        ConfigError: The network has another decoder, is not causal, or sees the whole frame.
    """
    radius = spatial_radius(network.config)
    decoder = network.decoder
    if not isinstance(decoder, PixelShuffleDecoder) or not network.config.causal or radius is None:
        raise ConfigError(
            f"'{network.config.name}' has no grid to remove: expected a causal network with a "
            "pixel-shuffle decoder and without attention"
        )
    features, packed = _flat(network, decoder, radius)
    ones = torch.ones(len(features), 1, dtype=features.dtype)
    known = torch.cat([features, ones], 1)
    places = decoder.pack_factor**2
    pixels = packed.view(-1, places, 3)
    pattern = (pixels - pixels.mean(1, keepdim=True)).flatten(1)
    moment = known.T @ known / len(known)
    moment += RIDGE * moment.diagonal().mean() * torch.eye(len(moment), dtype=moment.dtype)
    change = torch.linalg.solve(moment, known.T @ pattern / len(known))
    convolution = decoder.conv_out
    assert convolution.bias is not None
    convolution.weight[:, :, 1, 1] -= change[:-1].T.to(convolution.weight)
    convolution.bias -= change[-1].to(convolution.bias)
    left = (packed - known @ change).view(-1, places, 3)
    return _height(pixels), _height(left)


def _flat(network: AdcVsr, decoder: PixelShuffleDecoder, radius: int) -> tuple[Tensor, Tensor]:
    """Features (N, C) and packed pixels (N, 3*s*s) in the middle of N flat clips, in float64."""
    multiple = network.config.size_multiple
    side = -(-(2 * radius + 1) // multiple) * multiple
    levels = torch.linspace(-1, 1, LEVELS_A_CHANNEL)
    features, packed = [], []
    for colour in product(levels, repeat=3):
        frames = torch.stack(colour).view(1, 3, 1, 1).expand(FRAMES, 3, side, side)
        last = network.features(frames, StateFlow(FRAMES))[-1:]
        middle = last.shape[-1] // 2
        near = last[..., middle - 1 : middle + 2, middle - 1 : middle + 2]
        features.append(near[0, :, 1, 1])
        packed.append(decoder(near)[0, :, 1, 1])
    return torch.stack(features).double(), torch.stack(packed).double()


def _height(pixels: Tensor) -> float:
    """The largest distance between pixels (N, s*s, 3) of one position, in levels."""
    return float((pixels.amax(1) - pixels.amin(1)).max()) * 127.5
