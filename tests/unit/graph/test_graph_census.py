"""The census: what runs in which precision, from the nodes around each convolution."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from adcvsr.graph.census import take_census

FLOAT, HALF, UINT8, INT8 = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT8,
)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """Four convolutions of 2 to 2 channels: int8, weights alone, fp32, fp16."""
    weight = np.ones((2, 2, 3, 3), np.float32)
    constants = {
        "scale": np.float32(0.1),
        "zero_u8": np.uint8(3),
        "zero_s8": np.int8(0),
        "w8": weight.astype(np.int8),
        "w32": weight,
        "w16": weight.astype(np.float16),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero_u8"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero_u8"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero_s8"], ["wd"]),
        helper.make_node("Conv", ["xd", "wd"], ["a"], "first/Conv", pads=[1] * 4),
        helper.make_node("Conv", ["a", "wd"], ["b"], "second/Conv", pads=[1] * 4),
        helper.make_node("Conv", ["b", "w32"], ["c"], "third/Conv", pads=[1] * 4),
        helper.make_node("Cast", ["c"], ["h"], to=HALF),
        helper.make_node("Conv", ["h", "w16"], ["y"], "fourth/Conv", pads=[1] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, [1, 2, "h", "w"])],
        [helper.make_tensor_value_info("y", HALF, [1, 2, "h", "w"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_precision_of_each_node(model: onnx.ModelProto) -> None:
    census = take_census(model, {"x": (1, 2, 5, 7)})
    assert [(node.name, node.precision) for node in census.nodes] == [
        ("first/Conv", "int8"),
        ("second/Conv", "int8 weights"),
        ("third/Conv", "fp32"),
        ("fourth/Conv", "fp16"),
    ]
    assert {node.multiply_adds for node in census.nodes} == {2 * 5 * 7 * 2 * 9}
    assert {node.weights for node in census.nodes} == {36}
    share = census.share("int8")
    assert (share.convolutions, share.multiply_adds, share.weights) == (0.25, 0.25, 0.25)
    assert census.to_json()["fp16"] == {
        "nodes": 1,
        "convolutions": 0.25,
        "multiply_adds": 0.25,
        "weights": 0.25,
    }
    assert census.beside("int8")[0].name == "second/Conv"
    assert census.share("fp8").weights == 0
