"""A network over a clip as one of single frames with state, derived from its graph.

The clip's graph is unrolled: every tensor becomes its frames, and what mixes frames (convolutions
over time, shifts, recurrence written out) is followed to them. Then the picture of one frame is
laid beside that of the next: what is the same but a frame later is one node of the stream, and what
a picture needs of frames before becomes state. Where pictures need frames after their own, and that
is allowed, they come so many frames late: `borders` finds where the network reads nought before and
after the clip, and these reads are multiplied by whether the frame is there.

    stream = streamify(model, frames_axis=0)
    stream.model  # frame and states in, picture and next states out
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import AdoptError
from ...graph.shapes import infer_types
from ..graphs.graph_edit import sort_nodes
from ..graphs.replay import open_session
from .borders import Array, Edge, Frame, find_borders

TRIAL_FRAMES = 24
"""Frames a clip of any length is unrolled for; more than networks of convolutions see."""

TRIAL_SIDES = ((24, 32), (32, 48))
"""Height and width that shapes are inferred at: what differs between both is a size."""

PROVEN_FRAMES = (1, 2, 9)
"""Of clips that a stream is proven by."""

TOLERANCE = 1e-4
"""Of the largest value of a picture."""

NAMED = 6
"""Nodes an error names."""

ABSENT, THERE = "absent", "there_{}"
"""States of a stream that runs behind: whether no frame comes in, and whether one came so many
frames ago."""


@dataclass(frozen=True)
class Clip:
    """A tensor of the clip's graph."""

    frames: tuple[Frame, ...]
    axis: int | None
    """Of time; None for a tensor that has none, in one frame."""


@dataclass(frozen=True)
class Stream:
    """What `streamify` derives."""

    model: onnx.ModelProto
    """`frame` (the input's shape with one frame), then states; the picture, then next states."""

    states: tuple[tuple[str, str], ...]
    """Inputs and outputs of state; nought before the first frame."""

    shapes: dict[str, tuple[int, ...]]
    """(1, C, h, w) of every state, at the first of `TRIAL_SIDES`."""

    frame_shape: tuple[int, ...]
    """Of what comes in, at the first of `TRIAL_SIDES` or the file's own size."""

    past: int
    """Frames of the input before a picture's that it depends on, as far as was unrolled."""

    ahead: int = 0
    """Frames after a picture's own that it depends on: so many frames late it comes."""

    @property
    def end(self) -> str | None:
        """State that says, where it is more than 0, that the frame is none: the clip is over."""
        return ABSENT if self.ahead else None


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
    unrolled = _Unrolled(model, frames_axis)
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
    return _Emitter(unrolled, middle + ahead, middle, ahead, edges).stream()


