"""PReLU on packed channels: the same values, and left alone where a neighbour forbids it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from adcvsr.export.graphs.replay import open_session
from adcvsr.graph.blocked_prelu import with_blocked_prelus

SIDES = [1, 8, 12, 14]


def network(
    *, slopes: tuple[float, float] = (-0.5, 1.7), shape: tuple[int, ...] = (8, 1, 1), **how: bool
) -> bytes:
    """Two convolutions, each with a PReLU behind it, and a third; `how` has one thing more."""
    random = np.random.default_rng(3)

    def drawn(name: str, *sides: int) -> Any:
        return numpy_helper.from_array(random.normal(0, 0.2, sides).astype(np.float32), name)

    kept = [drawn(f"w{at}", 8, 8, 3, 3) for at in range(3)] + [
        drawn("b0", 8),
        drawn("deep", 8, 1, 3, 3),
    ]
    for name in ("a0", "a1"):
        between = random.uniform(*slopes, shape).astype(np.float32)
        kept.append(numpy_helper.from_array(between, name))
    second = "w0" if how.get("shared") else "w1"
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["c0"], pads=[1] * 4, name="first"),
        helper.make_node("PRelu", ["c0", "a0"], ["p0"], name="bend"),
        helper.make_node("Conv", ["p0", second], ["c1"], pads=[1] * 4),
        helper.make_node("PRelu", ["c1", "a1"], ["p1"]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"], pads=[1] * 4),
    ]
    if how.get("summed"):
        nodes.append(helper.make_node("Add", ["c2", "p0"], ["y"]))
    elif how.get("depthwise"):
        nodes.append(helper.make_node("Conv", ["p0", "deep"], ["d"], pads=[1] * 4, group=8))
        nodes.append(helper.make_node("Add", ["c2", "d"], ["y"]))
    elif how.get("read"):
        nodes.append(helper.make_node("Add", ["c2", "c0"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["c2"], ["y"]))
    outputs = ["y", *(["p0"] if how.get("given") else [])]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, SIDES) for name in ("x", *outputs)
    ]
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], kept)
    opset = helper.make_opsetid("", 20)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=9).SerializeToString())


def operators(graph: bytes) -> Counter[str]:
    onnx.checker.check_model(onnx.load_from_string(graph), full_check=True)
    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({}, 0),
        ({"slopes": (0.2, 0.9), "summed": True}, 0),  # no sign has to change
        ({"shape": (1,)}, 0),
        ({"summed": True}, 1),
        ({"depthwise": True}, 1),
        ({"read": True}, 1),
        ({"shared": True}, 2),
        ({"given": True}, 1),
        ({"shape": (8, 12, 14)}, 2),  # a slope a pixel
    ],
)
def test_values_stay(how: dict[str, Any], left: int) -> None:
    """Everywhere; and PReLUs stay where a channel's sign cannot change."""
    graph = network(**how)
    changed = with_blocked_prelus(graph)
    assert operators(changed)["PRelu"] == left
    x = np.random.default_rng(4).normal(0, 1, SIDES).astype(np.float32)
    before, after = (open_session(each).run(None, {"x": x}) for each in (graph, changed))
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=2e-6)
        assert np.abs(one).max() > 0.3


def test_the_layout_is_kept_through_it(tmp_path: Any) -> None:
    """ONNX Runtime unpacks once, behind the last convolution."""
    ort = pytest.importorskip("onnxruntime")
    found = []
    for graph in (network(), with_blocked_prelus(network())):
        options = ort.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        found.append(operators_of(tmp_path / "optimized.onnx"))
    if not found[0]["ReorderOutput"]:
        pytest.skip("ONNX Runtime packs no channels on this processor")
    assert found[0]["ReorderOutput"] == 3
    assert found[1]["ReorderOutput"] == 1
    assert not found[1]["Relu"]  # fused


def operators_of(path: Any) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_without_one_nothing_changes() -> None:
    graph = network(shape=(8, 12, 14))
    assert with_blocked_prelus(graph) is graph
