"""A large graph's thin twin, small enough for ModelOpt, and the way back.

ModelOpt wants the whole network in one message of at most 2 GB and copies it several times over. It
places nodes by operators, channels and shapes, none of which change when a convolution's kernel
shrinks to its sum. So it works on a twin with such kernels; then the weights, their scales and
those of activations, measured on the network itself, are put in. The result is what ModelOpt makes
of the network where it can hold it (a test).

    thin = make_thin(Path("fp32-onnx.onnx"), Path("thin.onnx"))
    quantized = ...  # ModelOpt on thin.onnx
    put_back(quantized, thin, peaks, "int8", Path("int8-trt.onnx"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir
from onnx import numpy_helper

from ...arrays import Floats
from ...errors import QuantizationError
from ..graphs.graph_edit import attribute, group_of
from ..graphs.onnx_file import save_graph

LEVELS = 127
"""Largest magnitude of a signed 8-bit value; symmetric."""

LEAST_SCALE = float(np.finfo(np.float16).tiny)
"""Smaller scales are not normal in float16."""

QUANTIZE_SUFFIX = "_QuantizeLinear"
"""What ONNX Runtime adds to a tensor's name for the node that quantizes it."""

SQUARE = (3, 3)
"""Kernels that are shrunk; they have most weights. Their padding keeps the picture's size."""


@dataclass(frozen=True)
class ThinGraph:
    """The twin and what it is of."""

    model: onnx.ModelProto
    """Its nodes, without weights."""

    kernels: Mapping[str, Floats]
    """Of the convolutions that were shrunk, by name; read from the disk when needed."""


def make_thin(graph: Path, target: Path) -> ThinGraph:
    """Write the twin of a graph.

    Args:
        graph: In float32, weights beside it.
        target: The ONNX file to write, with all weights in it.

    Raises:
        QuantizationError: The twin is too large as well.
    """
    model = onnx.load(graph, load_external_data=False)
    stored = {t.name: t for t in model.graph.initializer if t.external_data}
    weights = {name: _map_weight(tensor, graph.parent) for name, tensor in stored.items()}
    others = [node for node in model.graph.node if not _can_shrink(node, stored)]
    whole = {name for node in others for name in node.input}  # a weight may have several readers
    shrunk = [
        node
        for node in model.graph.node
        if _can_shrink(node, stored) and node.input[1] not in whole
    ]
    names = {node.input[1] for node in shrunk}
    for name, tensor in stored.items():
        values = weights[name].sum((2, 3), keepdims=True) if name in names else weights[name]
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(values), name))
    for node in shrunk:
        _set_attributes(node, kernel_shape=[1, 1], pads=[0, 0, 0, 0])
    known = [value for value in model.graph.value_info if value.name not in names]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        raise QuantizationError(
            f"'{graph.name}' has {model.ByteSize() / 1e9:.1f} GB of weights that are not in "
            f"convolutions of 3x3; ModelOpt takes {onnx.checker.MAXIMUM_PROTOBUF / 1e9:.1f} GB"
        )
    onnx.save(model, target)
    del model.graph.initializer[:]
    return ThinGraph(model, {node.name: weights[node.input[1]] for node in shrunk})


def put_back(
    quantized: onnx.ModelProto,
    thin: ThinGraph,
    peaks: Mapping[str, float],
    precision: str,
    target: Path,
    *,
    states: Sequence[tuple[str, str]] = (),
) -> onnx.ModelProto:
    """Write a quantized twin as the graph it stands for.

    Args:
        quantized: What ModelOpt made of the twin.
        thin: The twin.
        peaks: Largest absolute value of the graph's own activations by name.
        precision: `int8` or `fp8`.
        target: The ONNX file to write; weights go beside it.
        states: Names of carried states and of those to come, which share a range.

    Returns:
        The graph as written, weights left beside it.

    Raises:
        QuantizationError: ModelOpt quantized a tensor that the graph does not have.
    """
    model = onnx_ir.from_proto(quantized)
    nodes = {node.name: node for node in model.graph}
    for name, kernel in thin.kernels.items():
        _grow(nodes[name], kernel, precision)
    # ONNX Runtime gives a Softmax all that it could reach, whatever it did.
    whole = {n.output[0]: 1.0 for n in thin.model.graph.node if n.op_type == "Softmax"}
    ties = [*_concatenated(thin.model), *(list(pair) for pair in states)]
    _set_activations(model, ties, {**peaks, **whole}, precision)
    for file in (target, target.with_name(f"{target.name}.data")):
        file.unlink(missing_ok=True)  # a link to a file of the user's is not written through
    save_graph(model, target)
    return onnx.load(target, load_external_data=False)


def _can_shrink(node: onnx.NodeProto, stored: Mapping[str, onnx.TensorProto]) -> bool:
    """A convolution of 3x3, its padding such that one of 1x1 without gives the same size."""
    return (
        node.op_type == "Conv"
        and node.input[1] in stored
        and tuple(stored[node.input[1]].dims[2:]) == SQUARE
        and attribute(node, "pads", ()) == (1, 1, 1, 1)
        and set(attribute(node, "dilations", (1, 1))) == {1}
        and group_of(node) == 1
    )


