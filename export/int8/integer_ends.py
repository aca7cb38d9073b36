"""Pictures as integers from end to end: no float tensor at full resolution.

A stream graph turns uint8 into [-1, 1] with a few nodes and levels into uint8 with a few others.
Quantized, both are scales: the input's is 1/127.5 with the zero point 128, the output's 1 with 0.
`fold_ends` moves what those scales do not say into the biases of the convolutions at the ends,
before quantization; `drop_float_ends` takes the float nodes out, after it. At full resolution this
is a fifth of the time of `nano` (docs/quantization.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from ...errors import QuantizationError
from ..graphs.graph_edit import GraphEdit

LAYOUT = frozenset({"Transpose", "Reshape", "SpaceToDepth", "DepthToSpace"})
"""Nodes that move values and take integers as they are."""

AFFINE = frozenset({"Mul", "Div", "Add", "Sub"})

INPUT_ZERO_POINT = 128
"""Level that stands for zero; the network's own, 127.5, is no integer."""


@dataclass(frozen=True)
class EndTensors:
    """Tensors whose scale and zero point are given by the contract, not by calibration."""

    picture_in: str | None
    """Read by the first convolutions; None where one of them stays float."""

    scale_in: float
    """Network units of a level."""

    picture_out: str | None
    """Written by the last convolution: levels, to be rounded; None where it stays float."""


def fold_ends(
    edit: GraphEdit,
    input_name: str,
    output_name: str,
    keeps: Callable[[str], bool] = lambda name: False,
) -> EndTensors:
    """Make the picture's float tensors such that rounding them to uint8 loses nothing.

    Zero padding stands for level 128 instead of 127.5 afterwards, half a level on a convolution's
    border.

    Args:
        edit: Changed in place: biases of the first and last convolutions, the clip taken out.
        input_name: The uint8 frame.
        output_name: The uint8 picture.
        keeps: Whether a node of a name stays float; an end with such a convolution stays as it is.

    Raises:
        QuantizationError: The ends are not what the exporter writes; a node is named.
    """
    first, scale, offset = _affine_input(edit, input_name)
    picture_in = None
    if not any(keeps(node.name) for node in edit.consumers(first)):
        picture_in = first
        _shift_input(edit, first, offset + INPUT_ZERO_POINT * scale, scale)
    clip, convolution = _output_end(edit, output_name)
    picture_out = None
    if not keeps(convolution.name):
        picture_out = str(convolution.output[0])
        _fold_output(edit, clip, convolution)
    return EndTensors(picture_in, scale, picture_out)


def drop_float_ends(
    model: onnx.ModelProto, input_name: str, output_name: str, ends: EndTensors
) -> onnx.ModelProto:
    """Take the float nodes between the uint8 pictures and the first and last quantized tensors out.

    Args:
        model: A folded graph with Q/DQ nodes whose end tensors have the scales of `EndTensors`.
        input_name: The uint8 frame.
        output_name: The uint8 picture.
        ends: From `fold_ends`; an end that stays float is left alone.
    """
    edit = GraphEdit(model)
    if ends.picture_in is not None:
        node = _picture_consumer(edit, input_name)
        while node.op_type != "QuantizeLinear":
            (following,) = _value_readers(edit, node.output[0])
            if node.op_type not in LAYOUT:
                edit.bypass(node)
            node = following
        edit.bypass(node)
    if ends.picture_out is not None:
        node = _producer(edit, output_name)
        while node.op_type != "QuantizeLinear":
            before = _producer(edit, node.input[0])
            if node.op_type not in LAYOUT:
                _take_output_out(edit, node, output_name)
            node = before
    return edit.finish()


def first_convolutions(edit: GraphEdit, input_name: str) -> list[onnx.NodeProto]:
    """The convolutions that the picture reaches before any other."""
    waiting, found = [input_name], list[onnx.NodeProto]()
    seen: set[str] = set()
    for tensor in waiting:
        for node in edit.consumers(tensor):
            if node.op_type == "Conv":
                if node.name not in {each.name for each in found}:
                    found.append(node)
            elif node.op_type != "Shape" and node.output[0] not in seen:
                seen.add(node.output[0])
                waiting.append(node.output[0])
    return found


def why_no_integer_ends(model: onnx.ModelProto, input_name: str, output_name: str) -> str | None:
    """Why a graph's pictures cannot be integers throughout; None where they can."""
    try:
        fold_ends(GraphEdit(model), input_name, output_name)
    except QuantizationError as error:
        return str(error)
    return None


