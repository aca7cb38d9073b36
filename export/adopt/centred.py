"""A network that makes one picture of T frames, as a stream: it keeps the frames before.

Which of the T frames the picture is of is found by trial. Frames after that one are waited for: the
stream runs so many frames late. Where a clip has no frame, its first or last one stands in.

    framed = one_of_several(path, model, axis, most_ahead=2)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...arrays import Floats
from ...bundle.schema import StateSpec
from ...errors import AdoptError
from ...pictures.synthetic import draw_clip
from ..graphs.graph_edit import GraphEdit
from ..graphs.replay import open_session
from .clips import COLOURS, PICTURE_IN, PICTURE_OUT, Framed

SIDES = (48, 64)
"""Height and width of the frames that are tried."""

MOVED_PX = 11
"""Pixels that each trial frame is moved against the one before, so that they differ."""

LEAST_LIKENESS, LEAST_LEAD = 0.5, 0.1
"""Correlation of the picture with its frame, and how much more that is than with any other."""

Trial = tuple[int, bool]
"""Which frame the picture is of, and whether it comes with an axis of time."""


def one_of_several(
    path: Path, model: onnx.ModelProto, axis: int, frames: int, most_ahead: int
) -> Framed | None:
    """Derive the stream, where the network makes one picture of T frames.

    Args:
        path: For errors.
        model: Over clips of T frames, opset 20, in float32.
        axis: Of time in its input; 1 of an input of four axes are frames as channels.
        frames: T.
        most_ahead: Frames that pictures may come late.

    Returns:
        None where it makes as many pictures as it takes frames, or does not run.

    Raises:
        AdoptError: Which frame the picture is of cannot be told, or it comes later than allowed.
    """
    found = _try(path, model, axis, frames)
    if found is None:
        return None
    shown, has_axis = found
    ahead = frames - 1 - shown
    if ahead > most_ahead:
        raise AdoptError(
            f"'{path}' makes the picture of frame {shown + 1} of {frames}, with {ahead} frames "
            f"after it: --lookahead {ahead} lets pictures come {ahead} frames late"
        )
    stream, states = _stream(model, axis, frames, ahead, has_axis=has_axis)
    return Framed(
        model=stream,
        states=states,
        axis=axis,
        frames=frames,
        past=shown,
        ahead=ahead,
        difference=0.0,
        shown=shown,
    )


def arranged(frames: Sequence[Floats], axis: int, rank: int) -> Floats:
    """Frames (1, 3, H, W) as the network takes them."""
    if rank == 4:
        return np.concatenate(frames, axis)
    return np.stack(frames, axis)


def _try(path: Path, model: onnx.ModelProto, axis: int, frames: int) -> Trial | None:
    rank = len(model.graph.input[0].type.tensor_type.shape.dim)
    picture = draw_clip(1, *SIDES)[0].astype(np.float32) / 255
    clip = [
        np.roll(picture, MOVED_PX * at, (0, 1)).transpose(2, 0, 1)[None] for at in range(frames)
    ]
    try:
        session = open_session(_any_size(model).SerializeToString())
        found = [
            session.run(None, {model.graph.input[0].name: arranged(clip, axis, rank) * unit})[0]
            for unit in (np.float32(1), np.float32(255))
        ]
    except Exception:  # of several kinds; what does not run is told where it is to run
        return None
    shape = found[0].shape
    has_axis = len(shape) == 5
    if len(shape) not in (4, 5) or (has_axis and shape[axis] != 1) or 0 in shape:
        return None
    pictures = [each.squeeze(axis) if has_axis else each for each in found]
    if pictures[0].shape[:2] != (1, COLOURS):
        return None
    likeness = max(([_alike(each, frame) for frame in clip] for each in pictures), key=max)
    best = int(np.argmax(likeness))
    others = [each for at, each in enumerate(likeness) if at != best]
    if likeness[best] < LEAST_LIKENESS or likeness[best] - max(others) < LEAST_LEAD:
        shown = ", ".join(f"{each:.2f}" for each in likeness)
        raise AdoptError(
            f"'{path}' makes one picture of {frames} frames, and it resembles none of them (their "
            f"correlations with it: {shown}): that is no upscaler of one of them"
        )
    return best, has_axis


def _any_size(model: onnx.ModelProto) -> onnx.ModelProto:
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for values in (opened.graph.input, opened.graph.output):
        dims = values[0].type.tensor_type.shape.dim
        for dim in list(dims)[-2:]:
            dim.Clear()
    del opened.graph.value_info[:]
    return opened


def _alike(picture: Any, frame: Any) -> float:
    """Correlation of a picture, reduced, with a frame."""
    height, width = frame.shape[2:]
    by = picture.shape[2] // height
    if by < 1 or picture.shape[2:] != (height * by, width * by):
        return 0.0
    small = picture[0].reshape(COLOURS, height, by, width, by).mean((2, 4))
    found = float(np.corrcoef(small.ravel(), frame.ravel())[0, 1])
    return found if np.isfinite(found) else 0.0


def _stream(
    model: onnx.ModelProto, axis: int, frames: int, ahead: int, *, has_axis: bool
) -> tuple[onnx.ModelProto, tuple[StateSpec, ...]]:
    """The network behind a register of the frames before."""
    edit = GraphEdit(model)
    graph = edit.model.graph
    source, sink = graph.input[0].name, graph.output[0].name
    rank = len(graph.input[0].type.tensor_type.shape.dim)
    before = [f"adopted.before_{k}" for k in range(1, frames)]
    edit.set_weight("adopted.one", np.float32(1))
    edit.set_weight("adopted.none", np.float32(0))
    nodes = []

    def node(op: str, inputs: Sequence[str], output: str, **how: Any) -> str:
        nodes.append(helper.make_node(op, list(inputs), [output], f"{output}/{op}", **how))
        return output

    node("Sub", ["adopted.one", "adopted.began"], "adopted.begins")
    newest = PICTURE_IN
    if ahead:
        # Behind the end the last frame stands in: it is the newest that is kept.
        node("Sign", ["adopted.absent"], "adopted.gone")
        node("Sub", ["adopted.one", "adopted.gone"], "adopted.came")
        node("Mul", [PICTURE_IN, "adopted.came"], "adopted.given")
        node("Mul", [before[0], "adopted.gone"], "adopted.again")
        newest = node("Add", ["adopted.given", "adopted.again"], "adopted.newest")
        node("Mul", ["adopted.absent", "adopted.none"], "adopted.absent_next")
    # Before the beginning the first one stands in.
    node("Mul", [newest, "adopted.begins"], "adopted.first")
    kept = [newest]
    for k, name in enumerate(before, 1):
        node("Mul", [name, "adopted.began"], f"adopted.kept_{k}")
        kept.append(node("Add", [f"adopted.kept_{k}", "adopted.first"], f"adopted.seen_{k}"))
    for k, name in enumerate(before):
        node("Identity", [kept[k]], f"{name}_next")
    node("Mul", ["adopted.began", "adopted.none"], "adopted.zeros")
    node("Add", ["adopted.zeros", "adopted.one"], "adopted.began_next")
    if rank == 5:
        edit.set_weight("adopted.time", np.array([axis], np.int64))
        kept = [
            node("Unsqueeze", [name, "adopted.time"], f"adopted.laid_{k}")
            for k, name in enumerate(kept)
        ]
    node("Concat", kept[::-1], "adopted.clip", axis=axis)
    edit.rename_reads(source, "adopted.clip")
    graph.node.extend(nodes)
    if has_axis:
        edit.set_weight("adopted.one_frame", np.array([axis], np.int64))
        end = helper.make_node("Squeeze", [sink, "adopted.one_frame"], [PICTURE_OUT], "adopted/one")
    else:
        end = helper.make_node("Identity", [sink], [PICTURE_OUT], "adopted/one")
    graph.node.append(end)
    states = [StateSpec(name, COLOURS, 1, f"{name}_next") for name in before]
    states.append(StateSpec("adopted.began", 1, 1, "adopted.began_next"))
    if ahead:
        states.append(StateSpec("adopted.absent", 1, 1, "adopted.absent_next", ahead))
    del graph.input[:], graph.output[:], graph.value_info[:]
    kind = TensorProto.FLOAT
    shapes = [(PICTURE_IN, COLOURS), *((spec.name, spec.channels) for spec in states)]
    ends = [(PICTURE_OUT, COLOURS), *((spec.next_name, spec.channels) for spec in states)]
    for values, named in ((graph.input, shapes), (graph.output, ends)):
        for name, channels in named:
            sides: list[Any] = ["high", "wide"] if name == PICTURE_OUT else ["H", "W"]
            values.append(helper.make_tensor_value_info(name, kind, [1, channels, *sides]))
    return edit.finish(), tuple(states)
