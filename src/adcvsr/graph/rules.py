"""Types and shapes of the operators that shipped networks are made of, without `onnx`.

What `graph.shapes` infers by ONNX's own functions, for a graph that `graph.file` has read. A node
that has no rule here asks for the package `onnx`, which counts every graph.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError, missing_package
from .file import Model, Node, Tensor
from .shapes import SMALL_ELEMENTS, TensorType

INT64 = 7
UINT8 = 2

OLDEST_OPSET = 13
"""Since which axes are inputs."""

Types = list["TensorType | None"]
Values = list["npt.NDArray[Any] | None"]


def infer_read_types(model: Model, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, TensorType]:
    """Infer every tensor of a graph, as `graph.shapes.infer_types` does.

    Args:
        model: From `read_graph`.
        sizes: Shape of every graph input.

    Raises:
        GraphError: An input has no size, or a node does not fit its inputs; it is named.
        MissingPackageError: There is a node that only `onnx` can tell.
    """
    if not model.opsets.get("", 0) >= OLDEST_OPSET:
        raise missing_package("onnx", "export", f"counting a graph of opset {model.opsets}")
    types: dict[str, TensorType] = {}
    known: dict[str, npt.NDArray[Any]] = {}
    for tensor in model.graph.initializer:
        types[tensor.name] = TensorType(tensor.data_type, tensor.dims)
        if tensor.value is not None:
            known[tensor.name] = tensor.value
    for value in model.graph.input:
        if value.name not in sizes:
            raise GraphError(f"graph input '{value.name}' has no size; given: {sorted(sizes)}")
        types[value.name] = TensorType(value.element, sizes[value.name])
    for node in model.graph.node:
        rule = _RULES.get(node.op_type)
        parts = _PARTS.get(node.op_type)
        known_one = rule is not None and len(node.output) == 1
        if node.domain not in ("", "ai.onnx") or not (known_one or parts is not None):
            raise _unknown(node)
        inputs = [types.get(name) for name in node.input]
        values = [known.get(name) for name in node.input]
        try:
            if parts is not None:
                types |= dict(zip(node.output, parts(node, inputs, values), strict=True))
                continue
            assert rule is not None
            result = rule(node, inputs, values)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise GraphError(
                f"cannot infer what node '{node.name}' ({node.op_type}) gives: {error}"
            ) from error
        (output,) = node.output
        types[output] = result
        value_of = _VALUES.get(node.op_type)
        if value_of is None or result.elements > SMALL_ELEMENTS or result.element != INT64:
            continue
        if node.op_type in ("Shape", "Constant") or all(value is not None for value in values):
            computed = value_of(node, inputs, values)
            known[output] = np.asarray(computed, np.int64).reshape(result.shape)
    return types


def _unknown(node: Node) -> Exception:
    return missing_package("onnx", "export", f"counting node '{node.name}' ({node.op_type})")


def _first(node: Node, types: Types, values: Values) -> TensorType:
    return _given(types, 0)


def _given(types: Types, index: int) -> TensorType:
    kind = types[index]
    if kind is None:
        raise ValueError(f"input {index} is not known before it")
    return kind


def _constant_of(values: Values, index: int) -> list[Any]:
    value = values[index]
    if value is None:
        raise ValueError(f"input {index} is not a constant")
    return list(value.reshape(-1).tolist())


def _broadcast(node: Node, types: Types, values: Values) -> TensorType:
    kinds = [_given(types, index) for index in range(len(types))]
    return TensorType(kinds[0].element, np.broadcast_shapes(*(kind.shape for kind in kinds)))


def _cast(node: Node, types: Types, values: Values) -> TensorType:
    return TensorType(node.attributes["to"], _given(types, 0).shape)


def _shape(node: Node, types: Types, values: Values) -> TensorType:
    return TensorType(INT64, (len(_shape_value(node, types, values)),))


def _shape_value(node: Node, types: Types, values: Values) -> Any:
    return _given(types, 0).shape[node.attributes.get("start", 0) : node.attributes.get("end")]


def _squeeze(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    if len(values) > 1:
        axes = {axis % len(kind.shape) for axis in _constant_of(values, 1)}
    else:
        axes = {axis for axis, size in enumerate(kind.shape) if size == 1}
    if any(kind.shape[axis] != 1 for axis in axes):
        raise ValueError(f"{kind.shape} is not 1 at {sorted(axes)}")
    left = [size for axis, size in enumerate(kind.shape) if axis not in axes]
    return TensorType(kind.element, tuple(left))


def _unsqueeze(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    sizes, axes = list(kind.shape), _constant_of(values, 1)
    for axis in sorted(axis % (len(sizes) + len(axes)) for axis in axes):
        sizes.insert(axis, 1)
    return TensorType(kind.element, tuple(sizes))


def _transpose(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    order = node.attributes.get("perm", list(reversed(range(len(kind.shape)))))
    return TensorType(kind.element, tuple(kind.shape[axis] for axis in order))


def _concat(node: Node, types: Types, values: Values) -> TensorType:
    kinds = [_given(types, index) for index in range(len(types))]
    axis = node.attributes["axis"] % len(kinds[0].shape)
    sizes = list(kinds[0].shape)
    sizes[axis] = sum(kind.shape[axis] for kind in kinds)
    return TensorType(kinds[0].element, tuple(sizes))


def _reshape(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    target = _constant_of(values, 1)
    if not node.attributes.get("allowzero", 0):
        target = [kind.shape[axis] if size == 0 else size for axis, size in enumerate(target)]
    if -1 in target:
        rest = -math.prod(target)
        target[target.index(-1)] = kind.elements // rest if rest else 0
    if math.prod(target) != kind.elements:
        raise ValueError(f"{kind.shape} has not the elements of {target}")
    return TensorType(kind.element, tuple(target))


def _conv(node: Node, types: Types, values: Values) -> TensorType:
    kind, weight = _given(types, 0), _given(types, 1)
    group = node.attributes.get("group", 1)
    if kind.shape[1] != weight.shape[1] * group:
        raise ValueError(f"{kind.shape} does not fit weights {weight.shape} in {group} groups")
    sizes = _slid(node, kind.shape[2:], weight.shape[2:])
    return TensorType(kind.element, (kind.shape[0], weight.shape[0], *sizes))


def _slid(node: Node, sides: Sequence[int], kernel: Sequence[int]) -> list[int]:
    """Sides of what a window that slides over a picture makes."""
    pads, strides, dilations = _window(node, len(kernel))
    return [
        (size + pads[axis] + pads[axis + len(kernel)] - dilations[axis] * (kernel[axis] - 1) - 1)
        // strides[axis]
        + 1
        for axis, size in enumerate(sides)
    ]


def _window(node: Node, rank: int) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """Padding (before, then behind), strides and dilations of a window.

    Raises:
        ValueError: The node leaves its padding to who runs it.
    """
    if node.attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ValueError("its padding is not written down")
    return (
        node.attributes.get("pads", [0] * 2 * rank),
        node.attributes.get("strides", [1] * rank),
        node.attributes.get("dilations", [1] * rank),
    )


def _resize(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    if "axes" in node.attributes:
        raise ValueError("it names axes")
    if len(values) > 3 and values[3] is not None:
        return TensorType(kind.element, tuple(_constant_of(values, 3)))
    scales = _constant_of(values, 2)
    sizes = (math.floor(size * by) for size, by in zip(kind.shape, scales, strict=True))
    return TensorType(kind.element, tuple(sizes))


def _conv_transpose(node: Node, types: Types, values: Values) -> TensorType:
    kind, weight = _given(types, 0), _given(types, 1)
    kernel = weight.shape[2:]
    rank = len(kernel)
    if "output_shape" in node.attributes:
        raise ValueError("its padding is not written down")
    pads, strides, dilations = _window(node, rank)
    more = node.attributes.get("output_padding", [0] * rank)
    sizes = [
        strides[axis] * (size - 1)
        + more[axis]
        + dilations[axis] * (kernel[axis] - 1)
        + 1
        - pads[axis]
        - pads[axis + rank]
        for axis, size in enumerate(kind.shape[2:])
    ]
    channels = weight.shape[1] * node.attributes.get("group", 1)
    return TensorType(kind.element, (kind.shape[0], channels, *sizes))


def _pool(node: Node, types: Types, values: Values) -> TensorType:
    kind, kernel = _given(types, 0), node.attributes["kernel_shape"]
    if node.attributes.get("ceil_mode"):
        raise ValueError("its padding is not written down")
    sizes = _slid(node, kind.shape[2:], kernel)
    return TensorType(kind.element, (*kind.shape[:2], *sizes))


def _global_pool(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    return TensorType(kind.element, (*kind.shape[:2], *[1] * (len(kind.shape) - 2)))


def _depth_to_space(node: Node, types: Types, values: Values) -> TensorType:
    kind, block = _given(types, 0), node.attributes["blocksize"]
    count, channels, height, width = kind.shape
    return TensorType(kind.element, (count, channels // block**2, height * block, width * block))


def _space_to_depth(node: Node, types: Types, values: Values) -> TensorType:
    kind, block = _given(types, 0), node.attributes["blocksize"]
    count, channels, height, width = kind.shape
    return TensorType(kind.element, (count, channels * block**2, height // block, width // block))


def _pad(node: Node, types: Types, values: Values) -> TensorType:
    kind, pads = _given(types, 0), _constant_of(values, 1)
    rank = len(kind.shape)
    axes = _constant_of(values, 3) if len(values) > 3 and types[3] is not None else range(rank)
    sizes = list(kind.shape)
    for place, axis in enumerate(axes):
        sizes[axis % rank] += pads[place] + pads[place + len(pads) // 2]
    return TensorType(kind.element, tuple(sizes))


def _slice(node: Node, types: Types, values: Values) -> TensorType:
    kind = _given(types, 0)
    starts, ends = _constant_of(values, 1), _constant_of(values, 2)
    rank = len(kind.shape)
    axes = _constant_of(values, 3) if len(values) > 3 else range(len(starts))
    steps = _constant_of(values, 4) if len(values) > 4 else [1] * len(starts)
    sizes = list(kind.shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis % rank
        sizes[place] = len(range(*slice(start, end, step).indices(sizes[place])))
    return TensorType(kind.element, tuple(sizes))


def _gather(node: Node, types: Types, values: Values) -> TensorType:
    kind, places = _given(types, 0), _given(types, 1)
    axis = node.attributes.get("axis", 0) % len(kind.shape)
    shape = (*kind.shape[:axis], *places.shape, *kind.shape[axis + 1 :])
    return TensorType(kind.element, shape)


def _split(node: Node, types: Types, values: Values) -> list[TensorType]:
    kind, count = _given(types, 0), len(node.output)
    axis = node.attributes.get("axis", 0) % len(kind.shape)
    total = kind.shape[axis]
    each = -(-total // count)
    equal = [min(each, total - each * place) for place in range(count)]
    sizes = _constant_of(values, 1) if len(values) > 1 else equal
    return [
        TensorType(kind.element, (*kind.shape[:axis], size, *kind.shape[axis + 1 :]))
        for size in sizes
    ]


def _quantize(node: Node, types: Types, values: Values) -> TensorType:
    zero = types[2] if len(types) > 2 else None
    element = node.attributes.get("output_dtype", UINT8) if zero is None else zero.element
    return TensorType(element, _given(types, 0).shape)


def _dequantize(node: Node, types: Types, values: Values) -> TensorType:
    element = node.attributes.get("output_dtype", 0) or _given(types, 1).element
    return TensorType(element, _given(types, 0).shape)


def _constant(node: Node, types: Types, values: Values) -> TensorType:
    tensor = _constant_tensor(node)
    return TensorType(tensor.data_type, tensor.dims)


def _constant_tensor(node: Node) -> Tensor:
    tensor = node.attributes.get("value")
    if not isinstance(tensor, Tensor):
        raise ValueError(f"its value is given as {sorted(node.attributes)}")
    return tensor


Rule = Callable[[Node, Types, Values], TensorType]
_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("Abs", "BatchNormalization", "Ceil", "Clip", "Elu", "Erf", "Exp", "Floor", "Gelu"),
            *("HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "PRelu"),
            *("Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Softmax", "Softplus", "Sqrt"),
            "Tanh",
        ),
        _first,
    ),
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Sum"), _broadcast),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "DequantizeLinear": _dequantize,
    "Gather": _gather,
    "GlobalAveragePool": _global_pool,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

_PARTS: dict[str, Callable[[Node, Types, Values], list[TensorType]]] = {"Split": _split}
"""Nodes of several outputs."""

_VALUES: dict[str, Callable[[Node, Types, list[Any]], Any]] = {
    **dict.fromkeys(
        ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"),
        lambda node, types, values: values[0],
    ),
    "Add": lambda node, types, values: values[0] + values[1],
    "Concat": lambda node, types, values: np.concatenate(values),
    "Constant": lambda node, types, values: _constant_tensor(node).value,
    "Mul": lambda node, types, values: values[0] * values[1],
    "Shape": _shape_value,
    "Sub": lambda node, types, values: values[0] - values[1],
}
"""Values of shape arithmetic; what has none here is not known to the nodes behind it."""
