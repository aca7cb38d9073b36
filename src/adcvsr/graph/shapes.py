"""Type and shape of every tensor of an ONNX graph at one input size.

The exporter's graphs compute reshape targets from the input's size with small integer nodes. ONNX's
own inference loses some of these, so they are evaluated here, node by node, beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError, missing_package

if TYPE_CHECKING:
    import onnx

SMALL_ELEMENTS = 64
"""Integer tensors up to this size are shape arithmetic and are evaluated."""

ELEMENTS = {
    1: ("float", 32),
    2: ("uint8", 8),
    3: ("int8", 8),
    4: ("uint16", 16),
    5: ("int16", 16),
    6: ("int32", 32),
    7: ("int64", 64),
    9: ("bool", 8),
    10: ("float16", 16),
    11: ("double", 64),
    12: ("uint32", 32),
    13: ("uint64", 64),
    14: ("complex64", 64),
    15: ("complex128", 128),
    16: ("bfloat16", 16),
    17: ("float8e4m3fn", 8),
    18: ("float8e4m3fnuz", 8),
    19: ("float8e5m2", 8),
    20: ("float8e5m2fnuz", 8),
    21: ("uint4", 4),
    22: ("int4", 4),
    23: ("float4e2m1", 4),
    24: ("float8e8m0", 8),
}
"""Name and bits of ONNX's element types (`TensorProto.DataType`), but for strings."""


@dataclass(frozen=True)
class TensorType:
    """Element type and shape of one tensor."""

    element: int
    """ONNX's `TensorProto.DataType`."""

    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """Bytes in memory; types below a byte are packed."""
        return (self.elements * _bits(self.element) + 7) // 8

    @property
    def element_name(self) -> str:
        """ONNX's name of the element type in lower case, such as `float16`."""
        return _element(self.element)[0]

    @property
    def is_shape_arithmetic(self) -> bool:
        """Whether it holds sizes or indices; a picture of one pixel is small, but no int64."""
        return self.elements <= SMALL_ELEMENTS and self.element_name == "int64"


def infer_types(
    model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, TensorType]:
    """Infer every tensor of a graph.

    Args:
        model: Weights may lie outside the file and need not be loaded.
        sizes: Shape of every graph input.

    Returns:
        By tensor name: inputs, initializers and all node outputs.

    Raises:
        GraphError: An input has no size, or a node's output cannot be inferred; it is named.
        MissingPackageError: `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_package("onnx", "export", "reading graphs") from error

    types: dict[str, onnx.TypeProto] = {}
    known: dict[str, npt.NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        if np.prod(tensor.dims) <= SMALL_ELEMENTS and not tensor.external_data:
            known[tensor.name] = onnx.numpy_helper.to_array(tensor)
    for value in model.graph.input:
        if value.name not in sizes:
            raise GraphError(f"graph input '{value.name}' has no size; given: {sorted(sizes)}")
        element = value.type.tensor_type.elem_type
        types[value.name] = onnx.helper.make_tensor_type_proto(element, sizes[value.name])
    for node in model.graph.node:
        types |= _infer_node(node, types, known, model)
        _evaluate(node, types, known)
    return {name: _tensor_type(name, value) for name, value in types.items()}


def _infer_node(
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    known: Mapping[str, npt.NDArray[Any]],
    model: onnx.ModelProto,
) -> dict[str, onnx.TypeProto]:
    """Types of a node's outputs by ONNX's own inference, given the constants known so far."""
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import}
    inputs = {name for name in node.input if name}
    try:
        schema = onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain)
        return dict(
            onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: types[name] for name in inputs},
                {name: onnx.numpy_helper.from_array(known[name]) for name in inputs & known.keys()},
                opset_imports=list(model.opset_import),
                ir_version=model.ir_version,
            )
        )
    except (KeyError, onnx.defs.SchemaError, onnx.shape_inference.InferenceError) as error:
        raise GraphError(
            f"cannot infer what node '{node.name}' ({node.op_type}) gives: {error}"
        ) from error


def _evaluate(
    node: onnx.NodeProto,
    types: Mapping[str, onnx.TypeProto],
    known: dict[str, npt.NDArray[Any]],
) -> None:
    """Add a node's outputs to the known constants where they are shape arithmetic."""
    from onnx.reference import ReferenceEvaluator

    feeds: dict[str, npt.NDArray[Any]] = {}
    for name in node.input:
        if name in known:
            feeds[name] = known[name]
        elif node.op_type == "Shape":
            # Only the shape is read: a broadcast zero stands for the tensor.
            feeds[name] = np.broadcast_to(np.uint8(0), _tensor_type(name, types[name]).shape)
        elif name:
            return
    small = [_tensor_type(name, types[name]).elements <= SMALL_ELEMENTS for name in node.output]
    if (node.op_type != "Constant" and not feeds) or not all(small):
        return
    results = ReferenceEvaluator(node).run(None, feeds)
    known.update((name, np.asarray(v)) for name, v in zip(node.output, results, strict=True))


def _tensor_type(name: str, value: onnx.TypeProto) -> TensorType:
    dims = value.tensor_type.shape.dim
    if not value.tensor_type.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
        raise GraphError(f"tensor '{name}' has a shape that depends on the data")
    return TensorType(value.tensor_type.elem_type, tuple(d.dim_value for d in dims))


def _bits(element: int) -> int:
    """Bits of an ONNX element type."""
    return _element(element)[1]


def _element(element: int) -> tuple[str, int]:
    if element not in ELEMENTS:
        raise GraphError(f"a tensor has element type {element}; known are 1 to {max(ELEMENTS)}")
    return ELEMENTS[element]
