"""A network of single frames as a bundle's stream graph: uint8 in, uint8 out, the rest as it is.

What turns the network's range into levels is moved into its last convolutions where that is exact,
so that nothing is multiplied at the full size of the output.

    model = stream_of(original, facts)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from ...errors import AdoptError
from ..graphs.graph_edit import GraphEdit
from ..graphs.traced import FROM_COLOURS, INPUT_NAME, OUTPUT_NAME, TO_COLOURS
from .facts import Facts
from .original import Original
from .pixels import FROM_YUV, GREY, RANGES, TO_YUV

LEVELS_IN = "adopted.levels_in"
"""The picture in levels, NCHW and in the network's order of colours."""

NORMALISED = "adopted.normalised"
"""The same in the network's range, where that is not levels."""

OWN = "adopted.own."
"""Before names of the network that a bundle has itself."""

MOVES = frozenset({"DepthToSpace", "Identity", "Resize", "Slice", "SpaceToDepth", "Transpose"})
"""Nodes that give what they are given, or mean values of it: a factor passes through."""

PLACES = frozenset({"DepthToSpace", "Identity", "Transpose"})
"""Of these the nodes that only move values: an offset passes through, too."""

Matrix = npt.NDArray[np.float64]

HALF = 0.5
"""What a Cast to uint8 is given beside the levels, so that it rounds."""


def stream_of(original: Original, facts: Facts) -> onnx.ModelProto:
    """Give a network a bundle's ends.

    Args:
        original: Of single frames.
        facts: What it takes and makes.

    Returns:
        A model from `frame` (1, H, W, 3) uint8 to `upscaled` (1, sH, sW, 3) uint8.

    Raises:
        AdoptError: Its nodes do not follow each other.
    """
    edit = GraphEdit(original.model)
    graph = edit.model.graph
    _keep_clear_of(edit, {INPUT_NAME, OUTPUT_NAME})
    source, sink = (
        f"{OWN}{name}" if name in (INPUT_NAME, OUTPUT_NAME) else name
        for name in (original.input_name, original.output_name)
    )
    unit, zero = RANGES[facts.range]
    head = [
        helper.make_node(
            "Cast", [INPUT_NAME], ["adopted.floats"], "adopted/in/Cast", to=TensorProto.FLOAT
        )
    ]
    head += _planes(edit, "adopted.floats", facts)
    taken = LEVELS_IN
    if unit != 1:
        edit.set_weight("adopted.unit_in", np.float32(1 / unit))
        scaled = NORMALISED if not zero else "adopted.scaled"
        head.append(
            helper.make_node("Mul", [LEVELS_IN, "adopted.unit_in"], [scaled], "adopted/in/Mul")
        )
        if zero:
            edit.set_weight("adopted.zero_in", np.float32(zero / unit))
            head.append(
                helper.make_node("Sub", [scaled, "adopted.zero_in"], [NORMALISED], "adopted/in/Sub")
            )
        taken = NORMALISED
    _read_from(edit, source, taken, facts)
    graph.node.extend(head)
    planes = _planes_out(edit, sink, facts)
    _finish_levels(edit, planes, unit, zero, facts)
    _set_ends(graph, original, facts)
    _drop_identities(edit)
    try:
        model = edit.finish()
    except ValueError as error:
        raise AdoptError(f"'{original.files[0]}': {error}") from error
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "adcvsr", "", ""
    model.ir_version = min(model.ir_version, 10)
    graph.name, graph.doc_string = "adcvsr", ""
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return model


def _planes(edit: GraphEdit, floats: str, facts: Facts) -> list[onnx.NodeProto]:
    """From (1, H, W, 3) to `LEVELS_IN`."""
    moved = LEVELS_IN if facts.colour == "RGB" else "adopted.rgb"
    nodes = [
        helper.make_node("Transpose", [floats], [moved], "adopted/in/Transpose", perm=[0, 3, 1, 2])
    ]
    if facts.colour == "BGR":
        nodes.append(_swapped(edit, moved, LEVELS_IN, "adopted/in/Gather"))
    elif facts.colour == "YUV":
        nodes.append(_turned(edit, moved, LEVELS_IN, TO_COLOURS, TO_YUV, GREY))
    return nodes


