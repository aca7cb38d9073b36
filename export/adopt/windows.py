"""A network over clips that is run in windows: its two graphs, as bundles have them.

The first graph takes T frames and gives T pictures, folded into the channels of features of the
frame's size; the second one makes a picture of uint8 of each. A network whose file fixes T takes
fewer frames as well: the last one is repeated inside.

    clip, decoder = window_graphs(original, facts)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...bundle.schema import MOST_FRAMES, Window
from ...errors import AdoptError
from ..graphs.graph_edit import GraphEdit
from ..graphs.traced import CLIP_NAME, FEATURES_NAME, FROM_COLOURS, OUTPUT_NAME, TO_COLOURS
from .clips import COLOURS, PICTURE_IN, PICTURE_OUT
from .pixels import FROM_YUV, GREY, TO_YUV

TRIAL_FRAMES = 5
"""Of the clip that facts are found with, where the network takes any number."""

DEFAULT_FRAMES = 16
"""Of a window, where neither the file nor the user says."""

Dims = list[int | str]
End = tuple[str, Dims] | tuple[str, Dims, int]
"""Name, shape and element of an input or output; floats where none is given."""

HALF = 0.5
"""Added before a Cast, so that it rounds."""


@dataclass(frozen=True)
class Windowed:
    """How a network over clips is run."""

    axis: int
    """Of time, in the clip."""

    rank: int
    """Of the clip."""

    window: Window

    fixed: bool
    """Whether the file takes so many frames and no others."""

    def line(self) -> str:
        """One line for people."""
        filled = "; shorter clips are filled with their last frame" if self.fixed else ""
        return (
            f"a network over clips, in windows of {self.window.frames} frames that share "
            f"{self.window.overlap}{filled}"
        )


def window_of(path: Path, dims: Sequence[int | None], axis: int, asked: Window | None) -> Windowed:
    """Decide on windows.

    Args:
        path: For errors.
        dims: Of the network's input.
        axis: Of time.
        asked: Of the user; 0 frames for what the network takes.

    Raises:
        AdoptError: The network takes another number of frames, or they cannot overlap so.
    """
    own = dims[axis]
    frames = (asked.frames if asked else 0) or own or DEFAULT_FRAMES
    if own is not None and frames != own:
        raise AdoptError(f"'{path}' takes clips of {own} frames, not windows of {frames}")
    overlap = frames // 3 if asked is None or asked.overlap < 0 else asked.overlap
    if not 1 <= frames <= MOST_FRAMES or not 0 <= overlap < frames:
        raise AdoptError(
            f"windows of {frames} frames cannot share {overlap}; expected 0 to {frames - 1}"
        )
    return Windowed(axis, len(dims), Window(frames, overlap), own is not None)


def of_any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    """The network with zeros of the frame's size, as states begin with, computed from it.

    Args:
        model: Over clips; one that takes any size stays as it is.
    """
    source = model.graph.input[0]
    height, width = [d.dim_value for d in source.type.tensor_type.shape.dim][-2:]
    if not height or not width:
        return model
    edit = GraphEdit(model)
    nodes = []
    for name, value in list(edit.weights.items()):
        by = height // value.shape[-2] if value.ndim > 2 and value.shape[-2] else 0
        if not by or value.any() or value.shape[-2:] != (height // by, width // by):
            continue
        own = f"adopted.zeros.{name}"
        places = np.arange(-2, 0, dtype=np.int64)
        edit.set_weight(f"{own}.sides", places)
        edit.set_weight(f"{own}.by", np.int64(by))
        edit.set_weight(f"{own}.before", np.array(value.shape[:-2], np.int64))
        edit.set_weight(f"{own}.zero", value.dtype.type(0))
        nodes += [
            helper.make_node("Shape", [source.name], [f"{own}.shape"], f"{own}/Shape"),
            helper.make_node(
                "Gather", [f"{own}.shape", f"{own}.sides"], [f"{own}.size"], f"{own}/Gather"
            ),
            helper.make_node("Div", [f"{own}.size", f"{own}.by"], [f"{own}.small"], f"{own}/Div"),
            helper.make_node(
                "Concat", [f"{own}.before", f"{own}.small"], [f"{own}.all"], f"{own}/Concat", axis=0
            ),
            helper.make_node("Expand", [f"{own}.zero", f"{own}.all"], [own], f"{own}/Expand"),
        ]
        edit.rename_reads(name, own)
    edit.model.graph.node.extend(nodes)
    return edit.finish()


def single(model: onnx.ModelProto, windowed: Windowed) -> onnx.ModelProto:
    """The network on a clip that stands still: one picture in, the middle one of T out.

    Args:
        model: Over clips.
        windowed: How they are laid out.
    """
    edit = GraphEdit(of_any_size(model))
    graph = edit.model.graph
    source, sink = graph.input[0].name, graph.output[0].name
    count = windowed.window.frames if windowed.fixed else TRIAL_FRAMES
    edit.set_weight("adopted.middle", np.array(count // 2, np.int64))
    edit.set_weight("adopted.time", np.array([windowed.axis], np.int64))
    frame = PICTURE_IN
    if windowed.rank == 5:
        frame = "adopted.frame"
        graph.node.append(
            helper.make_node("Unsqueeze", [PICTURE_IN, "adopted.time"], [frame], "adopted/frame")
        )
    graph.node.append(
        helper.make_node("Concat", [frame] * count, [source], "adopted/still", axis=windowed.axis)
    )
    last = PICTURE_OUT if windowed.rank == 5 else "adopted.one"
    graph.node.append(
        helper.make_node(
            "Gather", [sink, "adopted.middle"], [last], "adopted/middle", axis=windowed.axis
        )
    )
    if windowed.rank == 4:
        edit.set_weight("adopted.first", np.array([0], np.int64))
        graph.node.append(
            helper.make_node("Unsqueeze", [last, "adopted.first"], [PICTURE_OUT], "adopted/one")
        )
    small: Dims = [1, COLOURS, "H", "W"]
    large: Dims = [1, COLOURS, "high", "wide"]
    _declare(graph, (PICTURE_IN, small), (PICTURE_OUT, large))
    return edit.finish()


def window_graphs(
    model: onnx.ModelProto,
    windowed: Windowed,
    *,
    scale: int,
    unit: float,
    zero: float,
    colour: str,
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graph from frames to features, and the one from a frame's features to its picture.

    Args:
        model: Over clips, in float32.
        windowed: How it is run.
        scale: Of the pictures.
        unit: Levels of the network's unit.
        zero: Levels of its zero.
        colour: One of `COLOUR_ORDERS`.
    """
    return (
        _clip_graph(model, windowed, scale, unit, zero, colour),
        _decoder_graph(scale, unit, zero, colour),
    )


