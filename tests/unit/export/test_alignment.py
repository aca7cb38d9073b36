"""Channels that tensor cores pad, counted by hand."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from adcvsr.export.channel_alignment import alignment_entry, check_alignment


def two_convolutions() -> onnx.ModelProto:
    """3 to 16 channels, 16 to 32, 3x3 both."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y"], name="stem/Conv", pads=[1] * 4),
        helper.make_node("Conv", ["y", "b"], ["z"], name="body/Conv", pads=[1] * 4),
    ]
    weights = [
        helper.make_tensor("a", TensorProto.FLOAT, [16, 3, 3, 3], [0.0] * 432),
        helper.make_tensor("b", TensorProto.FLOAT, [32, 16, 3, 3], [0.0] * 4608),
    ]
    frame = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 32, 8, 8])
    graph = helper.make_graph(nodes, "g", [frame], [out], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_padding_by_hand() -> None:
    eight, thirty_two = check_alignment([(two_convolutions(), {"x": (1, 3, 8, 8)})])
    total = 16 * 3 + 32 * 16
    assert eight.nodes == ("stem/Conv",)
    assert eight.extra == pytest.approx(16 * (8 - 3) / total)
    assert thirty_two.nodes == ("stem/Conv", "body/Conv")
    assert thirty_two.extra == pytest.approx((32 * 32 - 48 + 32 * 32 - 512) / total)
    assert "1 of 2 do not fit, padding adds 14.3% multiply-adds: stem/Conv" in eight.line()
    assert alignment_entry([eight])["8"] == {"nodes": 1, "of": 2, "extra_multiply_adds": 0.1429}
