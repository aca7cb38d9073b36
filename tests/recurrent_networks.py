"""Small upscalers of single frames that take and give their state themselves, as ONNX graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4
SCALE = 2


def carrying(
    *,
    taken: str = "h_in",
    given: str = "h_out",
    stride: int = 1,
    picture_before: bool = False,
    frame_before: bool = False,
    starts_with_one: bool = False,
    sides: tuple[int | str, int | str] = ("h", "w"),
) -> onnx.ModelProto:
    """A x2 upscaler `x` to `y` with a hidden state beside it.

    Args:
        taken: Input of state.
        given: Output of state.
        stride: Sides of the frame over those of the state.
        picture_before: Whether the state is the picture before, twice as large as the frame.
        frame_before: Whether the frame before comes in as `x_before`, which nothing gives.
        starts_with_one: Whether the picture is multiplied by the state, which has to begin with 1.
        sides: Height and width of the input.
    """
    rng = np.random.default_rng(5)
    deep = WIDTH if stride == 1 else WIDTH * 2
    values: dict[str, Any] = {
        "w": rng.normal(0, 0.2, (deep, 3, 3, 3)).astype(np.float32),
        "u": rng.normal(0, 0.4, (deep, deep, 3, 3)).astype(np.float32),
        "v": rng.normal(0, 0.02, (12, deep, 3, 3)).astype(np.float32),
        "scales": np.array([1, 1, SCALE, SCALE], np.float32),
        "back": np.array([1, 1, stride, stride], np.float32),
        "half": np.float32(0.5),
        "tenth": np.float32(0.1),
    }
    near = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    nodes = [
        helper.make_node(
            "Conv", ["x", "w"], ["f"], "net/first", pads=[1] * 4, strides=[stride] * 2
        ),
        helper.make_node("Resize", ["x", "", "scales"], ["r"], "net/enlarge", **near),
    ]
    state = [1, deep, "sh", "sw"]
    if picture_before:
        state = [1, 3, "sh", "sw"]
        values["p"] = rng.normal(0, 0.4, (deep, 12, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("SpaceToDepth", [taken], ["s"], "net/fold", blocksize=SCALE),
            helper.make_node("Conv", ["s", "p"], ["g"], "net/again", pads=[1] * 4),
        ]
    else:
        nodes.append(helper.make_node("Conv", [taken, "u"], ["g"], "net/again", pads=[1] * 4))
    nodes += [
        helper.make_node("Add", ["f", "g"], ["sum"], "net/sum"),
        helper.make_node("Tanh", ["sum"], ["hidden"], "net/hidden"),
    ]
    inputs = [("x", [1, 3, *sides]), (taken, state)]
    last = "hidden"
    if frame_before:
        values["q"] = rng.normal(0, 0.2, (deep, 3, 3, 3)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", ["x_before", "q"], ["b"], "net/before", pads=[1] * 4),
            helper.make_node("Add", ["hidden", "b"], ["seen"], "net/seen"),
        ]
        inputs.append(("x_before", [1, 3, "bh", "bw"]))
        last = "seen"
    if stride > 1:
        nodes.append(helper.make_node("Resize", [last, "", "back"], ["wide"], "net/wide", **near))
        last = "wide"
    nodes += [
        helper.make_node("Conv", [last, "v"], ["d"], "net/last", pads=[1] * 4),
        helper.make_node("DepthToSpace", ["d"], ["more"], "net/shuffle", blocksize=SCALE),
    ]
    outputs = [("y", [1, 3, "hh", "ww"])]
    if starts_with_one:
        values["none"], values["one"] = np.float32(0), np.float32(1)
        values["all"] = np.array([1, 2, 3], np.int64)
        nodes += [
            helper.make_node("ReduceMean", [taken, "all"], ["level"], "net/level", keepdims=1),
            helper.make_node("Mul", ["r", "level"], ["y"], "net/scaled"),
            helper.make_node("Mul", [taken, "none"], ["zeros"], "net/zeros"),
            helper.make_node("Add", ["zeros", "one"], [given], "net/ones"),
        ]
    else:
        nodes.append(helper.make_node("Add", ["r", "more"], ["y"], "net/picture"))
        if not picture_before:
            nodes.append(helper.make_node("Identity", ["hidden"], [given], "net/carried"))
    if not picture_before:
        outputs.append((given, [1, deep, "th", "tw"]))
    read = {name for node in nodes for name in node.input}
    kind = TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "carrying",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items() if k in read],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)