def last_convolution(edit: GraphEdit, output_name: str) -> onnx.NodeProto:
    """The convolution that writes the picture.

    Raises:
        QuantizationError: None does.
    """
    waiting = [output_name]  # nearest first; a picture may be a sum with what was enlarged
    seen: set[str] = set()
    for tensor in waiting:
        node = edit.producer(tensor)
        if node is None or tensor in seen:
            continue
        if node.op_type == "Conv":
            return node
        seen.add(tensor)
        waiting.extend(node.input)
    raise QuantizationError(f"no convolution writes the picture '{output_name}'")


def _take_output_out(edit: GraphEdit, node: onnx.NodeProto, output_name: str) -> None:
    """Take a node out that may give the graph's output: its producer then does."""
    if node.output[0] != output_name:
        edit.bypass(node)
        return
    before = _producer(edit, node.input[0])
    tensor = node.input[0]
    edit.model.graph.node.remove(node)
    edit.rename_reads(tensor, output_name)
    before.output[0] = output_name


def _affine_input(edit: GraphEdit, input_name: str) -> tuple[str, float, float]:
    """The tensor the first convolutions read, and what it is of the levels: scale and offset."""
    node, scale, offset = _picture_consumer(edit, input_name), 1.0, 0.0
    while True:
        if node.op_type in AFFINE:
            factor = _constant(edit, node)
            scale, offset = _apply(node.op_type, factor, scale, offset)
        elif node.op_type != "Cast" and node.op_type not in LAYOUT:
            raise QuantizationError(_unknown_end(node, "input"))
        tensor = node.output[0]
        following = _value_readers(edit, tensor)
        if all(reader.op_type == "Conv" for reader in following):
            return tensor, scale, offset
        if len(following) != 1:
            raise QuantizationError(_unknown_end(following[0], "input"))
        (node,) = following


def _picture_consumer(edit: GraphEdit, input_name: str) -> onnx.NodeProto:
    """The node that reads the frame's values rather than its shape."""
    return _value_readers(edit, input_name)[0]


def _value_readers(edit: GraphEdit, tensor: str) -> list[onnx.NodeProto]:
    """The nodes that read a tensor's values rather than its shape."""
    return [node for node in edit.consumers(tensor) if node.op_type != "Shape"]


def _producer(edit: GraphEdit, tensor: str) -> onnx.NodeProto:
    node = edit.producer(tensor)
    if node is None:
        raise QuantizationError(f"tensor '{tensor}' of the picture's path comes from no node")
    return node


def _constant(edit: GraphEdit, node: onnx.NodeProto) -> float:
    value = edit.weights.get(node.input[1])
    if value is None or value.size != 1:
        raise QuantizationError(_unknown_end(node, "input"))
    return float(value.reshape(()))


def _apply(op_type: str, value: float, scale: float, offset: float) -> tuple[float, float]:
    if op_type == "Mul":
        return scale * value, offset * value
    if op_type == "Div":
        return scale / value, offset / value
    return scale, offset + (value if op_type == "Add" else -value)


def _shift_input(edit: GraphEdit, tensor: str, rest: float, scale: float) -> None:
    """Take a constant away from the picture and give it to the convolutions that read it."""
    node = _producer(edit, tensor)
    if node.op_type not in ("Add", "Sub"):
        raise QuantizationError(_unknown_end(node, "input"))
    name = f"{node.name}/level_zero"
    shift = INPUT_ZERO_POINT * scale
    edit.set_weight(name, np.float32(-shift if node.op_type == "Add" else shift).reshape(()))
    node.input[1] = name
    for convolution in edit.consumers(tensor):
        weight = edit.weights[convolution.input[1]]
        bias = edit.bias_of(convolution)
        edit.set_weight(bias, edit.weights[bias] + weight.sum((1, 2, 3)) * np.float32(rest))


def _output_end(edit: GraphEdit, output_name: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    """The clip before the picture, and the last convolution."""
    node = _producer(edit, output_name)
    while node.op_type == "Cast" or node.op_type in LAYOUT:
        node = _producer(edit, node.input[0])
    clip = node
    if clip.op_type != "Clip":
        raise QuantizationError(_unknown_end(clip, "output"))
    convolution = _producer(edit, clip.input[0])
    if convolution.op_type != "Conv":
        raise QuantizationError(_unknown_end(convolution, "output"))
    return clip, convolution


def _fold_output(edit: GraphEdit, clip: onnx.NodeProto, convolution: onnx.NodeProto) -> None:
    """Take the clip out, and the half that made truncation round: both are uint8's."""
    bias = edit.bias_of(convolution)
    edit.set_weight(bias, edit.weights[bias] - np.float32(0.5))
    edit.bypass(clip)


def _unknown_end(node: onnx.NodeProto, side: str) -> str:
    return (
        f"the {side} cannot be made integer: node '{node.name}' ({node.op_type}) is not what "
        "adcvsr export writes there; export the bundle again, or set integer_ends = false in the "
        "recipe"
    )
