"""The graph of a clip, unrolled: the frames of every tensor, each made by nodes of single frames.

unrolled = Unrolled(model, 1, TIME_RULES)
unrolled.outputs[3]  # the picture of the fourth frame, and what it is made of
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...errors import AdoptError
from ...graph.shapes import infer_types
from .borders import Array, Frame

TRIAL_FRAMES = 24
"""Frames a clip of any length is unrolled for; more than networks of convolutions see."""

TRIAL_SIDES = ((24, 32), (32, 48))
"""Height and width that shapes are inferred at: what differs between both is a size."""

BY_FRAME = frozenset(
    {
        "Abs", "Add", "AveragePool", "Cast", "Clip", "Concat", "Conv", "ConvTranspose",
        "DepthToSpace", "Div", "Elu", "Erf", "Exp", "Floor", "Gather", "Gelu",
        "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Max",
        "MaxPool", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Resize", "Sigmoid",
        "SpaceToDepth", "Split", "Sqrt", "Sub", "Sum", "Tanh",
    }
)  # fmt: skip
"""Nodes that leave time alone where pictures are along it, or that mean every value alone."""


@dataclass(frozen=True)
class Clip:
    """A tensor of the clip's graph."""

    frames: tuple[Frame, ...]
    axis: int | None
    """Of time; None for a tensor that has none, in one frame."""


Rule: TypeAlias = "Callable[[Unrolled, onnx.NodeProto], list[Clip] | None]"


class Unrolled:
    """The frames of every tensor.

    Args:
        model: Of the clip.
        axis: Of time, in its input.
        rules: By operator, what a node does with time; None of a rule, and nodes that have none, do
            the same with every frame.

    Raises:
        AdoptError: A node does with time what is not known.
    """

    def __init__(self, model: onnx.ModelProto, axis: int, rules: Mapping[str, Rule]) -> None:
        self.model, self._rules = model, rules
        self.weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        source = model.graph.input[0]
        dims = [d.dim_value or 0 for d in source.type.tensor_type.shape.dim]
        self.count = dims[axis] or TRIAL_FRAMES
        self.axis = axis
        sizes = [{source.name: self.sizes(dims, axis, sides)} for sides in TRIAL_SIDES]
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
    def sizes(dims: Sequence[int], axis: int, sides: tuple[int, int]) -> tuple[int, ...]:
        """A clip's shape; what the file leaves open is `TRIAL_FRAMES`, 1 and these sides."""
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
            return Clip((zero(),), None)  # zeros of the frame's size, as states begin with
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
        rule = self._rules.get(node.op_type)
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
        if node.op_type not in BY_FRAME and axes:
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


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def ours(node: onnx.NodeProto, op_type: str, **attributes: Any) -> onnx.NodeProto:
    """A node of ours in the place of one of the clip's graph."""
    return helper.make_node(op_type, ["?"], ["?"], node.name, **attributes)


def zero() -> Frame:
    """What stands for frames before and after the clip."""
    return Frame(-1, "zero", value=np.zeros((), np.float32))
