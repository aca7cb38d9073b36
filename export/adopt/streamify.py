"""A network over a clip as one of single frames with state, derived from its graph.

The clip's graph is unrolled: every tensor becomes its frames, and what mixes frames (convolutions
over time, shifts, recurrence written out) is followed to them. Then the picture of one frame is
laid beside that of the next: what is the same but a frame later is one node of the stream, and what
a picture needs of frames before becomes state. Where pictures need frames after their own, and that
is allowed, they come so many frames late: `borders` finds where the network reads zero before and
after the clip, and these reads are multiplied by whether the frame is there.

    stream = streamify(model, frames_axis=0)
    stream.model  # frame and states in, picture and next states out
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from ...errors import AdoptError
from ..graphs.replay import open_session
from .borders import Frame, find_borders
from .emit import Emitter, Stream
from .time_rules import TIME_RULES
from .unrolled import TRIAL_SIDES, Unrolled

PROVEN_FRAMES = (1, 2, 9)
"""Of clips that a stream is proven by."""

TOLERANCE = 1e-4
"""Of the largest value of a picture."""

NAMED = 6
"""Nodes an error names."""


def streamify(model: onnx.ModelProto, *, frames_axis: int, most_ahead: int = 0) -> Stream:
    """Derive the graph of one frame.

    Args:
        model: Float, opset 13 or later, one input and one output that have time on an axis.
        frames_axis: Where time is in the input.
        most_ahead: Frames that pictures may come late.

    Raises:
        AdoptError: A node does with time what is not known, or the network cannot be streamed; the
            nodes are named.
    """
    unrolled = Unrolled(model, frames_axis, TIME_RULES)
    outputs = unrolled.outputs
    count, total = len(outputs), unrolled.count
    if count != total:
        raise AdoptError(
            f"the network makes {count} pictures of {total} frames; one a frame can be streamed"
        )
    middle = total // 2
    later = [outputs[at].ready - at for at in range(total)]
    if later[middle] != later[middle - 1] or later[middle] != later[middle + 1]:
        named = _latest_nodes(outputs[middle])
        raise AdoptError(
            f"a picture needs frames to the end of the clip, however long: {', '.join(named)} go "
            "backwards through it; such a network runs in windows: --window"
        )
    ahead = max(later[middle], 0)
    if ahead > most_ahead:
        named = _latest_nodes(outputs[middle])
        raise AdoptError(
            f"a picture needs {ahead} frames after its own ({', '.join(named)}): --lookahead "
            f"{ahead} lets pictures come {ahead} frames late, --window runs it in windows"
        )
    edges = find_borders(outputs, middle, ahead) if ahead else {}
    return Emitter(unrolled, middle + ahead, middle, ahead, edges).stream()


def _latest_nodes(frame: Frame) -> list[str]:
    """Nodes on the way from the latest input to a picture, the first ones first."""
    names: dict[str, None] = {}
    seen: set[int] = set()
    pending = [frame]
    while pending:
        each = pending.pop()
        if id(each) in seen or each.op is None:
            continue
        seen.add(id(each))
        mixes = {i.ready for i in each.inputs if i is not None and i.ready >= 0}
        if len(mixes) > 1 and each.ready == frame.ready:
            names[f"'{each.name}'"] = None
        pending += [i for i in each.inputs if i is not None and i.ready == frame.ready]
    found = list(reversed(names)) or [f"'{frame.name}'"]
    return found[:NAMED]


def prove(model: onnx.ModelProto, stream: Stream, frames_axis: int) -> float:
    """Run clips whole and frame by frame, from states of zero.

    Args:
        model: Of the clip.
        stream: Derived from it.
        frames_axis: Where time is; where the graph takes any number of frames, one, two and nine
            are run, else its own number.

    Returns:
        Largest difference of any picture.

    Raises:
        AdoptError: It is more than `TOLERANCE` times the picture's range.
    """
    fixed = model.graph.input[0].type.tensor_type.shape.dim[frames_axis].dim_value
    whole = open_session(model.SerializeToString())
    session = open_session(stream.model.SerializeToString())
    return max(
        _differ(model, whole, session, stream, frames_axis, count)
        for count in ((fixed,) if fixed else PROVEN_FRAMES)
    )


def _differ(
    model: onnx.ModelProto, whole: Any, session: Any, stream: Stream, axis: int, count: int
) -> float:
    dims = [d.dim_value or 0 for d in model.graph.input[0].type.tensor_type.shape.dim]
    dims[axis] = count
    shape = Unrolled.sizes(dims, axis, TRIAL_SIDES[0])
    clip = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
    expected = whole.run(None, {model.graph.input[0].name: clip})[0]
    state = {name: np.zeros(stream.shapes[name], np.float32) for name, _ in stream.states}
    names = ["picture", *(following for _, following in stream.states)]
    pictures = []
    for at in range(count + stream.ahead):
        frame = np.take(clip, [min(at, count - 1)], axis)
        if stream.end is not None and at >= count:
            state[stream.end] = np.ones_like(state[stream.end])
        picture, *next_states = session.run(names, {"frame": frame, **state})
        state = {name: each for (name, _), each in zip(stream.states, next_states, strict=True)}
        pictures.append(picture)
    places = [i for i, n in enumerate(expected.shape) if pictures[0].shape[i] == 1 and n == count]
    made = np.concatenate(pictures[stream.ahead :], places[0])
    difference = float(np.abs(made - expected).max())
    if not difference <= TOLERANCE * max(float(np.abs(expected).max()), 1.0):
        beyond = " or after the last" * bool(stream.ahead)
        raise AdoptError(
            f"frame by frame the network gives another picture than over the whole clip, by "
            f"{difference:.3g}: what it takes for frames before the first{beyond} is not zero; "
            "no stream"
        )
    return difference