def _set_attributes(node: onnx.NodeProto, **values: list[int]) -> None:
    kept = [entry for entry in node.attribute if entry.name not in values]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(onnx.helper.make_attribute(name, v) for name, v in values.items())


def _grow(node: onnx_ir.Node, kernel: Floats, precision: str) -> None:
    """Give a convolution its kernel, and its weight's scales."""
    node.attributes["kernel_shape"] = onnx_ir.AttrInt64s("kernel_shape", SQUARE)
    node.attributes["pads"] = onnx_ir.AttrInt64s("pads", (1, 1, 1, 1))
    value = node.inputs[1]
    for producer in _producers(value):
        if producer.op_type == "QuantizeLinear":
            _set_scale(producer, np.abs(kernel).max((1, 2, 3)), precision)
        value = producer.inputs[0]
    if value is None or value.const_value is None:
        raise QuantizationError(f"ModelOpt left no weight at '{node.name}'")
    dtype = value.const_value.dtype
    value.const_value = onnx_ir.LazyTensor(
        lambda: onnx_ir.tensor(kernel.astype(dtype.numpy())),
        dtype=dtype,
        shape=onnx_ir.Shape(kernel.shape),
        name=value.name,
    )
    value.shape = onnx_ir.Shape(kernel.shape)


def _producers(value: onnx_ir.Value | None) -> Iterator[onnx_ir.Node]:
    """Nodes between a weight and what reads it, the last first."""
    while value is not None and (producer := value.producer()) is not None:
        yield producer
        value = producer.inputs[0]


def _set_activations(
    model: onnx_ir.Model,
    ties: Sequence[Sequence[str]],
    peaks: Mapping[str, float],
    precision: str,
) -> None:
    """Set activations' scales.

    Args:
        model: What ModelOpt made.
        ties: See `_concatenated`, to which ModelOpt gives one range where they are quantized, to
            spare conversions; and states with those to come.
        peaks: See `put_back`.
        precision: Likewise.
    """
    nodes = {
        str(node.name).removesuffix(QUANTIZE_SUFFIX): node
        for node in model.graph
        if node.op_type == "QuantizeLinear" and not _is_weight(node.inputs[0])
    }
    for tensor in nodes.keys() - peaks.keys():
        raise QuantizationError(f"ModelOpt quantized '{tensor}', which was not measured")
    ranges = _tied({tensor: peaks[tensor] for tensor in nodes}, ties)
    for tensor, node in nodes.items():
        _set_scale(node, np.array(ranges[tensor]), precision)


def _concatenated(model: onnx.ModelProto) -> list[list[str]]:
    """For each Concat what it gives and what it reads."""
    return [[n.output[0], *n.input] for n in model.graph.node if n.op_type == "Concat"]


def _tied(ranges: dict[str, float], ties: Sequence[Sequence[str]]) -> dict[str, float]:
    """Give what is tied one range, the widest, through all ties whose first is quantized."""
    tied, before = ranges, None
    while tied != before:
        before = dict(tied)
        for first, *others in ties:
            names = [name for name in (first, *others) if name in tied] if first in tied else []
            tied = tied | dict.fromkeys(names, max((tied[name] for name in names), default=0.0))
    return tied


def _is_weight(value: onnx_ir.Value | None) -> bool:
    while value is not None and (producer := value.producer()) is not None:
        if producer.op_type != "Cast":
            return False
        value = producer.inputs[0]
    return value is not None and value.const_value is not None


def _set_scale(node: onnx_ir.Node, peak: npt.NDArray[np.floating], precision: str) -> None:
    """Set the scale of a Q node, and of its DQ node, which may have it in another type."""
    readers = [use.node for use in node.outputs[0].uses()]
    for each in (node, *readers):
        value = each.inputs[1]
        if value is None or value.const_value is None:
            raise QuantizationError(f"ModelOpt left no constant scale at '{each.name}'")
        dtype, shape = value.const_value.dtype.numpy(), value.const_value.numpy().shape
        # Zeros throughout have no scale of their own; any gives them.
        scale = (np.where(peak > 0, peak, LEVELS) / LEVELS).astype(np.float32).astype(dtype)
        if precision == "fp8":
            scale = (scale * 448.0) / 127.0  # in the order of ModelOpt, for the same bits
        scale = np.maximum(scale, LEAST_SCALE).astype(dtype)
        value.const_value = onnx_ir.tensor(scale.reshape(shape), name=value.name)


def _map_weight(tensor: onnx.TensorProto, folder: Path) -> Floats:
    """A weight as it lies on the disk.

    ONNX's own readers refuse files with several links, as a bundle's stage has them.
    """
    place = {entry.key: entry.value for entry in tensor.external_data}
    return np.memmap(
        folder / place["location"],
        onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type),
        "r",
        int(place.get("offset", 0)),
        tuple(tensor.dims),
    )
