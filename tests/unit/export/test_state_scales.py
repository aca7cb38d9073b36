"""A carried state is rounded once: both its ends have one scale."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("torch", reason="exporting needs torch")

from adcvsr.bundle import open_bundle
from adcvsr.export.graphs.graph_edit import GraphEdit
from adcvsr.export.graphs.replay import open_session
from adcvsr.export.modelopt.state_scales import (
    read_quantizers,
    tie_state_scales,
    written_quantizers,
)

STATE = {"state": "state_next"}


def scales_of(model: onnx.ModelProto, states: dict[str, str]) -> list[set[float]]:
    """All scales of each state, of its Q and DQ nodes at both ends."""
    edit = GraphEdit(model)
    found = []
    for name, next_name in states.items():
        nodes = [*read_quantizers(edit, name), *written_quantizers(edit, next_name)]
        nodes += [r for n in list(nodes) for r in edit.consumers(n.output[0])]
        wanted = ("QuantizeLinear", "DequantizeLinear")
        nodes = [node for node in nodes if node.op_type in wanted]
        found.append({float(edit.weights[node.input[1]].max()) for node in nodes})
    return found


def quantized_state(*, through_dq: bool) -> onnx.ModelProto:
    """A state that is added to and made smaller, with nodes and scales as ModelOpt places them.

    Args:
        through_dq: Whether what leaves was rounded, as in a graph whose convolutions read it too;
            else a cast of what is rounded beside it.
    """
    scales = {"in": 0.01643, "out": 0.01666, "frame": 0.02}
    nodes = [
        helper.make_node("QuantizeLinear", ["state", "in", "zero"], ["a"], "q_in"),
        helper.make_node("DequantizeLinear", ["a", "in", "zero"], ["b"], "dq_in"),
        helper.make_node("QuantizeLinear", ["frame", "frame_scale", "zero"], ["c"], "q_frame"),
        helper.make_node("DequantizeLinear", ["c", "frame_scale", "zero"], ["d"], "dq_frame"),
        helper.make_node("Add", ["b", "d"], ["sum"], "add"),
        helper.make_node("Mul", ["sum", "more"], ["e"], "mul"),
        helper.make_node("QuantizeLinear", ["e", "out", "zero"], ["f"], "q_out"),
    ]
    dq = helper.make_node("DequantizeLinear", ["f", "out", "zero"], ["rounded"], "dq_out")
    copied = ["rounded" if through_dq else "e"]
    ends = [
        helper.make_node("Identity", copied, ["state_next"], "pass"),
        helper.make_node("Add", ["rounded", "sum"], ["y"], "last"),
    ]
    shape = [1, 2, 4, 4]
    real = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)  # noqa: E731
    values = {"in": scales["in"], "out": scales["out"], "frame_scale": scales["frame"], "more": 0.7}
    weights = [numpy_helper.from_array(np.float32(v).reshape(()), k) for k, v in values.items()]
    weights.append(numpy_helper.from_array(np.zeros((), np.int8), "zero"))
    graph = helper.make_graph(
        [*nodes, dq, *ends],
        "g",
        [real("frame"), real("state")],
        [real("y"), real("state_next")],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("through_dq", [True, False])
def test_both_ends_of_a_state_get_the_wider_scale_and_nothing_else_changes(
    through_dq: bool,
) -> None:
    model = quantized_state(through_dq=through_dq)
    assert len(scales_of(model, STATE)[0]) == 2
    tied = tie_state_scales(model, STATE)
    onnx.checker.check_model(tied, full_check=True)
    assert scales_of(tied, STATE) == [{float(np.float32(0.01666))}]
    weights = {t.name: numpy_helper.to_array(t) for t in tied.graph.initializer}
    assert weights["frame_scale"] == np.float32(0.02)
    # A scale of one value instead of a scalar is one a channel to TensorRT, which then fuses less.
    assert weights["in"].shape == weights["out"].shape == ()
    assert scales_of(model, STATE) == scales_of(quantized_state(through_dq=through_dq), STATE)


def test_a_state_that_left_rounded_is_not_rounded_again(rng: np.random.Generator) -> None:
    """What a session carries comes back bit for bit; with two scales half of it moves."""
    frame, state = rng.uniform(-1, 1, (2, 1, 2, 4, 4)).astype(np.float32)
    moved = {}
    for model in (quantized_state(through_dq=True), None):
        tied = model or tie_state_scales(quantized_state(through_dq=True), STATE)
        name = "two scales" if model else "one scale"
        feeds = {"frame": frame, "state": state}
        (carried,) = open_session(tied.SerializeToString()).run(["state_next"], feeds)
        tied.graph.output.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, None))
        feeds["state"] = carried
        (seen,) = open_session(tied.SerializeToString()).run(["b"], feeds)
        moved[name] = float(np.abs(seen - carried).max())
    assert moved["one scale"] == 0.0
    assert moved["two scales"] > 0.001


def test_a_state_of_which_one_end_is_not_quantized_is_left_alone() -> None:
    model = quantized_state(through_dq=False)
    for node in model.graph.node:
        if node.name == "pass":
            node.input[0] = "sum"
    assert len(scales_of(model, STATE)[0]) == 1
    before = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    tied = tie_state_scales(model, STATE)
    after = {t.name: numpy_helper.to_array(t) for t in tied.graph.initializer}
    assert after == before


@pytest.mark.parametrize("name", ["nano", "nano-camera", "small"])
def test_shipped_states_have_one_scale(name: str) -> None:
    bundle = open_bundle(name)
    states = {spec.name: spec.next_name for spec in bundle.state}
    quantized = [v for v in bundle.variants.values() if v.precision in ("int8", "fp8")]
    assert quantized
    for variant in quantized:
        model = onnx.load_model_from_string(bundle.read(variant.file))
        found = scales_of(model, states)
        assert [len(each) for each in found] == [1] * len(states), (variant.id, found)
