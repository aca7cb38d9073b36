"""A network as graphs with a bundle's I/O contract: what the exporter traces.

A causal network is one stream graph: uint8 frame and state in, uint8 frame and state out. Any
other is two: the clip graph from uint8 frames to features, and the decoder graph from one frame's
features to its uint8 picture, so that memory for pictures does not grow with the clip.

Normalisation, layout, clamping and rounding are inside the graphs, so that no runtime does them on
the host and all backends share them. The first and last node of the picture's path is a Cast, which
TensorRT requires for uint8.

    model = stream_graph(network)
"""

from __future__ import annotations

import copy
from typing import Any

import onnx_ir
import torch
from torch import Tensor, nn

from ...errors import ConfigError
from ...model import AdcVsr
from ...model.decoder import PixelShuffleDecoder, VaeDecoder
from ...model.temporal import StateFlow
from .onnx_file import trace

INPUT_NAME, OUTPUT_NAME = "frame", "upscaled"
CLIP_NAME, FEATURES_NAME = "clip", "features"

TO_COLOURS, FROM_COLOURS = "adopted/in/Colours", "adopted/out/Colours"
"""Of adopted networks that take and give YUV: the convolutions that turn RGB into it and back."""

LEVELS = 127.5
"""[-1, 1] to levels: x * 127.5 + 127.5."""

LEVELS_NODE = "decoder.conv_out/Conv"
"""The node whose output is the picture in levels plus one half, packed, before clamping."""

EXAMPLE_UNITS = (4, 5)
"""Rows and columns of the traced example, in units of the network's size multiple: unequal, so that
neither is taken for the other."""

EXAMPLE_FRAMES = 3
"""Frames of the traced example clip; another number than any channel count beside it."""


class StreamGraph(nn.Module):
    """One causal step.

    Args:
        network: A causal network; shared, except for the decoder's last convolution.
    """

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        if not network.config.causal:
            raise ConfigError(
                f"'{network.config.name}' is not causal and has no stream graph; "
                "set causal=True in its config"
            )
        self.network = _in_levels(network)
        self.state_names = list(network.state_divisors())

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one frame.

        Args:
            frame: (1, H, W, 3) uint8 RGB.
            state: One tensor (1, C, H/div, W/div) a temporal convolution, in `state_names` order.

        Returns:
            The x4 frame (1, 4H, 4W, 3) uint8, then the next state in the same order.
        """
        flow = StateFlow(1, dict(zip(self.state_names, state, strict=True)))
        packed = self.network.forward_packed(_signed_from_bytes(frame), flow)
        picture = _bytes_from_packed(packed, self.network.decoder.pack_factor)
        return (picture, *(flow.next[name] for name in self.state_names))


class ClipGraph(nn.Module):
    """A clip up to the features: all that couples frames."""

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        """Map (T, H, W, 3) uint8 RGB to (T, C, H/div, W/div)."""
        return self.network.features(_signed_from_bytes(clip), StateFlow(clip.shape[0]))


class DecoderGraph(nn.Module):
    """One frame's features to its picture."""

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        # Held inside a network, so that nodes are named as in the other graphs.
        self.network = _in_levels(network)

    def forward(self, features: Tensor) -> Tensor:
        """Map (1, C, H/div, W/div) to (1, 4H, 4W, 3) uint8 RGB."""
        decoder = self.network.decoder
        return _bytes_from_packed(decoder(features), decoder.pack_factor)