def _swapped(edit: GraphEdit, source: str, target: str, name: str) -> onnx.NodeProto:
    edit.set_weight("adopted.bgr", np.array([2, 1, 0], np.int64))
    return helper.make_node("Gather", [source, "adopted.bgr"], [target], name, axis=1)


def _turned(
    edit: GraphEdit, source: str, target: str, name: str, matrix: Matrix, offset: Matrix
) -> onnx.NodeProto:
    """Other colours of each pixel: a matrix and what is added."""
    edit.set_weight(f"{name}.matrix", matrix[:, :, None, None].astype(np.float32))
    edit.set_weight(f"{name}.offset", offset.astype(np.float32))
    return helper.make_node("Conv", [source, f"{name}.matrix", f"{name}.offset"], [target], name)


def _read_from(edit: GraphEdit, source: str, taken: str, facts: Facts) -> None:
    """Let the network read the picture that the head gives."""
    if facts.layout == "NHWC":
        back = helper.make_node(
            "Transpose", [taken], ["adopted.nhwc"], "adopted/in/Back", perm=[0, 2, 3, 1]
        )
        edit.rename_reads(source, "adopted.nhwc")
        edit.model.graph.node.append(back)
    else:
        edit.rename_reads(source, taken)


def _planes_out(edit: GraphEdit, sink: str, facts: Facts) -> str:
    """The network's picture as (1, 3, sH, sW)."""
    if facts.layout == "NCHW":
        return sink
    edit.model.graph.node.append(
        helper.make_node(
            "Transpose", [sink], ["adopted.out_nchw"], "adopted/out/Planes", perm=[0, 3, 1, 2]
        )
    )
    return "adopted.out_nchw"


def _finish_levels(edit: GraphEdit, planes: str, unit: float, zero: float, facts: Facts) -> None:
    """From the network's picture to uint8."""
    graph = edit.model.graph
    if facts.colour != "YUV":  # of that a clipped value is no clipped level
        planes = _without_clip(edit, planes, facts)
    alone = not edit.consumers(planes)  # else it is carried to the next frame as it is, too
    if unit != 1:
        if alone and not zero and _scale(edit, planes, unit, try_only=True):
            _scale(edit, planes, unit, try_only=False)
        else:
            edit.set_weight("adopted.unit_out", np.float32(unit))
            graph.node.append(
                helper.make_node(
                    "Mul", [planes, "adopted.unit_out"], ["adopted.levels"], "adopted/out/Mul"
                )
            )
            planes, alone = "adopted.levels", True
    if facts.colour == "YUV":
        offset = FROM_YUV @ (zero - GREY) + HALF
        node = _turned(edit, planes, "adopted.shifted", FROM_COLOURS, FROM_YUV, offset)
        graph.node.append(node)
        planes = "adopted.shifted"
    elif not (alone and _shift(edit, planes, zero + HALF)):
        edit.set_weight("adopted.zero_out", np.float32(zero + HALF))
        graph.node.append(
            helper.make_node(
                "Add", [planes, "adopted.zero_out"], ["adopted.shifted"], "adopted/out/Add"
            )
        )
        planes = "adopted.shifted"
    edit.set_weight("adopted.black", np.float32(0))
    edit.set_weight("adopted.white", np.float32(255 + HALF))
    graph.node.append(
        helper.make_node(
            "Clip",
            [planes, "adopted.black", "adopted.white"],
            ["adopted.clipped"],
            "adopted/out/Clip",
        )
    )
    planes = "adopted.clipped"
    if facts.colour == "BGR":
        graph.node.append(_swapped(edit, planes, "adopted.rgb_out", "adopted/out/Gather"))
        planes = "adopted.rgb_out"
    graph.node.extend(
        [
            helper.make_node(
                "Transpose",
                [planes],
                ["adopted.pixels"],
                "adopted/out/Transpose",
                perm=[0, 2, 3, 1],
            ),
            helper.make_node(
                "Cast",
                ["adopted.pixels"],
                [OUTPUT_NAME],
                "adopted/out/Cast",
                to=TensorProto.UINT8,
            ),
        ]
    )


