"""Which precision a graph runs in: a share of its convolutions, multiply-adds and weights each.

A convolution or matrix product runs in 8 bits where both its data and its weights come out of a
DequantizeLinear, which an engine fuses with it; elsewhere in the type of its inputs.

    census = take_census(model, {"frame": (1, 96, 128, 3)})
    census.share("int8").multiply_adds
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import missing_package
from ..variants import QUANTIZED
from .cost import count_cost
from .shapes import TensorType, infer_types

if TYPE_CHECKING:
    import onnx

WEIGHTED = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Nodes that are counted: those with multiply-adds."""


@dataclass(frozen=True)
class NodePrecision:
    """One convolution or matrix product."""

    name: str
    """As in the graph."""

    op_type: str
    """ONNX operator."""

    precision: str
    """`int8`, `fp8`, `fp16`, `fp32`; `int8 weights` where only the weights are quantized."""

    multiply_adds: int
    """Of one frame."""

    weights: int
    """Elements of its weight; 0 for a product of two computed tensors."""


@dataclass(frozen=True)
class Share:
    """Shares in one precision, 0 to 1."""

    convolutions: float
    multiply_adds: float
    weights: float


@dataclass(frozen=True)
class Census:
    """All convolutions and matrix products of a graph."""

    nodes: tuple[NodePrecision, ...]
    """In graph order."""

    def share(self, precision: str) -> Share:
        """What runs in a precision; 0 where there is nothing of the kind."""
        mine = [node for node in self.nodes if node.precision == precision]
        convolutions = [node for node in self.nodes if node.op_type == "Conv"]
        return Share(
            _part(sum(n.op_type == "Conv" for n in mine), len(convolutions)),
            _part(sum(n.multiply_adds for n in mine), sum(n.multiply_adds for n in self.nodes)),
            _part(sum(n.weights for n in mine), sum(n.weights for n in self.nodes)),
        )

    def beside(self, precision: str) -> list[NodePrecision]:
        """Nodes of other precisions, the costliest first."""
        others = [node for node in self.nodes if node.precision != precision]
        return sorted(others, key=lambda node: -node.multiply_adds)

    def to_json(self) -> dict[str, Any]:
        """By precision: nodes, and shares of convolutions, multiply-adds and weights."""
        result: dict[str, Any] = {}
        for precision in sorted({node.precision for node in self.nodes}):
            share = self.share(precision)
            result[precision] = {
                "nodes": sum(node.precision == precision for node in self.nodes),
                "convolutions": round(share.convolutions, 4),
                "multiply_adds": round(share.multiply_adds, 4),
                "weights": round(share.weights, 4),
            }
        return result


def take_census(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> Census:
    """Count a graph.

    Args:
        model: With or without Q/DQ nodes.
        sizes: Shape of every input.

    Raises:
        GraphError: A node or tensor that cannot be inferred.
        MissingPackageError: `onnx` is not installed.
    """
    try:
        import onnx  # noqa: F401 - count_cost needs it too; its absence is told here
    except ImportError as error:
        raise missing_package("onnx", "export", "a census of precisions") from error
    types = infer_types(model, sizes)
    costs = {node.name: node.multiply_adds for node in count_cost(model, sizes).nodes}
    producers = {name: node for node in model.graph.node for name in node.output}
    constants = {tensor.name for tensor in model.graph.initializer}
    nodes = [
        NodePrecision(
            name=node.name,
            op_type=node.op_type,
            precision=_precision(node, types, producers),
            multiply_adds=costs.get(node.name, 0),
            weights=_weight_elements(node, types, producers, constants),
        )
        for node in model.graph.node
        if node.op_type in WEIGHTED
    ]
    return Census(tuple(nodes))


Producers = Mapping[str, "onnx.NodeProto"]


def _precision(node: onnx.NodeProto, types: Mapping[str, TensorType], producers: Producers) -> str:
    data, weight = (_stored(name, types, producers) for name in node.input[:2])
    if data == weight:
        return data
    if weight in QUANTIZED:
        return f"{weight} weights"
    return weight  # an engine dequantizes data that meets weights of more bits


def _stored(name: str, types: Mapping[str, TensorType], producers: Producers) -> str:
    """Precision of the tensor an engine reads in the place of a dequantized one."""
    producer = producers.get(name)
    while producer is not None and producer.op_type in ("Transpose", "Reshape", "Cast"):
        # ModelOpt may put layout or a cast between a weight's DequantizeLinear and its node.
        producer = producers.get(producer.input[0])
    if producer is not None and producer.op_type == "DequantizeLinear":
        return _name_of(types[producer.input[0]].element)
    return _name_of(types[name].element)


def _name_of(element: int) -> str:
    import onnx

    name: str = onnx.TensorProto.DataType.Name(element)
    if name in ("INT8", "UINT8"):
        return "int8"
    if name.startswith("FLOAT8"):
        return "fp8"
    return {"FLOAT": "fp32", "FLOAT16": "fp16", "BFLOAT16": "bf16"}.get(name, name.lower())


def _weight_elements(
    node: onnx.NodeProto,
    types: Mapping[str, TensorType],
    producers: Producers,
    constants: set[str],
) -> int:
    """Elements of the weight, found through the nodes that only store it otherwise."""
    name = node.input[1]
    while name not in constants:
        producer = producers.get(name)
        if producer is None or producer.op_type not in (
            "DequantizeLinear",
            "QuantizeLinear",
            "Transpose",
            "Reshape",
            "Cast",
        ):
            return 0
        name = producer.input[0]
    return math.prod(types[name].shape)


def _part(count: int, total: int) -> float:
    return count / total if total else 0.0
