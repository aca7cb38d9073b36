"""What is settled in a parsed network before it is compiled.

Sizes that cannot change are no longer left open, state lies as kernels want it, and no Shape reads
a uint8 tensor, which graphs exported before 29 November 2026 do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import EngineError
from ..nvidia.flavour import Flavour
from .order import EngineOrder


def settle_network(flavour: Flavour, network: Any, order: EngineOrder) -> None:
    """Settle a network's inputs for an order.

    Args:
        flavour: The compiler.
        network: Parsed, with the inputs that the manifest promises.
        order: What for; where it takes one size only, inputs get their shapes.

    Raises:
        EngineError: The graph's state is not what the manifest says.
    """
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    read_shapes_behind_casts(flavour.trt, network, inputs)
    if order.sizes.is_fixed:
        for name, shape in order.shapes(*order.sizes.best).items():
            next(tensor for tensor in inputs if tensor.name == name).shape = shape
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    _hold_in_hwc8(flavour.trt, {tensor.name: tensor for tensor in (*inputs, *outputs)}, order)


def _hold_in_hwc8(trt: Any, tensors: Mapping[str, Any], order: EngineOrder) -> None:
    for name in order.hwc8:
        tensor = tensors.get(name)
        if tensor is None or tensor.dtype != trt.DataType.HALF:
            raise EngineError(
                f"{order.describe()}: the graph has no FP16 tensor '{name}', which the manifest "
                "says; export the bundle again"
            )
        tensor.allowed_formats = 1 << int(trt.TensorFormat.HWC8)


def read_shapes_behind_casts(trt: Any, network: Any, inputs: list[Any]) -> None:
    """Let what asks for a uint8 input's shape ask for that of its Cast's output.

    TensorRT takes uint8 into a Cast alone. Where there is none the compiler says so.
    """
    frames = [tensor.name for tensor in inputs if tensor.dtype == trt.DataType.UINT8]
    if not frames:
        return
    asking: dict[str, list[Any]] = {name: [] for name in frames}
    cast: dict[str, Any] = {}
    for layer in _layers(network):
        if layer.type in (trt.LayerType.SHAPE, trt.LayerType.CAST):
            name = layer.get_input(0).name
            if name not in asking:
                continue
            if layer.type == trt.LayerType.SHAPE:
                asking[name].append(layer)
            else:
                cast.setdefault(name, layer.get_output(0))
    for name, layers in asking.items():
        for layer in layers:
            if name in cast:
                layer.set_input(0, cast[name])


def _layers(network: Any) -> Iterator[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))
