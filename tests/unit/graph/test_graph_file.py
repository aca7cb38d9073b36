"""Graphs read and inferred without the package `onnx`: the same as with it."""

from __future__ import annotations

import contextlib
import sys
from importlib.resources import files

import numpy as np
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import GraphError, MissingPackageError
from adcvsr.graph import rules
from adcvsr.graph.cost import count_bundle_cost, count_cost
from adcvsr.graph.file import read_graph
from adcvsr.graph.rules import infer_read_types
from adcvsr.graph.shapes import ELEMENTS, TensorType, infer_types

onnx = pytest.importorskip("onnx", reason="the reference is onnx's own inference")
helper = onnx.helper

SHIPPED = sorted(path.parent.name for path in (files("adcvsr") / "models").glob("*/manifest.json"))


def model_of(node: object, **weights: np.ndarray) -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["N", 4, "H", "W"])],
        [value("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    return bytes(model.SerializeToString())


def inferred(data: bytes, shape: tuple[int, ...] = (1, 4, 9, 10)) -> TensorType:
    found = infer_read_types(read_graph(data), {"x": shape})
    assert found == infer_types(onnx.load_model_from_string(data), {"x": shape})
    return found["y"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_graph_is_inferred_as_by_onnx(name: str) -> None:
    bundle = open_bundle(name)
    sizes: dict[str, tuple[int, ...]] = {bundle.input_name: (1, 182, 320, 3)}
    sizes |= {spec.name: spec.shape(182, 320) for spec in bundle.state}
    for variant in bundle.variants.values():
        data = bundle.read(variant.file)
        reference = infer_types(onnx.load_model_from_string(data), sizes)
        assert infer_read_types(read_graph(data), sizes) == reference, variant.file


def test_a_bundle_is_counted_without_onnx_as_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle("nano")
    sizes: dict[str, tuple[int, ...]] = {bundle.input_name: (1, 181, 320, 3)}
    sizes |= {spec.name: spec.shape(181, 320) for spec in bundle.state}
    state = [spec.name for spec in bundle.state]
    for variant in ("fp32-onnx", "int8-ort"):
        graph = onnx.load_model_from_string(bundle.read(bundle.variant(variant).file))
        by_onnx = count_cost(graph, sizes, state=state)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "onnx", None)  # its import alone is dearer than the count
            assert count_bundle_cost(bundle, variant, height=181, width=320) == by_onnx
        with monkeypatch.context() as patch:
            patch.delitem(rules._RULES, "Conv")
            assert count_bundle_cost(bundle, variant, height=181, width=320) == by_onnx
            patch.setitem(sys.modules, "onnx", None)
            with pytest.raises(MissingPackageError, match=r"\(Conv\).*adcvsr\[export\]"):
                count_bundle_cost(bundle, variant, height=181, width=320)


def test_convolutions_and_resizes() -> None:
    weight = np.zeros((6, 2, 3, 3), np.float32)
    options = {"pads": [1, 0, 2, 1], "strides": [2, 3], "dilations": [2, 1], "group": 2}
    node = helper.make_node("Conv", ["x", "w"], ["y"], **options)
    assert inferred(model_of(node, w=weight)) == TensorType(1, (1, 6, 4, 3))
    node = helper.make_node("Resize", ["x", "", "s"], ["y"])
    assert inferred(model_of(node, s=np.float32([1, 1, 1.5, 2]))).shape == (1, 4, 13, 20)
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"])
    assert inferred(model_of(node, s=np.int64([1, 4, 5, 7]))).shape == (1, 4, 5, 7)


def test_layout() -> None:
    node = helper.make_node("Reshape", ["x", "s"], ["y"])
    assert inferred(model_of(node, s=np.int64([0, 2, -1, 5]))).shape == (1, 2, 36, 5)
    node = helper.make_node("Transpose", ["x"], ["y"])
    assert inferred(model_of(node)).shape == (10, 9, 4, 1)
    node = helper.make_node("Unsqueeze", ["x", "a"], ["y"])
    assert inferred(model_of(node, a=np.int64([-1, 0]))).shape == (1, 1, 4, 9, 10, 1)
    node = helper.make_node("Squeeze", ["x", "a"], ["y"])
    assert inferred(model_of(node, a=np.int64([0]))).shape == (4, 9, 10)
    node = helper.make_node("Shape", ["x"], ["y"], start=1, end=-1)
    assert inferred(model_of(node)) == TensorType(7, (2,))


def test_a_node_without_a_rule_asks_for_onnx() -> None:
    node = helper.make_node("NonZero", ["x"], ["y"], name="where")
    with pytest.raises(MissingPackageError, match=r"'where' \(NonZero\).*adcvsr\[export\]"):
        count_cost(read_graph(model_of(node)), {"x": (1, 4, 4, 4)})


def test_what_does_not_fit_is_named() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    data = model_of(node, w=np.zeros((2, 3, 1, 1), np.float32))
    with pytest.raises(GraphError, match="'conv'.*does not fit"):
        count_cost(read_graph(data), {"x": (1, 4, 4, 4)})
    with pytest.raises(GraphError, match="graph input 'x' has no size"):
        count_cost(read_graph(data), {})


def test_damaged_files_are_told() -> None:
    data = open_bundle("nano").read("fp32-onnx.onnx")
    for end in (1, 100, 5000, len(data) - 1):
        with pytest.raises(GraphError, match="damaged|no ONNX graph"):
            read_graph(data[:end])
    random = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(data)
        changed[random.integers(4000)] = random.integers(256)
        with contextlib.suppress(GraphError):  # any other error is a fault
            read_graph(bytes(changed))


def test_element_types_are_as_onnx_has_them() -> None:
    kinds = onnx.TensorProto.DataType
    for element, (name, bits) in ELEMENTS.items():
        if element not in kinds.values():
            continue
        assert kinds.Name(element).lower() == name
        size = helper.tensor_dtype_to_np_dtype(element).itemsize * 8
        assert bits == (4 if name in ("int4", "uint4", "float4e2m1") else size)
