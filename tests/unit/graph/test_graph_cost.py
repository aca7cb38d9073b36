"""Costs counted from graphs: known answers by hand, and torch's own count of a whole network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import GraphError
from adcvsr.graph.cost import count_bundle_cost, count_cost

onnx = pytest.importorskip("onnx", reason="counting graphs needs onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT = onnx.TensorProto.FLOAT


def graph_of(nodes: list[object], weights: dict[str, np.ndarray], channels: int) -> object:
    shape = [1, channels, "H", "W"]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, shape)],
        [helper.make_tensor_value_info("y", FLOAT, [1, None, None, None])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def test_convolution_by_hand() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    model = graph_of(nodes, {"w": np.zeros((8, 4, 3, 3), np.float32)}, 4)
    cost = count_cost(model, {"x": (1, 4, 10, 20)}, state=["x"])
    conv, relu = cost.nodes
    assert conv.multiply_adds == 10 * 20 * 8 * 4 * 9 == cost.multiply_adds
    assert (conv.read_bytes, conv.written_bytes) == (10 * 20 * 4 * 4, 10 * 20 * 8 * 4)
    assert conv.weight_bytes == cost.weight_bytes == 8 * 4 * 9 * 4
    assert (relu.multiply_adds, relu.read_bytes) == (0, 10 * 20 * 8 * 4)
    assert cost.activation_bytes == 2 * 10 * 20 * 8 * 4
    assert cost.state_bytes == 10 * 20 * 4 * 4
    # The input is the caller's and stays; the convolution's output lives beside the activation's.
    assert cost.peak_activation_bytes == 10 * 20 * (4 + 8 + 8) * 4


def test_a_tensor_lives_until_its_last_reader() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="a"),
        helper.make_node("Relu", ["a"], ["b"], name="b"),
        helper.make_node("Relu", ["b"], ["c"], name="c"),
        helper.make_node("Add", ["c", "a"], ["y"], name="skip"),
    ]
    cost = count_cost(graph_of(nodes, {}, 2), {"x": (1, 2, 10, 10)})
    assert cost.peak_activation_bytes == 4 * 2 * 10 * 10 * 4  # x, a, and two of b, c, y


def test_quantized_tensors_count_as_stored() -> None:
    scale, zero = np.float32(0.1), np.uint8(0)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="d"),
        helper.make_node("DequantizeLinear", ["w8", "s"], ["w"], name="dw"),
        helper.make_node("Conv", ["d", "w"], ["y"], name="conv"),
    ]
    weights = {"s": scale, "z": zero, "w8": np.zeros((8, 4, 1, 1), np.int8)}
    cost = count_cost(
        graph_of(nodes, {k: np.asarray(v) for k, v in weights.items()}, 4), {"x": (1, 4, 10, 10)}
    )
    (conv,) = cost.nodes
    assert conv.multiply_adds == 100 * 8 * 4
    assert conv.read_bytes == 100 * 4
    assert conv.weight_bytes == 8 * 4


def test_what_cannot_be_inferred_is_named() -> None:
    node = helper.make_node("NonZero", ["x"], ["y"], name="where")
    with pytest.raises(GraphError, match="tensor 'y' has a shape that depends on the data"):
        count_cost(graph_of([node], {}, 2), {"x": (1, 2, 4, 4)})
    with pytest.raises(GraphError, match="graph input 'x' has no size"):
        count_cost(graph_of([node], {}, 2), {})
    custom = helper.make_node("Fused", ["x"], ["y"], name="fused", domain="vendor")
    with pytest.raises(GraphError, match="'fused'"):
        count_cost(graph_of([custom], {}, 2), {"x": (1, 2, 4, 4)})


def test_the_shipped_network_at_any_size(tiny_bundle: Path) -> None:
    cost = count_bundle_cost(open_bundle("nano"), "fp32-onnx", height=180, width=320)
    a_pixel = 27 * 16 + 8 * 144 * 16 + 2 * 16 * 16 + 144 * 48
    assert cost.multiply_adds == 180 * 320 * a_pixel
    assert cost.state_bytes == 180 * 320 * 16 * 4
    assert {"unet.conv_in/Conv", "decoder.conv_out/Conv"} <= {node.name for node in cost.nodes}
    # An odd size is padded to the network's multiple of 2, as the runtime does.
    odd = count_bundle_cost(open_bundle(tiny_bundle), "fp32-onnx", height=31, width=33)
    assert odd == count_bundle_cost(open_bundle(tiny_bundle), "fp32-onnx", height=32, width=34)


@pytest.mark.slow
def test_equal_to_torch_on_a_network_with_attention() -> None:
    torch = pytest.importorskip("torch", reason="the reference count is torch's")
    import onnx_ir
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    from adcvsr.config import AdcVsrConfig
    from adcvsr.export.graphs.traced import INPUT_NAME, StreamGraph, stream_graph
    from adcvsr.model import AdcVsr

    config = AdcVsrConfig(
        name="attentive",
        unshuffle=2,
        widths=(16,),
        down_blocks=(1,),
        mid_blocks=0,
        up_blocks=(2,),
        skip="concat",
        norm="group",
        activation="silu",
        attention_levels=(0,),
        attention_heads=(2,),
        temporal_sites=("down_blocks.0.attentions.0",),
        temporal_kernel=3,
        temporal_convs=2,
        decoder="vae",
        decoder_widths=(8, 8, 8, 16),
    )
    network = AdcVsr(config)
    module = StreamGraph(network).eval()
    shapes = network.state_shapes(32, 48)
    state = [torch.zeros(1, *shapes[name]) for name in module.state_names]
    # The fused attention kernel of the CPU is not in torch's table of counts; the plain one is.
    plain = sdpa_kernel(SDPBackend.MATH)
    with torch.no_grad(), plain, FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 32, 48, 3, dtype=torch.uint8), *state)
    sizes = {name: (1, *shape) for name, shape in shapes.items()}
    graph = onnx_ir.to_proto(stream_graph(network))
    cost = count_cost(graph, {INPUT_NAME: (1, 32, 48, 3), **sizes})
    assert 2 * cost.multiply_adds == counter.get_total_flops()


def test_attention_scores_are_counted_apart() -> None:
    """Query times key, scaled, normalised, times value: what lies between is the scores."""
    nodes = [
        helper.make_node("MatMul", ["q", "k"], ["s"], name="scores"),
        helper.make_node("Mul", ["s", "scale"], ["t"], name="scaled"),
        helper.make_node("Softmax", ["t"], ["p"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"], name="mixed"),
    ]
    inputs = {"q": [1, 100, 8], "k": [1, 8, 100], "v": [1, 100, 8]}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", FLOAT, [1, 100, 8])],
        [numpy_helper.from_array(np.float32(0.1), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    cost = count_cost(model, {name: tuple(shape) for name, shape in inputs.items()})
    score, rest = 100 * 100 * 4, 100 * 8 * 4
    assert [node.score_bytes for node in cost.nodes] == [score, 2 * score, 2 * score, score]
    assert cost.peak_activation_bytes == 3 * rest + 2 * score
    assert cost.fused_peak_activation_bytes == 4 * rest
