"""Small networks over clips, each mixing frames in another way, as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4


class _Builder:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Any] = {}
        self.rng = np.random.default_rng(7)

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = self.rng.normal(0, 0.3, shape).astype(np.float32)
        return name

    def ints(self, *values: int) -> str:
        name = "i" + "_".join(map(str, values)).replace("-", "m")
        self.weights[name] = np.array(values, np.int64)
        return name

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(
            helper.make_node(op, list(inputs), [output], f"net/{output}", **attributes)
        )
        return output

    def model(self, source: Sequence[Any], target: Sequence[Any]) -> onnx.ModelProto:
        kind = TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            "clip",
            [helper.make_tensor_value_info("x", kind, source)],
            [helper.make_tensor_value_info("y", kind, target)],
            [numpy_helper.from_array(value, name) for name, value in self.weights.items()],
        )
        opset = [helper.make_opsetid("", 20)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9)


def conv3d(*, before: int = 2, after: int = 0) -> onnx.ModelProto:
    """Two convolutions over three frames, (1, 3, T, H, W) to the same."""
    b = _Builder()
    b.add("Conv", ["x", b.weight("w1", WIDTH, 3, 3, 3, 3), b.weight("b1", WIDTH)], "f",
          pads=[before, 1, 1, after, 1, 1])  # fmt: skip
    b.add("Relu", ["f"], "a")
    b.add("Conv", ["a", b.weight("w2", 3, WIDTH, 3, 3, 3), b.weight("b2", 3)], "c",
          pads=[before, 1, 1, after, 1, 1])  # fmt: skip
    b.add("Add", ["c", "x"], "y")
    return b.model([1, 3, "t", "h", "w"], [1, 3, "t", "h", "w"])


def shift() -> onnx.ModelProto:
    """Half of the channels come from the frame before, twice; (T, 3, H, W) to the same."""
    b = _Builder()
    b.add("Conv", ["x", b.weight("w0", WIDTH, 3, 3, 3)], "s0", pads=[1] * 4)
    for i in range(2):
        b.add("Slice", [f"s{i}", b.ints(0), b.ints(2), b.ints(1)], f"still{i}")
        b.add("Slice", [f"s{i}", b.ints(2), b.ints(4), b.ints(1)], f"all{i}")
        b.add("Slice", [f"all{i}", b.ints(0), b.ints(-1), b.ints(0)], f"old{i}")
        b.add("Pad", [f"old{i}", b.ints(1, 0, 0, 0, 0, 0, 0, 0)], f"moved{i}")
        b.add("Concat", [f"still{i}", f"moved{i}"], f"both{i}", axis=1)
        b.add(
            "Conv", [f"both{i}", b.weight(f"w{i + 1}", WIDTH, WIDTH, 3, 3)], f"c{i}", pads=[1] * 4
        )
        b.add("Relu", [f"c{i}"], f"s{i + 1}")
    b.add("Conv", ["s2", b.weight("w9", 3, WIDTH, 1, 1)], "d")
    b.add("Add", ["d", "x"], "y")
    return b.model(["t", 3, "h", "w"], ["t", 3, "h", "w"])


def recurrent(*, frames: int = 10, backwards: bool = False, ahead: int = 0) -> onnx.ModelProto:
    """A hidden state and the picture before, written out for T frames, (1, T, 3, H, W).

    Args:
        frames: T.
        backwards: Whether a second state goes from the last frame to the first.
        ahead: Frames after its own that a picture sees.
    """
    b = _Builder()
    weights = [b.weight("w", WIDTH, 3 + WIDTH + 3 * ahead, 3, 3), b.weight("b", WIDTH)]
    out = [b.weight("wo", 3, WIDTH * (2 if backwards else 1), 3, 3)]
    b.weights["zero"] = np.zeros((1, WIDTH, 24, 32), np.float32)
    for t in range(frames):
        b.weights[f"at{t}"] = np.array(t, np.int64)
        b.add("Gather", ["x", f"at{t}"], f"x{t}", axis=1)
    b.weights["black"] = np.zeros((1, 3, 24, 32), np.float32)

    def states(order: Sequence[int], name: str) -> None:
        hidden = "zero"
        for t in order:
            later = [f"x{t + n}" if t + n < frames else "black" for n in range(1, ahead + 1)]
            b.add("Concat", [f"x{t}", *later, hidden], f"{name}in{t}", axis=1)
            b.add("Conv", [f"{name}in{t}", *weights], f"{name}c{t}", pads=[1] * 4)
            hidden = b.add("Relu", [f"{name}c{t}"], f"{name}h{t}")

    states(range(frames), "f")
    if backwards:
        states(range(frames)[::-1], "b")
    for t in range(frames):
        both = [f"fh{t}", f"bh{t}"] if backwards else [f"fh{t}"]
        feature = b.add("Concat", both, f"both{t}", axis=1) if backwards else both[0]
        b.add("Conv", [feature, *out], f"p{t}", pads=[1] * 4)
        b.add("Unsqueeze", [f"p{t}", b.ints(1)], f"u{t}")
    b.add("Concat", [f"u{t}" for t in range(frames)], "y", axis=1)
    return b.model([1, frames, 3, 24, 32], [1, frames, 3, 24, 32])


def stacked() -> onnx.ModelProto:
    """Three frames as nine channels of a convolution over the plane, (T, 3, H, W) to the same."""
    b = _Builder()
    b.add("Pad", ["x", b.ints(2, 0, 0, 0, 0, 0, 0, 0)], "p")
    for n in range(3):
        end = n - 2 if n < 2 else 1 << 30
        b.add("Slice", ["p", b.ints(n), b.ints(end), b.ints(0)], f"old{n}")
    b.add("Concat", ["old0", "old1", "old2"], "s", axis=1)
    b.add("Conv", ["s", b.weight("w", 3, 9, 3, 3)], "c", pads=[1] * 4)
    b.add("Add", ["c", "x"], "y")
    return b.model(["t", 3, "h", "w"], ["t", 3, "h", "w"])


def upscaling(model: onnx.ModelProto) -> onnx.ModelProto:
    """The clip at twice its size, moved by a little of what the network makes of it."""
    b = _Builder()
    rank = len(model.graph.input[0].type.tensor_type.shape.dim)
    graph = model.graph
    last = next(n for n in graph.node if "y" in n.output)
    last.output[0], last.name = "own", "net/own"
    b.weights["scales"] = np.array([*[1] * (rank - 2), 2, 2], np.float32)
    b.weights["little"] = np.float32(0.02)
    b.add("Mul", ["own", "little"], "change")
    b.add("Add", ["x", "change"], "changed")
    b.add("Resize", ["changed", "", "scales"], "y", mode="nearest",
          coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    graph.node.extend(b.nodes)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(v), n) for n, v in b.weights.items()
    )
    for dim in list(graph.output[0].type.tensor_type.shape.dim)[-2:]:
        dim.Clear()
    return model


def one_of(
    *, frames: int = 5, shown: int = 2, layout: str = "frames-first", with_axis: bool = False
) -> onnx.ModelProto:
    """One picture at twice the size of one of T frames, moved by what all of them show.

    Args:
        frames: T.
        shown: The frame whose picture it is.
        layout: `frames-first` (1, T, 3, H, W), `channels-first` (1, 3, T, H, W) or `stacked`
            (1, 3T, H, W).
        with_axis: Whether the picture comes with an axis of time.
    """
    b = _Builder()
    shapes: dict[str, list[Any]] = {
        "frames-first": [1, frames, 3, "h", "w"],
        "channels-first": [1, 3, frames, "h", "w"],
        "stacked": [1, 3 * frames, "h", "w"],
    }
    flat = "x"
    if layout == "channels-first":
        flat = b.add("Transpose", ["x"], "turned", perm=[0, 2, 1, 3, 4])
    if layout != "stacked":
        b.add("Split", [flat], "part0", axis=1, num_outputs=frames)
        b.nodes[-1].output[:] = [f"part{k}" for k in range(frames)]
        for k in range(frames):
            b.add("Squeeze", [f"part{k}", b.ints(1)], f"one{k}")
        flat = b.add("Concat", [f"one{k}" for k in range(frames)], "flat", axis=1)
    b.add("Conv", [flat, b.weight("w", 12, 3 * frames, 3, 3)], "c", pads=[1] * 4)
    b.add("Tanh", ["c"], "t")
    b.weights["little"] = np.float32(0.06)
    b.add("Mul", ["t", "little"], "change")
    b.add("DepthToSpace", ["change"], "more", blocksize=2)
    b.add("Slice", [flat, b.ints(3 * shown), b.ints(3 * shown + 3), b.ints(1)], "own")
    b.weights["scales"] = np.array([1, 1, 2, 2], np.float32)
    b.add("Resize", ["own", "", "scales"], "large", mode="nearest",
          coordinate_transformation_mode="asymmetric", nearest_mode="floor")  # fmt: skip
    target: list[Any] = [1, 3, "hh", "ww"]
    if with_axis:
        b.add("Add", ["large", "more"], "both")
        b.add("Unsqueeze", ["both", b.ints(1 if layout == "frames-first" else 2)], "y")
        target.insert(1 if layout == "frames-first" else 2, 1)
    else:
        b.add("Add", ["large", "more"], "y")
    return b.model(shapes[layout], target)
