"""An ONNX graph read without the package `onnx`: nodes, tensors' shapes, small constants.

ONNX files are protocol buffers; this reads the fields that counting needs, under the names that
`onnx` gives them, so that `plan` and `inspect --size` work where only an engine is installed.

    model = read_graph(Path("fp32-onnx.onnx").read_bytes())
    [node.op_type for node in model.graph.node]
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError

SMALL_BYTES = 512
"""Constants up to this size are kept: shape arithmetic, scales and zero points."""

_STORED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
}
"""Element types of the constants whose values are kept."""


@dataclass
class Tensor:
    """An initializer or the value of a `Constant`."""

    name: str = ""
    data_type: int = 0
    dims: tuple[int, ...] = ()
    value: npt.NDArray[Any] | None = None
    """None for what is large, outside the file or of another type."""


@dataclass
class Value:
    """An input or output of the graph."""

    name: str = ""
    element: int = 0


@dataclass
class Node:
    """One node."""

    input: list[str] = field(default_factory=list)
    output: list[str] = field(default_factory=list)
    name: str = ""
    op_type: str = ""
    domain: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Numbers, lists of integers, bytes or a `Tensor`, by name."""


@dataclass
class Graph:
    """A graph; nodes in the order of the file."""

    node: list[Node] = field(default_factory=list)
    initializer: list[Tensor] = field(default_factory=list)
    input: list[Value] = field(default_factory=list)
    output: list[Value] = field(default_factory=list)


@dataclass
class Model:
    """What a file holds."""

    graph: Graph
    opsets: dict[str, int]
    """Version by domain."""


def read_graph(data: bytes) -> Model:
    """Read a model.

    Args:
        data: The file's content; weights outside of it are not needed.

    Raises:
        GraphError: It is damaged or no ONNX model.
    """
    graph, opsets = None, {}
    try:
        for number, value in fields_of(memoryview(data)):
            if number == 7:
                graph = _graph(value)
            elif number == 8:
                entry = dict(fields_of(value))
                opsets[_text(entry.get(1, memoryview(b"")))] = int(entry.get(2, 0))
    except (IndexError, OverflowError, TypeError, ValueError, struct.error) as error:
        raise GraphError(f"the graph is damaged: {error}; get the bundle again") from error
    if graph is None:
        raise GraphError("the file holds no ONNX graph; get the bundle again")
    return Model(graph, opsets)


def fields_of(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and content of each field: an integer, a float's bytes, or the bytes of a message."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = read_varint(data, at)
            yield number, value - (1 << 64) if value >> 63 else value
            continue
        if kind == 2:
            size, at = read_varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > len(data):
            raise ValueError(f"it ends {at + size - len(data)} bytes early")
        yield number, data[at : at + size]
        at += size


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and where the next field starts."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & ((1 << 64) - 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def integers_of(value: Any) -> list[int]:
    """Integers of a repeated field, stored one by one or packed."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = read_varint(value, at)
        found.append(number - (1 << 64) if number >> 63 else number)
    return found


def _bytes(value: Any) -> bytes:
    if not isinstance(value, memoryview):
        raise ValueError("a number instead of bytes")
    return bytes(value)


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _graph(data: memoryview) -> Graph:
    graph = Graph()
    for number, value in fields_of(data):
        if number == 1:
            graph.node.append(node_of(value))
        elif number == 5:
            graph.initializer.append(_tensor(value))
        elif number == 11:
            graph.input.append(value_of(value))
        elif number == 12:
            graph.output.append(value_of(value))
    return graph


def node_of(data: memoryview) -> Node:
    """Read a node's message."""
    node = Node()
    for number, value in fields_of(data):
        if number == 1:
            node.input.append(_text(value))
        elif number == 2:
            node.output.append(_text(value))
        elif number == 3:
            node.name = _text(value)
        elif number == 4:
            node.op_type = _text(value)
        elif number == 5:
            name, content = _attribute(value)
            node.attributes[name] = content
        elif number == 7:
            node.domain = _text(value)
    return node


def _attribute(data: memoryview) -> tuple[str, Any]:
    name, integers = "", list[int]()
    content: Any = None
    for number, value in fields_of(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            content = float(struct.unpack("<f", value)[0])
        elif number == 3:
            content = value
        elif number == 4:
            content = _bytes(value)
        elif number == 5:
            content = _tensor(value)
        elif number == 8:
            integers += integers_of(value)
    return name, integers or content


def _tensor(data: memoryview) -> Tensor:
    tensor, raw, listed, outside = Tensor(), None, list[float](), False
    for number, value in fields_of(data):
        if number == 1:
            tensor.dims += tuple(integers_of(value))
        elif number == 2:
            tensor.data_type = value
        elif number == 4:
            listed += np.frombuffer(value, "<f4").tolist()
        elif number in (5, 7):
            listed += integers_of(value)
        elif number == 8:
            tensor.name = _text(value)
        elif number == 9:
            raw = value
        elif number == 13:
            outside = True
    kind = _STORED.get(tensor.data_type)
    if kind is not None and not outside:
        elements = int(np.prod(tensor.dims, dtype=np.int64))
        if elements * kind.itemsize <= SMALL_BYTES:
            stored = np.array(listed, kind) if raw is None else np.frombuffer(raw, kind)
            tensor.value = stored.reshape(tensor.dims)
    return tensor


def value_of(data: memoryview) -> Value:
    """Read the message of an input or output."""
    value = Value()
    for number, content in fields_of(data):
        if number == 1:
            value.name = _text(content)
        elif number == 2:
            kind = dict(fields_of(content)).get(1)
            value.element = 0 if kind is None else int(dict(fields_of(kind)).get(1, 0))
    return value