class _Unrolled:
    """The frames of every tensor."""

    def __init__(self, model: onnx.ModelProto, axis: int) -> None:
        self.model = model
        self.weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        source = model.graph.input[0]
        dims = [d.dim_value or 0 for d in source.type.tensor_type.shape.dim]
        self.count = dims[axis] or TRIAL_FRAMES
        self.axis = axis
        sizes = [{source.name: self._sizes(dims, axis, sides)} for sides in TRIAL_SIDES]
        self.types = infer_types(model, sizes[0])
        self.sized = _folded(model, sizes[0])
        """What nodes compute from shapes alone, at the first of the trial sizes."""
        self.fixed = _alike(self.sized, _folded(model, sizes[1]))
        self._places: dict[tuple[Any, ...], Frame] = {}
        self.taps: set[int] = set()
        """Terms of convolutions over time: of frames before, what goes in is kept, not they."""
        self.values: dict[str, Clip] = {}
        self._made: dict[tuple[Any, ...], Frame] = {}
        single = tuple(1 if i == axis else side for i, side in enumerate(sizes[0][source.name]))
        inputs = tuple(Frame(at, source.name, shape=single) for at in range(self.count))
        self.inputs = inputs
        self.values[source.name] = Clip(inputs, axis)
        for node in model.graph.node:
            if not all(name in self.sized or name in self.weights for name in node.output):
                self._unroll(node)
        found = self.values[model.graph.output[0].name]
        self.outputs = found.frames
        self.output_axis = found.axis

    @staticmethod
    def _sizes(dims: Sequence[int], axis: int, sides: tuple[int, int]) -> tuple[int, ...]:
        free = iter(sides)
        shape = []
        for at, dim in enumerate(dims):
            if at == axis:
                shape.append(dim or TRIAL_FRAMES)
            else:
                shape.append(dim or (1 if at == 0 else next(free)))
        return tuple(shape)

    def constant(self, name: str) -> Array | None:
        """A weight, or what a size does not change."""
        found = self.weights.get(name)
        return self.fixed.get(name) if found is None else found

    def shape(self, name: str) -> tuple[int, ...]:
        """At the first of the trial sizes."""
        return self.types[name].shape

    def clip(self, name: str) -> Clip:
        """A tensor; weights are constants without time."""
        if name in self.values:
            return self.values[name]
        value = self.constant(name)
        if value is None and name in self.sized and not np.any(self.sized[name]):
            return Clip((_zero(),), None)  # noughts of the frame's size, as states begin with
        if value is None:
            raise AdoptError(f"tensor '{name}' has a size in it that is computed from the picture")
        found = Clip((self.made(None, (), name, value=value),), None)
        self.values[name] = found
        return found

    def made(
        self,
        op: onnx.NodeProto | None,
        inputs: tuple[Frame | None, ...],
        name: str,
        *,
        output: int = 0,
        value: Array | None = None,
        shape: tuple[int, ...] = (),
    ) -> Frame:
        """A frame, the same for the same node and inputs."""
        if op is None:
            return Frame(-1, name, value=value, shape=shape)
        key = (
            op.op_type,
            tuple(a.SerializeToString() for a in op.attribute),
            tuple(id(i) if i is not None else 0 for i in inputs),
            output,
        )
        if key not in self._made:
            ready = max((i.ready for i in inputs if i is not None), default=-1)
            self._made[key] = Frame(ready, name, op, inputs, output, shape=shape)
        return self._made[key]

    def place(self, *values: Any) -> Frame:
        """A constant of axes or places, the same for the same values."""
        key = tuple(np.asarray(values, np.int64).tolist())
        if key not in self._places:
            self._places[key] = self.made(None, (), "place", value=np.asarray(key, np.int64))
        return self._places[key]

    def single(self, name: str, axis: int | None) -> tuple[int, ...]:
        """A tensor's shape with one frame."""
        return tuple(1 if i == axis else side for i, side in enumerate(self.shape(name)))

    def refuse(self, node: onnx.NodeProto, what: str) -> AdoptError:
        """An error that names a node."""
        return AdoptError(f"node '{node.name}' ({node.op_type}) {what}; it cannot be streamed")

    def _unroll(self, node: onnx.NodeProto) -> None:
        rule = _TIME_RULES.get(node.op_type)
        found = rule(self, node) if rule else None
        if found is None:
            found = self._each(node)
        for name, clip in zip(node.output, found, strict=False):
            self.values[name] = clip

    def _each(self, node: onnx.NodeProto) -> list[Clip]:
        """The same node on every frame."""
        clips = [self.clip(name) if name else None for name in node.input]
        axes = {c.axis for c in clips if c is not None and c.axis is not None}
        lengths = {len(c.frames) for c in clips if c is not None and c.axis is not None}
        if len(lengths) > 1:
            raise self.refuse(node, f"joins clips of {sorted(lengths)} frames")
        axis = self._axis_after(node, clips)
        if node.op_type not in _BY_FRAME and axes:
            raise self.refuse(node, "does with time what is not known")
        count = lengths.pop() if lengths else 1
        results = []
        for index in range(len(node.output)):
            frames = tuple(
                self.made(
                    node,
                    tuple(
                        None if c is None else c.frames[at if c.axis is not None else 0]
                        for c in clips
                    ),
                    node.name,
                    output=index,
                    shape=self.single(node.output[index], axis),
                )
                for at in range(count)
            )
            results.append(Clip(frames, axis))
        return results

    def _axis_after(self, node: onnx.NodeProto, clips: Sequence[Clip | None]) -> int | None:
        """Where time is behind a node that leaves it alone; aligned from the right, as it joins."""
        rank = len(self.shape(node.output[0]))
        places = {
            c.axis + rank - len(self.shape(name))
            for name, c in zip(node.input, clips, strict=True)
            if c is not None and c.axis is not None
        }
        if len(places) > 1:
            raise self.refuse(node, "joins clips with time on different axes")
        return places.pop() if places else None


