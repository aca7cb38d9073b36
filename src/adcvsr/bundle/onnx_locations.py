"""What an ONNX file refers to and is made of, read without the package `onnx`.

A device has only an inference engine, which follows references to files wherever they lead and runs
whatever operators there are; so a bundle looks before it hands a graph on. Only the few fields of
ONNX's protobuf that lead to a tensor or a node are followed, all else is stepped over.

    scan_graph(path.read_bytes()).locations  # {"fp32-onnx.onnx.data"}
    scan_graph(path.read_bytes()).operators  # {("", "Conv"), ("", "Relu"), ...}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MODEL = "ModelProto"

FIELDS: dict[str, dict[int, str]] = {
    MODEL: {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {13: "StringStringEntryProto"},
}
"""Message fields that lead to a tensor's external data, by number (onnx.proto)."""

ENTRY = "StringStringEntryProto"
KEY, VALUE = 1, 2

NODE, ATTRIBUTE = "NodeProto", "AttributeProto"
OP_TYPE, DOMAIN = 4, 7

_VARINT, _EIGHT_BYTES, _MESSAGE, _FOUR_BYTES = 0, 1, 2, 5


@dataclass
class GraphScan:
    """What was found in an ONNX file."""

    locations: set[str] = field(default_factory=set)
    """Names of the files its tensors say they are in."""

    operators: set[tuple[str, str]] = field(default_factory=set)
    """Domain and type of every node, those of subgraphs and functions among them."""

    has_subgraphs: bool = False
    """Whether a node holds a graph of its own, as `Loop`, `If` and `Scan` do."""

    has_functions: bool = False
    """Whether it defines operators of its own."""

    nodes: int = 0


def scan_graph(graph: bytes) -> GraphScan:
    """Look through an ONNX file, in time and memory that its length bounds.

    Args:
        graph: Its content.

    Raises:
        ValueError: It is no protobuf message.
    """
    found = GraphScan()
    pending = [(MODEL, memoryview(graph))]  # a stack, as subgraphs may nest as deep as they like
    while pending:
        kind, message = pending.pop()
        if kind == ENTRY:
            texts = dict(_messages(message))
            if bytes(texts.get(KEY, b"")) == b"location":
                found.locations.add(bytes(texts.get(VALUE, b"")).decode())
            continue
        children = FIELDS[kind]
        types, domains = [b""], [b""]  # of several the last holds; all are looked at
        for number, part in _messages(message):
            if number in children:
                pending.append((children[number], part))
                found.has_functions |= children[number] == "FunctionProto"
                found.has_subgraphs |= kind == ATTRIBUTE and children[number] == "GraphProto"
            elif kind == NODE and number == OP_TYPE:
                types.append(bytes(part))
            elif kind == NODE and number == DOMAIN:
                domains.append(bytes(part))
        if kind == NODE:
            found.nodes += 1
            found.operators |= {
                (domain.decode(), each.decode())
                for domain in domains[min(1, len(domains) - 1) :]
                for each in types[min(1, len(types) - 1) :]
            }
    return found


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every length-delimited field."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag >> 32:  # parsers in C++ keep its lower 32 bits, which would be another field
            raise ValueError(f"a field's tag of {tag}")
        wire = tag & 7
        if wire == _MESSAGE:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise ValueError("a field is longer than its message")
            yield tag >> 3, data[at : at + length]
            at += length
        elif wire == _VARINT:
            _, at = _varint(data, at)
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if wire == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {wire}")


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, lowest first, and where it ends."""
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("a number does not end")