def _clip_graph(
    model: onnx.ModelProto, windowed: Windowed, scale: int, unit: float, zero: float, colour: str
) -> onnx.ModelProto:
    edit = GraphEdit(of_any_size(model))
    graph = edit.model.graph
    source, sink, axis = graph.input[0].name, graph.output[0].name, windowed.axis
    chain = _Chain(edit, CLIP_NAME)
    if windowed.fixed:
        _fill(edit, chain, windowed.window.frames)
    chain.add("Cast", to=TensorProto.FLOAT)
    chain.add("Transpose", perm=[0, 3, 1, 2])
    if colour == "BGR":
        chain.add("Gather", np.array([2, 1, 0], np.int64), axis=1)
    elif colour == "YUV":
        chain.add("Conv", TO_YUV[:, :, None, None].astype(np.float32), GREY.astype(np.float32))
        chain.nodes[-1].name = TO_COLOURS
    if zero:
        chain.add("Sub", np.float32(zero))
    if unit != 1:
        chain.add("Mul", np.float32(1 / unit))
    if axis == 2:
        chain.add("Transpose", perm=[1, 0, 2, 3])
    if windowed.rank == 5:
        chain.add("Unsqueeze", np.array([0], np.int64))
    edit.rename_reads(source, chain.tensor)
    graph.node.extend(chain.nodes)
    chain = _Chain(edit, sink)
    if windowed.rank == 5:
        chain.add("Squeeze", np.array([0], np.int64))
    if axis == 2:
        chain.add("Transpose", perm=[1, 0, 2, 3])
    if scale > 1:
        chain.add("SpaceToDepth", blocksize=scale)
    if windowed.fixed:
        begins, axes = np.array([0], np.int64), np.array([0], np.int64)
        chain.add("Slice", begins, "adopted.count", axes)
    chain.add("Identity")
    chain.nodes[-1].output[0] = FEATURES_NAME
    graph.node.extend(chain.nodes)
    sides: Dims = ["H", "W"]
    frames: Dims = ["T", *sides, COLOURS]
    features: Dims = ["T", COLOURS * scale**2, *sides]
    _declare(graph, (CLIP_NAME, frames, TensorProto.UINT8), (FEATURES_NAME, features))
    return edit.finish()