def stream_graph(network: AdcVsr) -> onnx_ir.Model:
    """Trace a causal network's stream graph, with dynamic height and width.

    Raises:
        ConfigError: The network is not causal.
    """
    module = StreamGraph(network)
    height, width = _example_size(network)
    shapes = network.state_shapes(height, width)
    state = tuple(torch.zeros(1, *shapes[name]) for name in module.state_names)
    multiple = network.config.size_multiple
    divisors = [network.state_divisors()[name][1] for name in module.state_names]
    return trace(
        module,
        (torch.zeros(1, height, width, 3, dtype=torch.uint8), *state),
        (_sizes(1, multiple), tuple(_sizes(2, multiple // div) for div in divisors)),
        inputs=[INPUT_NAME, *module.state_names],
        outputs=[OUTPUT_NAME, *(f"{name}_next" for name in module.state_names)],
    )


def clip_graph(network: AdcVsr) -> onnx_ir.Model:
    """Trace the clip graph, with dynamic frames, height and width."""
    height, width = _example_size(network)
    frames = torch.export.Dim("frames", min=2, max=1 << 14)
    return trace(
        ClipGraph(network),
        (torch.zeros(EXAMPLE_FRAMES, height, width, 3, dtype=torch.uint8),),
        ({0: frames, **_sizes(1, network.config.size_multiple)},),
        inputs=[CLIP_NAME],
        outputs=[FEATURES_NAME],
    )


def decoder_graph(network: AdcVsr) -> onnx_ir.Model:
    """Trace the decoder graph, with dynamic height and width."""
    height, width = _example_size(network)
    divisor = network.config.unshuffle
    shape = (1, network.feature_channels, height // divisor, width // divisor)
    return trace(
        DecoderGraph(network),
        (torch.zeros(shape),),
        (_sizes(2, network.config.size_multiple // divisor),),
        inputs=[FEATURES_NAME],
        outputs=[OUTPUT_NAME],
    )


def _example_size(network: AdcVsr) -> tuple[int, int]:
    rows, columns = EXAMPLE_UNITS
    # The light networks' traced example keeps some room around every kernel.
    unit = max(network.config.size_multiple, 8)
    return rows * unit, columns * unit


def _sizes(axis: int, factor: int) -> dict[int, Any]:
    """Dynamic height and width from `axis` on, as multiples, so that divisions are exact."""
    rows = torch.export.Dim("rows", min=2, max=1 << 14)
    columns = torch.export.Dim("columns", min=2, max=1 << 14)
    return {axis: factor * rows, axis + 1: factor * columns}


def _in_levels(network: AdcVsr) -> AdcVsr:
    """The network with a decoder whose last convolution gives levels; all else is shared.

    No full-resolution scaling is needed afterwards, and the extra half makes the final truncation
    round to nearest.
    """
    decoder = _shallow(network.decoder)
    assert isinstance(decoder, PixelShuffleDecoder | VaeDecoder)
    decoder.conv_out = copy.deepcopy(decoder.conv_out).requires_grad_(False)
    assert decoder.conv_out.bias is not None
    decoder.conv_out.weight.mul_(LEVELS)
    decoder.conv_out.bias.mul_(LEVELS).add_(LEVELS + 0.5)
    twin = _shallow(network)
    assert isinstance(twin, AdcVsr)
    twin.decoder = decoder
    return twin


def _shallow(module: nn.Module) -> nn.Module:
    """A module of its own that holds the same children."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    return twin


def _signed_from_bytes(frames: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 to (N, 3, H, W) in [-1, 1]."""
    return frames.float().permute(0, 3, 1, 2) * (1 / LEVELS) - 1.0


def _bytes_from_packed(packed: Tensor, factor: int) -> Tensor:
    """Clamp, rearrange to NHWC in blocks of a pixel row, truncate to uint8.

    Args:
        packed: (1, 3*s*s, h, w) levels plus one half.
        factor: s.

    Returns:
        (1, h*s, w*s, 3) uint8.
    """
    _, _, h, w = packed.shape
    rows = packed.clamp(0.0, 255.5).permute(0, 2, 3, 1)  # (1, h, w, s*s*3)
    if factor > 1:
        # Block order (row, column, colour): s*3 consecutive values are s neighbouring pixels. The
        # batch axis stays: without it TensorRT-RTX takes two kernels (docs/decisions.md).
        rows = rows.reshape(1, h, w, factor, factor * 3).permute(0, 1, 3, 2, 4)
        rows = rows.reshape(1, h * factor, w * factor, 3)
    return rows.to(torch.uint8)