def _alike(first: dict[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    """What does not depend on the frame's size."""
    return {
        name: value
        for name, value in first.items()
        if name in second and np.array_equal(value, second[name])
    }


def _folded(model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    from onnx.reference import ReferenceEvaluator

    types = infer_types(model, sizes)
    known: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found: dict[str, Array] = {}
    for node in model.graph.node:
        if node.op_type == "Shape":
            shape = np.array(types[node.input[0]].shape, np.int64)
            attributes = {a.name: a.i for a in node.attribute}
            value = shape[attributes.get("start", 0) : attributes.get("end", len(shape))]
        elif all(name in known for name in node.input if name) and (node.input or node.attribute):
            feeds = {name: known[name] for name in node.input if name}
            outputs: Any = ReferenceEvaluator(node).run(None, feeds)
            value = np.asarray(outputs[0])
        else:
            continue
        known[node.output[0]] = found[node.output[0]] = np.asarray(value)
    return found


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _own(node: onnx.NodeProto, op_type: str, **attributes: Any) -> onnx.NodeProto:
    """A node of ours in the place of one of the clip's graph."""
    return helper.make_node(op_type, ["?"], ["?"], node.name, **attributes)


def _zero() -> Frame:
    return Frame(-1, "zero", value=np.zeros((), np.float32))


def _conv(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    """Over time: a sum of convolutions of single frames."""
    clip, weight = graph.clip(node.input[0]), graph.constant(node.input[1])
    if clip.axis is None or weight is None or clip.axis == 0:
        return None
    found = _attributes(node)
    rank = weight.ndim - 2
    place = clip.axis - 2
    if place < 0 or rank != 3:
        raise graph.refuse(node, "convolves with time among the channels")
    ones = [1] * rank
    strides, dilations = found.get("strides", ones), found.get("dilations", ones)
    pads = list(found.get("pads", [0] * 2 * rank))
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or strides[place] != 1:
        raise graph.refuse(node, "skips frames, or pads by the size")
    before, after = pads[place], pads[place + rank]
    taps, step = weight.shape[2 + place], dilations[place]
    pads[place] = pads[place + rank] = 0
    how = {
        "kernel_shape": [1 if i == place else k for i, k in enumerate(weight.shape[2:])],
        "pads": pads,
        "strides": list(strides),
        "dilations": [1 if i == place else d for i, d in enumerate(dilations)],
        "group": found.get("group", 1),
    }
    own = _own(node, "Conv", **how)
    kernels = [
        graph.made(None, (), f"{node.input[1]}.{tap}", value=np.take(weight, [tap], 2 + place))
        for tap in range(taps)
    ]
    bias = graph.clip(node.input[2]).frames[0] if len(node.input) > 2 else None
    total = len(clip.frames)
    shape = graph.single(node.output[0], clip.axis)
    frames = []
    for at in range(total + before + after - step * (taps - 1)):
        terms: list[Frame] = []
        for tap, kernel in enumerate(kernels):
            source = at - before + step * tap
            given = clip.frames[source] if 0 <= source < total else _zero()
            terms.append(graph.made(own, (given, kernel), node.name, shape=shape))
        if bias is not None:
            last = terms[-1]
            terms[-1] = graph.made(own, (*last.inputs, bias), node.name, shape=shape)
        graph.taps |= {id(term) for term in terms}
        frames.append(_sum(graph, node, terms))
    return [Clip(tuple(frames), clip.axis)]


def _sum(graph: _Unrolled, node: onnx.NodeProto, terms: Sequence[Frame]) -> Frame:
    """All terms, those of noughts too, so that the ends of a clip are built like its middle."""
    total = terms[-1]
    for term in reversed(terms[:-1]):
        total = graph.made(_own(node, "Add"), (total, term), node.name, shape=total.shape)
    return total


def _slice(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    rank = len(graph.shape(node.input[0]))
    values = [graph.constant(name) for name in node.input[1:]]
    if any(value is None for value in values):
        raise graph.refuse(node, "cuts at places that depend on the size")
    starts, ends = (list(map(int, v)) for v in values[:2] if v is not None)
    axes = list(map(int, values[2])) if len(values) > 2 else list(range(len(starts)))  # type: ignore[arg-type]
    steps = list(map(int, values[3])) if len(values) > 3 else [1] * len(starts)  # type: ignore[arg-type]
    axes = [axis % rank for axis in axes]
    frames = clip.frames
    rest = []
    for limits in zip(starts, ends, axes, steps, strict=True):
        start, end, axis, step = limits
        if axis == clip.axis:
            stop: int | None = end if end > -(1 << 31) else None
            frames = frames[slice(start, stop, step)]
        else:
            rest.append(limits)
    if rest:
        parts = [graph.place(*part) for part in zip(*rest, strict=True)]
        own, shape = _own(node, "Slice"), graph.single(node.output[0], clip.axis)
        frames = tuple(
            frame if frame.is_zero else graph.made(own, (frame, *parts), node.name, shape=shape)
            for frame in frames
        )
    return [Clip(tuple(frames), clip.axis)]


def _gather(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip, places = graph.clip(node.input[0]), graph.constant(node.input[1])
    rank = len(graph.shape(node.input[0]))
    axis = _attributes(node).get("axis", 0) % rank
    if clip.axis is None:
        return None
    if axis != clip.axis:
        if places is not None and places.ndim == 1:
            return None
        raise graph.refuse(node, "takes a place of an axis that is not time")
    if places is None:
        raise graph.refuse(node, "takes frames that depend on the size")
    if places.ndim == 1:
        return [Clip(tuple(clip.frames[int(at)] for at in places), axis)]
    return [Clip((_squeezed(graph, node, clip.frames[int(places)], [axis]),), None)]


def _squeezed(graph: _Unrolled, node: onnx.NodeProto, frame: Frame, axes: list[int]) -> Frame:
    if frame.is_zero:
        return frame
    shape = tuple(side for i, side in enumerate(frame.shape) if i not in axes)
    own = _own(node, "Squeeze")
    return graph.made(own, (frame, graph.place(*axes)), node.name, shape=shape)


def _unsqueezed(graph: _Unrolled, node: onnx.NodeProto, frame: Frame, axes: list[int]) -> Frame:
    if frame.is_zero:
        return frame
    rank = len(frame.shape) + len(axes)
    rest = iter(frame.shape)
    shape = tuple(1 if i in axes else next(rest) for i in range(rank))
    own = _own(node, "Unsqueeze")
    return graph.made(own, (frame, graph.place(*axes)), node.name, shape=shape)


def _squeeze(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    shape = graph.shape(node.input[0])
    given = graph.constant(node.input[1]) if len(node.input) > 1 else None
    axes = (
        [int(a) % len(shape) for a in given]
        if given is not None
        else [i for i, side in enumerate(shape) if side == 1]
    )
    axis = clip.axis
    if axis is not None and axis in axes:
        if len(clip.frames) != 1:
            raise graph.refuse(node, "leaves time out")
        axis = None
    frames = tuple(_squeezed(graph, node, frame, axes) for frame in clip.frames)
    moved = None if axis is None else axis - sum(a < axis for a in axes)
    return [Clip(frames, moved)]


def _unsqueeze(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    given = graph.constant(node.input[1])
    rank = len(graph.shape(node.output[0]))
    axes = sorted(int(a) % rank for a in (given if given is not None else ()))
    kept = [i for i in range(rank) if i not in axes]
    moved = None if clip.axis is None else kept[clip.axis]
    frames = tuple(_unsqueezed(graph, node, frame, axes) for frame in clip.frames)
    return [Clip(frames, moved)]


def _transpose(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    rank = len(graph.shape(node.input[0]))
    order = list(_attributes(node).get("perm", range(rank)[::-1]))
    moved = order.index(clip.axis)
    shape = graph.single(node.output[0], moved)
    frames = tuple(
        frame if frame.is_zero else graph.made(node, (frame,), node.name, shape=shape)
        for frame in clip.frames
    )
    return [Clip(frames, moved)]


def _concat(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    rank = len(graph.shape(node.output[0]))
    axis = _attributes(node)["axis"] % rank
    clips = [graph.clip(name) for name in node.input]
    places = {clip.axis for clip in clips if clip.axis is not None}
    shapes = [graph.shape(name) for name in node.input]
    over_time = places == {axis} or (
        # Single frames put beside each other, on an axis that they are 1 long on.
        not places
        and len(clips) == graph.count
        and (rank == 5 or axis == 0)
        and all(shape[axis] == 1 for shape in shapes)
    )
    if not over_time:
        return None
    frames: list[Frame] = []
    for clip, shape in zip(clips, shapes, strict=True):
        if clip.axis is None and clip.frames[0].is_zero:
            frames += [_zero()] * shape[axis]
        elif clip.axis is None and shape[axis] != 1:
            raise graph.refuse(node, "joins frames and a constant over time")
        else:
            frames += clip.frames
    return [Clip(tuple(frames), axis)]


def _split(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    rank = len(graph.shape(node.input[0]))
    axis = _attributes(node).get("axis", 0) % rank
    if clip.axis is None or axis != clip.axis:
        return None
    lengths = [graph.shape(name)[axis] for name in node.output]
    edges = np.cumsum([0, *lengths])
    return [Clip(clip.frames[a:b], axis) for a, b in itertools.pairwise(edges)]


def _pad(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    clip = graph.clip(node.input[0])
    if clip.axis is None:
        return None
    pads = graph.constant(node.input[1])
    rank = len(graph.shape(node.input[0]))
    if pads is None or (len(node.input) > 3 and node.input[3]):
        raise graph.refuse(node, "pads by the size")
    before, after = int(pads[clip.axis]), int(pads[clip.axis + rank])
    frames = clip.frames
    if min(before, after) < 0:
        frames = frames[max(-before, 0) : len(frames) + min(after, 0)]
    if max(before, after) > 0 and _attributes(node).get("mode", b"constant") != b"constant":
        raise graph.refuse(node, "repeats frames before or after the clip")
    others = pads.copy()
    others[clip.axis] = others[clip.axis + rank] = 0
    if others.any():
        rest = tuple(graph.clip(n).frames[0] if n else None for n in node.input[2:3])
        inputs = (graph.place(*others), *rest)
        shape = graph.single(node.output[0], clip.axis)
        frames = tuple(
            f if f.is_zero else graph.made(node, (f, *inputs), node.name, shape=shape)
            for f in frames
        )
    frames = (*[_zero()] * max(before, 0), *frames, *[_zero()] * max(after, 0))
    return [Clip(frames, clip.axis)]


def _reshape(graph: _Unrolled, node: onnx.NodeProto) -> list[Clip] | None:
    """Time to another axis, or frames to channels and back; ones come and go."""
    clip = graph.clip(node.input[0])
    before, after = graph.shape(node.input[0]), graph.shape(node.output[0])
    count = len(clip.frames)
    if clip.axis is not None:
        single = [1 if i == clip.axis else side for i, side in enumerate(before)]
        for axis, side in enumerate(after):
            target = [1 if i == axis else each for i, each in enumerate(after)]
            if side == count and [s for s in target if s != 1] == [s for s in single if s != 1]:
                frames = tuple(_reformed(graph, node, f, single, target) for f in clip.frames)
                return [Clip(frames, axis)]
        joined = [count * single[1], *single[2:]] if clip.axis == 0 else None
        if clip.axis == 1 and len(single) > 3:
            joined = [count * single[2], *single[3:]]
        if joined is not None and [s for s in after if s != 1] == [s for s in joined if s != 1]:
            wide = [1, *joined]
            target = [1, single[1], *single[2:]] if clip.axis == 0 else [1, *single[2:]]
            parts = tuple(_reformed(graph, node, f, single, target) for f in clip.frames)
            together = graph.made(_own(node, "Concat", axis=1), parts, node.name, shape=tuple(wide))
            return [Clip((_reformed(graph, node, together, wide, list(after)),), None)]
    else:
        apart = _apart(graph, node, clip.frames[0], list(before), list(after))
        if apart is not None:
            return [apart]
    raise graph.refuse(node, f"reshapes {before} to {after}")


def _apart(
    graph: _Unrolled, node: onnx.NodeProto, frame: Frame, before: list[int], after: list[int]
) -> Clip | None:
    """(1, T * C, H, W) to (T, C, H, W) or (1, T, C, H, W); or ones that come and go."""
    if [s for s in before if s != 1] == [s for s in after if s != 1]:
        return Clip((_reformed(graph, node, frame, before, after),), None)
    if len(before) != 4 or before[0] != 1 or before[1] % graph.count:
        return None
    each = before[1] // graph.count
    axis = {4: 0, 5: 1}.get(len(after))
    if axis is None or after[axis] != graph.count or after[axis + 1] != each:
        return None
    frames = []
    for at in range(graph.count):
        parts = [graph.place(limit) for limit in (at * each, (at + 1) * each, 1, 1)]
        shape = (1, each, *before[2:])
        cut = graph.made(_own(node, "Slice"), (frame, *parts), node.name, shape=shape)
        target = [1 if i == axis else side for i, side in enumerate(after)]
        frames.append(_reformed(graph, node, cut, [1, each, *before[2:]], target))
    return Clip(tuple(frames), axis)


def _reformed(
    graph: _Unrolled, node: onnx.NodeProto, frame: Frame, before: list[int], after: list[int]
) -> Frame:
    """Take ones out and put ones in."""
    if before == after:
        return frame
    gone = [i for i, side in enumerate(before) if side == 1]
    come = [i for i, side in enumerate(after) if side == 1]
    while gone and come and gone[0] == come[0]:
        gone.pop(0), come.pop(0)
    bare = _squeezed(graph, node, frame, gone) if gone else frame
    return _unsqueezed(graph, node, bare, come) if come else bare


Rule = Callable[[_Unrolled, onnx.NodeProto], "list[Clip] | None"]

_TIME_RULES: dict[str, Rule] = {
    "Concat": _concat,
    "Conv": _conv,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

_BY_FRAME = frozenset(
    {
        "Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose",
        "DepthToSpace", "Div", "Elu", "Erf", "Exp", "Floor", "Gather", "Gelu",
        "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max",
        "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Resize", "Sigmoid",
        "SpaceToDepth", "Split", "Sqrt", "Sub", "Sum", "Tanh",
    }
)  # fmt: skip
"""Nodes that leave time alone where pictures are along it, or that mean every value alone."""


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


@dataclass
class _Emitter:
    """Writes the graph of one frame."""

    unrolled: _Unrolled
    now: int
    """The frame that comes in."""

    shown: int
    """The frame whose picture goes out."""

    ahead: int
    """How much later `now` is."""

    edges: Mapping[tuple[int, int], Edge]
    """By node and input, reads of frames that a clip's ends do not have."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    """By what they hold, a frame later."""

    held: dict[int, Frame] = field(default_factory=dict)
    later: dict[int, Frame] = field(default_factory=dict)
    """What a frame's tensor is of the next one."""

    asked: set[int] = field(default_factory=set)
    """Frames ago of those whose being there is asked for."""

    def stream(self) -> Stream:
        """Write it."""
        outputs, total = self.unrolled.outputs, self.unrolled.count
        for at in range(self.shown, total - 1):
            self._pair(outputs[at], outputs[at + 1])
        with _deep():
            picture = self._emit(outputs[self.shown])
            ends = []
            done: set[int] = set()
            while waiting := [k for k in self.states if k not in done]:
                for key in waiting:
                    done.add(key)
                    held, name = self.held[key], self.states[key]
                    tensor = self._emit(held)
                    if gone := _ones(held.shape):
                        tensor = self._reform("Squeeze", tensor, f"{name}.narrow", gone)
                    ends.append((name, tensor))
        return self._written(picture, [*ends, *self._whether_there()])

    def _whether_there(self) -> list[tuple[str, str]]:
        """States that tell which frames came: each one's is the next older one's a frame later."""
        if not self.ahead:
            return []
        self.weights["none"], self.weights["one"] = np.float32(0), np.float32(1)
        self.nodes += [
            helper.make_node("Sign", [ABSENT], ["absent_now"], "absent/sign"),
            helper.make_node("Sub", ["one", "absent_now"], [THERE.format(0)], "there/now"),
            helper.make_node("Mul", [ABSENT, "none"], ["absent_later"], "absent/later"),
        ]
        older = [(THERE.format(k + 1), THERE.format(k)) for k in range(max(self.asked, default=0))]
        return [(ABSENT, "absent_later"), *older]

    def _there(self, ago: int) -> str:
        """A number, 1 where a frame came so many frames ago."""
        name = f"came_{ago}"
        if ago not in self.asked:
            self.asked.add(ago)
            for key, value in (("first", [0, 0]), ("second", [1, 1]), ("plane", [2, 3])):
                self.weights[key] = np.array(value, np.int64)
            inputs = [THERE.format(ago), "first", "second", "plane"]
            self.nodes.append(helper.make_node("Slice", inputs, [name], f"there/{ago}"))
        return name

    def _masked(self, tensor: str, frame: Frame, index: int) -> str:
        """What a node reads, made nought where the clip has no such frame."""
        edge, given = self.edges.get((id(frame), index)), frame.inputs[index]
        if edge is None or given is None:
            return tensor
        wait = self.now - frame.ready
        for ago in edge.agos(wait, given.ready - self.now, self.ahead):
            name = f"masked_{len(self.nodes)}"
            self.nodes.append(helper.make_node("Mul", [tensor, self._there(ago)], [name], name))
            tensor = name
        return tensor

    def _pair(self, first: Frame, second: Frame) -> None:
        """Lay a frame beside the next one's, down to what differs."""
        pending = [(first, second)]
        while pending:
            a, b = pending.pop()
            if self.later.get(id(a)) is b or a is b:
                continue
            if a.op is None or b.op is None:
                if a.op is None and b.op is None and a.ready >= 0 and b.ready == a.ready + 1:
                    self.later[id(a)] = b
                continue
            same = (
                a.op.op_type == b.op.op_type
                and a.output == b.output
                and len(a.inputs) == len(b.inputs)
                and list(a.op.attribute) == list(b.op.attribute)
            )
            if not same or b.ready != a.ready + 1 or id(a) in self.later:
                continue
            self.later[id(a)] = b
            pending += [
                (x, y)
                for x, y in zip(a.inputs, b.inputs, strict=True)
                if x is not None and y is not None
            ]

    def _emit(self, frame: Frame) -> str:
        """Name of a frame's tensor in the graph of frame `now`."""
        if id(frame) in self.names:
            return self.names[id(frame)]
        if frame.ready > self.now:
            raise AdoptError(f"node '{frame.name}' needs a frame that has not come; no stream")
        if frame.op is None and frame.ready < 0:
            name = f"constant_{len(self.weights)}"
            assert frame.value is not None
            if frame.value.ndim == 0 and frame.name == "zero":
                raise AdoptError("a frame before the clip is read in its middle; no stream")
            self.weights[name] = frame.value
        elif 0 <= frame.ready < self.now and id(frame) not in self.unrolled.taps:
            name = self._state(frame)
        elif frame.op is None:
            name = "frame"
        else:
            inputs = [
                "" if each is None else self._masked(self._emit(each), frame, index)
                for index, each in enumerate(frame.inputs)
            ]
            node = onnx.NodeProto()
            node.CopyFrom(frame.op)
            del node.input[:], node.output[:]
            node.name = f"{frame.name}.{len(self.nodes)}"
            names = [f"t{len(self.nodes)}_{i}" for i in range(frame.output + 1)]
            node.input.extend(inputs)
            node.output.extend(names)
            self.nodes.append(node)
            name = names[frame.output]
        self.names[id(frame)] = name
        return name

    def _state(self, frame: Frame) -> str:
        """The state that holds what was made a frame ago."""
        following = self.later.get(id(frame))
        if following is None:
            raise AdoptError(
                f"node '{frame.name}' of frame {frame.ready} has none like it a frame later: the "
                "network does not do the same with every frame; it cannot be streamed"
            )
        if id(following) not in self.states:
            self.states[id(following)] = f"state_{len(self.states)}"
            self.held[id(following)] = following
        state = self.states[id(following)]
        if gone := _ones(following.shape):
            return self._reform("Unsqueeze", state, f"{state}.wide", gone)
        return state

    def _reform(self, op_type: str, tensor: str, output: str, axes: Sequence[int]) -> str:
        self.weights[f"{output}.axes"] = np.asarray(axes, np.int64)
        self.nodes.append(helper.make_node(op_type, [tensor, f"{output}.axes"], [output], output))
        return output

    def _written(self, picture: str, ends: Sequence[tuple[str, str]]) -> Stream:
        graph_of = self.unrolled.model.graph
        kind = TensorProto.FLOAT
        dims = [d.dim_value or d.dim_param for d in graph_of.input[0].type.tensor_type.shape.dim]
        dims[self.unrolled.axis] = 1
        inputs = [helper.make_tensor_value_info("frame", kind, dims)]
        shapes = {self.states[key]: _four(held.shape) for key, held in self.held.items()}
        frame_shape = self.unrolled.inputs[0].shape
        shapes = {**{name: (1, 1, *frame_shape[-2:]) for name, _ in ends}, **shapes}
        dynamic = {name: [1, shape[1], None, None] for name, shape in shapes.items()}
        inputs += [helper.make_tensor_value_info(name, kind, dynamic[name]) for name, _ in ends]
        nodes = list(self.nodes)
        nodes.append(helper.make_node("Identity", [picture], ["picture"], "picture"))
        rank = len(self.unrolled.outputs[self.shown].shape)
        outputs = [helper.make_tensor_value_info("picture", kind, [None] * rank)]
        for name, tensor in ends:
            nodes.append(helper.make_node("Identity", [tensor], [f"{name}_next"], f"{name}_next"))
            outputs.append(helper.make_tensor_value_info(f"{name}_next", kind, dynamic[name]))
        built = helper.make_graph(
            nodes,
            "stream",
            inputs,
            outputs,
            [numpy_helper.from_array(np.asarray(v), name) for name, v in self.weights.items()],
        )
        sort_nodes(built)
        model = helper.make_model(
            built,
            opset_imports=list(self.unrolled.model.opset_import),
            ir_version=self.unrolled.model.ir_version,
        )
        past = self.shown - _earliest(self.unrolled.outputs[self.shown])
        states = tuple((name, f"{name}_next") for name, _ in ends)
        return Stream(model, states, shapes, frame_shape, max(past, 0), self.ahead)


def _ones(shape: tuple[int, ...]) -> list[int]:
    """Axes to take out, so that four are left: ones behind the first."""
    ones = [i for i, side in enumerate(shape) if i and side == 1]
    return ones[: max(len(shape) - 4, 0)]


def _four(shape: tuple[int, ...]) -> tuple[int, ...]:
    gone = _ones(shape)
    return tuple(side for i, side in enumerate(shape) if i not in gone)


def _earliest(frame: Frame) -> int:
    """The first input a frame depends on."""
    found, seen, pending = frame.ready, set[int](), [frame]
    while pending:
        each = pending.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if each.op is None and each.ready >= 0:
            found = min(found, each.ready)
        pending += [i for i in each.inputs if i is not None]
    return found


def prove(model: onnx.ModelProto, stream: Stream, frames_axis: int) -> float:
    """Run clips whole and frame by frame, from states of nought.

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
    shape = _Unrolled._sizes(dims, axis, TRIAL_SIDES[0])
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
            f"{difference:.3g}: what it takes for frames before the first{beyond} is not nought; "
            "no stream"
        )
    return difference


@contextmanager
def _deep() -> Any:
    """Let a recursion go as deep as a graph is long."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
