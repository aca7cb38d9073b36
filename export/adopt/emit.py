"""The graph of one frame with its state, written from the frames of an unrolled clip.

Emitter(unrolled, now=12, shown=12, ahead=0, edges={}).stream()
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...errors import AdoptError
from ..graphs.graph_edit import sort_nodes
from .borders import Array, Edge, Frame
from .unrolled import Unrolled, attributes

ABSENT, THERE = "absent", "there_{}"
"""States of a stream that runs behind: whether no frame comes in, and whether one came so many
frames ago."""


@dataclass(frozen=True)
class Stream:
    """What `streamify` derives."""

    model: onnx.ModelProto
    """`frame` (the input's shape with one frame), then states; the picture, then next states."""

    states: tuple[tuple[str, str], ...]
    """Inputs and outputs of state; zero before the first frame."""

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


@dataclass
class Emitter:
    """Writes the graph of one frame."""

    unrolled: Unrolled
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
        """What a node reads, made zero where the clip has no such frame."""
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
            flat = self._over_plane(frame, inputs)
            if flat is not None:
                self.names[id(frame)] = flat
                return flat
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

    def _over_plane(self, frame: Frame, inputs: Sequence[str]) -> str | None:
        """A convolution over one frame of a clip as one over the plane; None of any other node.

        Quantizers and engines know the latter better.
        """
        weight = None if frame.op is None else self.weights.get(inputs[1] if inputs[1:] else "")
        shapes = [frame.shape, *(each.shape for each in frame.inputs[:1] if each is not None)]
        if frame.op is None or frame.op.op_type != "Conv" or weight is None or weight.ndim != 5:
            return None
        if weight.shape[2] != 1 or any(len(s) != 5 or s[2] != 1 for s in shapes):
            return None
        how = attributes(frame.op)
        pads = how.get("pads", [0] * 6)
        if "auto_pad" in how or pads[0] or pads[3] or how.get("strides", [1])[0] != 1:
            return None
        node = helper.make_node(
            "Conv",
            [],
            [],
            f"{frame.name}.{len(self.nodes)}",
            group=how.get("group", 1),
            pads=[*pads[1:3], *pads[4:6]],
            strides=how.get("strides", [1, 1, 1])[1:],
            dilations=how.get("dilations", [1, 1, 1])[1:],
        )
        name = f"t{len(self.nodes)}"
        self.weights[f"{inputs[1]}.plane"] = weight[:, :, 0]
        plane = self._reform("Squeeze", inputs[0], f"{name}.plane", [2])
        node.input.extend([plane, f"{inputs[1]}.plane", *inputs[2:]])
        node.output.append(f"{name}.flat")
        self.nodes.append(node)
        return self._reform("Unsqueeze", f"{name}.flat", f"{name}_0", [2])

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


@contextmanager
def _deep() -> Any:
    """Let a recursion go as deep as a graph is long."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