def _without_clip(edit: GraphEdit, planes: str, facts: Facts) -> str:
    """What the network clips last to its own range, which clipping levels does as well."""
    node = edit.producer(planes)
    unit, zero = RANGES[facts.range]
    if node is None or node.op_type != "Clip" or len(node.input) != 3:
        return planes
    bounds = [edit.weights.get(name) for name in node.input[1:]]
    if any(bound is None or bound.size != 1 for bound in bounds):
        return planes
    low, high = (float(bound.reshape(())) * unit + zero for bound in bounds if bound is not None)
    if (low, high) != (0.0, 255.0) or len(edit.consumers(planes)) > 0:
        return planes
    before = str(node.input[0])
    edit.model.graph.node.remove(node)
    return before


def _scale(edit: GraphEdit, tensor: str, factor: float, *, try_only: bool) -> bool:
    """Multiply a tensor by changing the weights it comes from.

    Returns:
        Whether that can be done; nothing is changed with `try_only`.
    """
    node = edit.producer(tensor)
    if node is None or len(edit.consumers(tensor)) > 1:
        return False
    if node.op_type in MOVES:
        if node.input[0] == NORMALISED:
            if not try_only:
                node.input[0] = LEVELS_IN
            return True
        return _scale(edit, node.input[0], factor, try_only=try_only)
    if node.op_type == "Conv" and all(name in edit.weights for name in node.input[1:]):
        if not try_only:
            for name in node.input[1:]:
                own = f"{name}*{factor:g}"
                edit.set_weight(own, edit.weights[name] * np.float32(factor))
                _replace_input(node, name, own)
        return True
    if node.op_type in ("Add", "Sub"):
        done = []
        for index, name in enumerate(node.input):
            if name == NORMALISED:
                if not try_only:
                    node.input[index] = LEVELS_IN
                done.append(True)
            else:
                done.append(_scale(edit, name, factor, try_only=try_only))
        return all(done)
    return False


def _replace_input(node: onnx.NodeProto, old: str, new: str) -> None:
    for index, name in enumerate(node.input):
        if name == old:
            node.input[index] = new


def _shift(edit: GraphEdit, tensor: str, offset: float) -> bool:
    """Add to a tensor by changing the biases it comes from; returns whether that was done."""
    node = edit.producer(tensor)
    if node is None or len(edit.consumers(tensor)) > 1:
        return False
    if node.op_type in PLACES:
        return _shift(edit, node.input[0], offset)
    if node.op_type == "Conv" and all(name in edit.weights for name in node.input[1:]):
        bias = edit.bias_of(node)
        own = f"{bias}+{offset:g}"
        edit.set_weight(own, edit.weights[bias] + np.float32(offset))
        _replace_input(node, bias, own)
        return True
    if node.op_type == "Add":
        return any(_shift(edit, name, offset) for name in node.input)
    return False


def _set_ends(graph: onnx.GraphProto, original: Original, facts: Facts) -> None:
    """Declare the uint8 pictures and the states."""
    del graph.input[:], graph.output[:]
    sides = ["H", "W"]
    graph.input.append(helper.make_tensor_value_info(INPUT_NAME, TensorProto.UINT8, [1, *sides, 3]))
    grown = sides if facts.scale == 1 else [f"{facts.scale}H", f"{facts.scale}W"]
    graph.output.append(
        helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.UINT8, [1, *grown, 3])
    )
    for state in original.states:
        parts = sides if state.divisor == 1 else [f"{side}/{state.divisor}" for side in sides]
        shape: list[int | str | None] = [1, state.channels, *parts]
        for values, name in ((graph.input, state.name), (graph.output, state.next_name)):
            values.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))


def _drop_identities(edit: GraphEdit) -> None:
    outputs = {value.name for value in edit.model.graph.output}
    for node in edit.of_type("Identity", "Dropout"):
        if node.output[0] not in outputs:
            edit.bypass(node)


def _keep_clear_of(edit: GraphEdit, names: set[str]) -> None:
    """Rename the network's own tensors that have a bundle's names."""
    for node in edit.model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name in names:
                    tensors[index] = f"{OWN}{name}"
    for name in names & edit.weights.keys():
        edit.weights[f"{OWN}{name}"] = edit.weights.pop(name)
