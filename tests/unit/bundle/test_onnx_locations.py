"""Finding the files an ONNX file refers to, by its bytes alone."""

from __future__ import annotations

import contextlib

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from adcvsr.bundle.onnx_locations import ENTRY, FIELDS, MODEL, scan_graph


def outside(location: str) -> TensorProto:
    tensor = TensorProto(name="w", dims=[2], data_type=TensorProto.FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("offset", "0"), ("location", location), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_with(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph)


def test_initializers_attributes_subgraphs_sparse_tensors_and_functions() -> None:
    inner = helper.make_graph([], "inner", [], [], [outside("c")])
    node = helper.make_node("If", ["x"], ["y"], then_branch=inner)
    constant = helper.make_node("Constant", [], ["z"], value=outside("b"))
    inside = helper.make_tensor("inside", TensorProto.FLOAT, [4], b"location" * 2, raw=True)
    model = model_with(helper.make_graph([node, constant], "g", [], [], [outside("a"), inside]))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(outside("d"))
    sparse.indices.CopyFrom(outside("e"))
    model.functions.add().node.add().CopyFrom(
        helper.make_node("Constant", [], ["z"], value=outside("f"))
    )
    model.training_info.add().algorithm.initializer.append(outside("g"))
    assert scan_graph(model.SerializeToString()).locations == set("abcdefg")


def test_a_graph_without_any() -> None:
    model = model_with(helper.make_graph([], "g", [], []))
    assert scan_graph(model.SerializeToString()).locations == set()
    assert scan_graph(b"").locations == set()


def test_every_way_to_a_tensor_is_known() -> None:
    """Held against ONNX's own description: a field added there must be followed here."""
    leads = {ENTRY}
    seen: dict[str, dict[int, str]] = {}
    pending = [onnx.ModelProto.DESCRIPTOR]
    while pending:
        kind = pending.pop()
        if kind.name in seen:
            continue
        messages = [field for field in kind.fields if field.message_type is not None]
        seen[kind.name] = {field.number: field.message_type.name for field in messages}
        pending += [field.message_type for field in messages]
    # Types hold no tensors; metadata and dimensions use the same pair of strings for other things.
    tensor_fields = {"TensorProto": {13: ENTRY}}
    leads = {"TensorProto"}
    grown = True
    while grown:
        more = {k for k, fields in seen.items() if leads & set(fields.values())}
        grown = not more <= leads
        leads |= more
    for kind in leads - {"TensorProto"}:
        tensor_fields[kind] = {n: child for n, child in seen[kind].items() if child in leads}
    assert tensor_fields == FIELDS
    assert MODEL in tensor_fields


@pytest.mark.parametrize("data", [b"\x3a\x7f", b"\x3b", b"\xff" * 20, b"\x08", b"not onnx"])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError, match="field|wire|number"):
        scan_graph(data)


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_in_an_answer_or_a_value_error(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert scan_graph(data).locations >= set()
