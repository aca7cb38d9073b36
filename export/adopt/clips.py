"""A network over clips as one of single frames: (1, 3, H, W) and states in and out.

framed = frame_by_frame(path, model)
framed.model, framed.states
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...bundle.schema import StateSpec
from ...errors import AdoptError
from .emit import Stream
from .streamify import prove, streamify

PICTURE_IN, PICTURE_OUT = "adopted.picture_in", "adopted.picture_out"

COLOURS = 3


@dataclass(frozen=True)
class Framed:
    """What becomes of a network over clips."""

    model: onnx.ModelProto
    """`PICTURE_IN` and states in, `PICTURE_OUT` and next states out."""

    states: tuple[StateSpec, ...]

    axis: int
    """Of time, in the clip."""

    frames: int | None
    """Of the clip, where the file fixes it."""

    past: int
    """Frames before a picture's that it depends on, as far as was looked."""

    ahead: int
    """Frames after it that it depends on: so many late it comes."""

    difference: float
    """Largest one between the whole clip and frame by frame."""

    shown: int | None = None
    """Of a network that makes one picture of `frames` frames, which of them it is of."""


def clip_axis(dims: Sequence[int | None]) -> int | None:
    """Where time is in an input; None where it is one picture.

    Args:
        dims: Of the input; None each for what is dynamic.
    """
    if len(dims) == 4 and (dims[0] or 1) > 1 and COLOURS in (dims[1], dims[3]):
        return 0
    if len(dims) != 5 or dims[0] not in (1, None):
        return None
    if dims[2] == COLOURS:
        return 1
    return 2 if dims[1] == COLOURS else None


def frame_by_frame(path: Path, model: onnx.ModelProto, axis: int, most_ahead: int = 0) -> Framed:
    """Derive the network of single frames.

    Args:
        path: For errors.
        model: Over clips, opset 20, in float32.
        axis: Of time in its input.
        most_ahead: Frames that pictures may come late.

    Raises:
        AdoptError: It cannot be streamed, or only with pictures that come later.
    """
    dims = [d.dim_value or None for d in model.graph.input[0].type.tensor_type.shape.dim]
    try:
        stream = streamify(model, frames_axis=axis, most_ahead=most_ahead)
        difference = prove(model, stream, axis)
    except AdoptError as error:
        instead = "" if "--window" in str(error) else "; --window FRAMES runs it in windows"
        if len(dims) == 4:  # frames are where others have a batch
            instead += "; if its first axis is a batch, its pictures must not depend on one another"
        raise AdoptError(f"'{path}' is a network over clips: {error}{instead}") from error
    return Framed(
        model=_of_pictures(stream, axis, len(dims)),
        states=_specs(path, stream),
        axis=axis,
        frames=dims[axis],
        past=stream.past,
        ahead=stream.ahead,
        difference=difference,
    )


def _specs(path: Path, stream: Stream) -> tuple[StateSpec, ...]:
    """States as a bundle describes them."""
    height, width = stream.frame_shape[-2:]
    specs = []
    for name, following in stream.states:
        shape = stream.shapes[name]
        if (
            len(shape) != 4
            or height % shape[2]
            or width % shape[3]
            or (height // shape[2] != width // shape[3])
        ):
            raise AdoptError(
                f"'{path}' would carry a state of shape {shape} for frames of {width}x{height}: "
                "sides of states divide those of frames"
            )
        ends = stream.ahead if name == stream.end else 0
        specs.append(StateSpec(name, shape[1], height // shape[2], following, ends))
    return tuple(specs)


def _of_pictures(stream: Stream, axis: int, rank: int) -> onnx.ModelProto:
    """The stream with pictures of four dimensions at its ends."""
    model = onnx.ModelProto()
    model.CopyFrom(stream.model)
    graph = model.graph
    kind = TensorProto.FLOAT
    shape: list[int | str | None] = [1, COLOURS, "H", "W"]
    del graph.input[0]
    graph.input.insert(0, helper.make_tensor_value_info(PICTURE_IN, kind, shape))
    del graph.output[0]
    grown: list[int | str | None] = [1, COLOURS, "high", "wide"]
    graph.output.insert(0, helper.make_tensor_value_info(PICTURE_OUT, kind, grown))
    if rank == 4:
        head = helper.make_node("Identity", [PICTURE_IN], ["frame"], "adopted/time_in")
        tail = helper.make_node("Identity", ["picture"], [PICTURE_OUT], "adopted/time_out")
    else:
        place = numpy_helper.from_array(np.array([axis], np.int64), "adopted.time")
        graph.initializer.append(place)
        head = helper.make_node(
            "Unsqueeze", [PICTURE_IN, "adopted.time"], ["frame"], "adopted/time_in"
        )
        tail = helper.make_node(
            "Squeeze", ["picture", "adopted.time"], [PICTURE_OUT], "adopted/time_out"
        )
    graph.node.insert(0, head)
    graph.node.append(tail)
    return model
