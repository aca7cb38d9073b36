"""The stream graph: uint8 NHWC frame and state in, uint8 NHWC frame and state out.

Normalisation, layout, clamping and rounding are inside the graph, so that no runtime does them on
the host and all backends share them. The first and last node of the picture's path is a Cast, which
TensorRT requires for uint8.
"""

from __future__ import annotations

import copy
import re
import warnings
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..model import AdcVsr
from ..model.decoder import unpack_frames
from ..model.temporal import StateFlow

OPSET = 20
"""ONNX opset; 21's GroupNormalization failed in TensorRT 10.7."""

INPUT_NAME, OUTPUT_NAME = "frame", "upscaled"

_LEVELS = 127.5
"""[-1, 1] to levels: x * 127.5 + 127.5."""

_EXAMPLE_PX = 32
"""Size of the example input, in multiples of the network's size multiple."""


class StreamGraph(nn.Module):
    """One causal step with the I/O contract of a bundle; what the exporter traces.

    Args:
        network: A causal network; copied, as the last convolution's weights are scaled to levels.
        float_output: Give the picture as float32 NCHW in [-1, 1], not clamped, for parity checks.
    """

    def __init__(self, network: AdcVsr, *, float_output: bool = False) -> None:
        super().__init__()
        if not network.config.causal:
            raise ConfigError(
                f"'{network.config.name}' is not causal and has no stream graph; "
                "set causal=True in its config"
            )
        self.float_output = float_output
        self.network = copy.deepcopy(network).eval()
        self.state_names = list(network.state_divisors())
        if not float_output:
            # Levels come out of the convolution itself: no full-resolution scaling afterwards. The
            # extra half makes the final truncation round to nearest.
            last = self.network.decoder.conv_out
            assert last.bias is not None
            last.weight.data.mul_(_LEVELS)
            last.bias.data.mul_(_LEVELS).add_(_LEVELS + 0.5)

    def forward(self, frame: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Run one frame.

        Args:
            frame: (1, H, W, 3) uint8 RGB.
            state: One tensor (1, C, H/div, W/div) a temporal convolution, in `state_names` order.

        Returns:
            The x4 frame (1, 4H, 4W, 3) uint8, then the next state in the same order.
        """
        flow = StateFlow(1, dict(zip(self.state_names, state, strict=True)))
        signed = frame.float().permute(0, 3, 1, 2) * (1 / _LEVELS) - 1.0
        packed = self.network.forward_packed(signed, flow)
        factor = self.network.decoder.pack_factor
        if self.float_output:
            picture = unpack_frames(packed, factor)
        else:
            picture = _bytes_from_packed(packed, factor)
        return (picture, *(flow.next[name] for name in self.state_names))


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
        # Block order (row, column, colour): s*3 consecutive values are s neighbouring pixels.
        rows = rows.reshape(h, w, factor, factor * 3).permute(0, 2, 1, 3)
        rows = rows.reshape(1, h * factor, w * factor, 3)
    return rows.to(torch.uint8)


def stream_graph(network: AdcVsr, *, float_output: bool = False) -> onnx.ModelProto:
    """Export a causal network's stream graph with dynamic height and width.

    Args:
        network: Causal.
        float_output: See `StreamGraph`.

    Returns:
        A checked ONNX model: readable node names, no exporter metadata.

    Raises:
        ConfigError: The network is not causal.
    """
    module = StreamGraph(network, float_output=float_output).eval()
    multiple = network.config.size_multiple
    height, width = _EXAMPLE_PX * multiple, (_EXAMPLE_PX + 8) * multiple
    frame = torch.zeros(1, height, width, 3, dtype=torch.uint8)
    shapes = network.state_shapes(height, width)
    state = tuple(torch.zeros(1, *shapes[name]) for name in module.state_names)

    # Dimensions are declared in units of the size multiple, so that every division is exact.
    rows = torch.export.Dim("rows", min=2, max=1 << 14)
    columns = torch.export.Dim("columns", min=2, max=1 << 14)
    divisors = [network.state_divisors()[name][1] for name in module.state_names]
    dynamic = (
        {1: multiple * rows, 2: multiple * columns},
        tuple({2: multiple // d * rows, 3: multiple // d * columns} for d in divisors),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations; nothing of ours
        program = torch.onnx.export(
            module,
            (frame, *state),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic,
            input_names=[INPUT_NAME, *module.state_names],
            output_names=[OUTPUT_NAME, *(f"{name}_next" for name in module.state_names)],
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _clean(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def _clean(model: onnx.ModelProto) -> None:
    """Name nodes after modules and strip the exporter's metadata (it holds absolute paths)."""
    graph = model.graph
    taken: set[str] = set()
    for node in graph.node:
        scope = {entry.key: entry.value for entry in node.metadata_props}
        node.name = _unique(_scope_name(scope.get("pkg.torch.onnx.name_scopes", ""), node), taken)
        node.doc_string = ""
        del node.metadata_props[:]
    holders: list[Any] = [model, graph, *graph.input, *graph.output, *graph.value_info]
    for holder in [*holders, *graph.initializer]:
        del holder.metadata_props[:]
        holder.doc_string = ""
    model.producer_name, model.producer_version = "adcvsr", ""
    graph.name = "adcvsr"


def _scope_name(scopes: str, node: onnx.NodeProto) -> str:
    """`unet.down_blocks.0.resnets.0.conv1/Conv` from the exporter's list of scopes."""
    paths = re.findall(r"'([^']*)'", scopes)
    modules = [path for path in paths[:-1] if path and not path.startswith("_")]
    module = modules[-1].removeprefix("network.") if modules else ""
    return f"{module}/{node.op_type}" if module else node.op_type


def _unique(name: str, taken: set[str]) -> str:
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
