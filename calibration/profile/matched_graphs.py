"""Two graphs of one network, lined up: which tensor of the variant is which of the reference.

Quantizers keep the names of tensors and put Q/DQ nodes around them, so tensors are matched by name.
A layer is a node with weights and what follows it up to the next: the unit of exclusion lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx

from ...bundle import Bundle

LAYER_TYPES = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "Gemm",
        "MatMul",
        "InstanceNormalization",
        "GroupNormalization",
        "LayerNormalization",
        "Softmax",
    }
)
"""Nodes that stand for a layer."""

MOVES = frozenset({"Transpose", "Reshape", "DepthToSpace", "SpaceToDepth", "Identity"})
"""Nodes that give the values they got, elsewhere."""

SUFFIXES = ("_QuantizeLinear_Input", "_QuantizeLinear_Output", "_DequantizeLinear_Output")
"""What quantizers add to the name of the tensor they quantize."""


@dataclass
class Layer:
    """A node with weights, and the plain nodes that follow it."""

    name: str
    """Of the node, as in the graph."""

    op_type: str
    output: str
    """Its own output tensor."""

    tensors: list[str] = field(default_factory=list)
    """Outputs of the node and of those that follow it, in order."""


def load_graph(bundle: Bundle, variant: str) -> onnx.ModelProto:
    """A stream variant's graph, with weights that lie beside it.

    Raises:
        BundleError: It is missing or altered.
    """
    entry = bundle.variant(variant)
    with bundle.graph(entry, entry.file) as graph:
        if isinstance(graph, bytes):
            return onnx.load_model_from_string(graph)
        return onnx.load(graph)


def layers_of(model: onnx.ModelProto) -> list[Layer]:
    """The layers of a graph, in order."""
    owner = owners(model)
    found: dict[str, Layer] = {}
    for node in model.graph.node:
        if node.op_type in LAYER_TYPES:
            found[node.name] = Layer(node.name, node.op_type, node.output[0])
    for node in model.graph.node:
        layer = found.get(owner.get(node.output[0], ""))
        if layer is not None:
            layer.tensors.extend(node.output)
    return list(found.values())


def owners(model: onnx.ModelProto) -> dict[str, str]:
    """By tensor, the layer it belongs to: the latest one in the graph among what it is made of."""
    owner: dict[str, str] = {}
    rank: dict[str, int] = {"": -1}
    for index, node in enumerate(model.graph.node):
        if node.op_type in LAYER_TYPES:
            rank[node.name] = index
            name = node.name
        else:
            sources = [owner.get(each, "") for each in node.input]
            name = max(sources, key=rank.__getitem__, default="")
        owner.update(dict.fromkeys(node.output, name))
    return owner


def truncates_picture(model: onnx.ModelProto, output: str) -> bool:
    """Whether a graph's levels hold the half that rounds them when they are cut to integers."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers[output]
    while node.op_type in MOVES:
        node = makers[node.input[0]]
    return bool(node.op_type == "Cast")


def add_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy whose inner tensors are outputs, too; ONNX Runtime finds their types itself."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    there = {value.name for value in copy.graph.output}
    for name in dict.fromkeys(tensors):
        if name not in there:
            copy.graph.output.append(onnx.ValueInfoProto(name=name))
    return copy


def cut_at(
    model: onnx.ModelProto, tensors: Mapping[str, np.dtype[Any]], prefix: str
) -> onnx.ModelProto:
    """A copy in which every reader of the tensors reads a new graph input instead.

    Args:
        model: The graph.
        tensors: Of four dimensions, made by nodes of it, with their types; they become outputs.
        prefix: Of the new inputs' names, before the tensor's.
    """
    copy = add_outputs(model, sorted(tensors))
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in tensors:
                node.input[index] = prefix + name
    for name in sorted(tensors):
        kind = onnx.helper.np_dtype_to_tensor_dtype(tensors[name])
        copy.graph.input.append(onnx.helper.make_tensor_value_info(prefix + name, kind, [None] * 4))
    return copy


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Outputs of nodes that may be activations: all but those of nodes that handle shapes."""
    skipped = {"Shape", "Squeeze", "Unsqueeze", "Constant", "Size", "Gather"}
    quantizers = {"QuantizeLinear", "DynamicQuantizeLinear"}
    return [
        name
        for node in model.graph.node
        if node.op_type not in skipped | quantizers
        for name in node.output
        if name
    ]


def matching(reference: Iterable[str], variant: onnx.ModelProto) -> dict[str, str]:
    """By tensor of the reference, the tensor of the variant that stands for it, as readers see it.

    After its rounding where it is rounded: a range that starts at zero may stand for a Relu that
    the quantizer took out.
    """
    made = {
        name: node.op_type
        for node in variant.graph.node
        for name in node.output
        if node.op_type != "QuantizeLinear"
    }
    found = {}
    for name in reference:
        for candidate in (f"{name}_DequantizeLinear_Output", name):
            if candidate in made:
                found[name] = candidate
                break
    return found


@dataclass(frozen=True)
class QuantizedTensor:
    """An activation with the range its scale and zero point can hold."""

    tensor: str
    low: float
    high: float
    bits: int


def quantized_activations(model: onnx.ModelProto) -> list[QuantizedTensor]:
    """Activations a graph rounds, and what their scales hold; varying scales are left out."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in weights or len(node.input) < 3:
            continue
        if not {node.input[1], node.input[2]} <= set(weights):
            continue
        scale, zero = (onnx.numpy_helper.to_array(weights[name]) for name in node.input[1:3])
        if scale.size != 1 or zero.dtype.kind not in "iu":
            continue
        limits = np.iinfo(zero.dtype)
        low, high = ((end - int(zero)) * float(scale) for end in (limits.min, limits.max))
        found.append(QuantizedTensor(plain_name(node.input[0]), low, high, zero.dtype.itemsize * 8))
    return found


def plain_name(tensor: str) -> str:
    """A tensor's name without what quantizers add."""
    for suffix in SUFFIXES:
        tensor = tensor.removesuffix(suffix)
    return tensor