def _fill(edit: GraphEdit, chain: _Chain, frames: int) -> None:
    """Repeat the last frame of a clip that has fewer than the network takes."""
    edit.set_weight("adopted.places", np.arange(frames, dtype=np.int64))
    edit.set_weight("adopted.step", np.int64(1))
    chain.nodes += [
        helper.make_node("Shape", [CLIP_NAME], ["adopted.count"], "adopted/count", start=0, end=1),
        helper.make_node(
            "Sub", ["adopted.count", "adopted.step"], ["adopted.last"], "adopted/last"
        ),
        helper.make_node(
            "Min", ["adopted.places", "adopted.last"], ["adopted.taken"], "adopted/min"
        ),
    ]
    chain.add("Gather", "adopted.taken", axis=0)


def _decoder_graph(scale: int, unit: float, zero: float, colour: str) -> onnx.ModelProto:
    empty = helper.make_graph([], "adcvsr", [], [])
    opset = [helper.make_opsetid("", 20)]
    edit = GraphEdit(helper.make_model(empty, opset_imports=opset, ir_version=9))
    chain = _Chain(edit, FEATURES_NAME)
    if scale > 1:
        chain.add("DepthToSpace", blocksize=scale)
    if unit != 1:
        chain.add("Mul", np.float32(unit))
    if colour == "YUV":
        offset = FROM_YUV @ (zero - GREY) + HALF
        chain.add("Conv", FROM_YUV[:, :, None, None].astype(np.float32), offset.astype(np.float32))
        chain.nodes[-1].name = FROM_COLOURS
    else:
        chain.add("Add", np.float32(zero + HALF))
    chain.add("Clip", np.float32(0), np.float32(255 + HALF))
    if colour == "BGR":
        chain.add("Gather", np.array([2, 1, 0], np.int64), axis=1)
    chain.add("Transpose", perm=[0, 2, 3, 1])
    chain.add("Cast", to=TensorProto.UINT8)
    chain.nodes[-1].output[0] = OUTPUT_NAME
    graph = edit.model.graph
    graph.node.extend(chain.nodes)
    sides: Dims = ["H", "W"] if scale == 1 else [f"{scale}H", f"{scale}W"]
    features: Dims = [1, COLOURS * scale**2, "H", "W"]
    picture: Dims = [1, *sides, COLOURS]
    _declare(graph, (FEATURES_NAME, features), (OUTPUT_NAME, picture, TensorProto.UINT8))
    return edit.finish()


class _Chain:
    """Nodes one after the other."""

    def __init__(self, edit: GraphEdit, tensor: str) -> None:
        self._edit, self.tensor = edit, tensor
        self.nodes: list[onnx.NodeProto] = []
        self._head = f"adopted.{tensor}"

    def add(self, op_type: str, *beside: Any, **how: Any) -> None:
        """A node that takes what is made so far, and constants or tensors beside it."""
        name = f"{self._head}.{len(self.nodes)}"
        names = []
        for index, each in enumerate(beside):
            if isinstance(each, str):
                names.append(each)
            else:
                names.append(f"{name}.{index}")
                self._edit.set_weight(names[-1], np.asarray(each))
        self.nodes.append(
            helper.make_node(op_type, [self.tensor, *names], [name], f"{name}/{op_type}", **how)
        )
        self.tensor = name


def _declare(graph: onnx.GraphProto, taken: End, given: End) -> None:
    """Declare the only input and output."""
    del graph.input[:], graph.output[:], graph.value_info[:]
    for values, end in ((graph.input, taken), (graph.output, given)):
        element = end[2] if len(end) == 3 else TensorProto.FLOAT
        values.append(helper.make_tensor_value_info(end[0], element, list(end[1])))
