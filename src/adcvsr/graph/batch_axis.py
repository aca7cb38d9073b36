"""A stream graph of one frame made to take several at once: its batch axis, left open in memory.

Exported graphs are traced with a batch of one. Their nodes treat each picture by itself, and what
binds them to one is written down in three places: the first dimension of inputs and outputs, shapes
noted on the way, and the first number of the shapes that the tail rearranges pixels by. These are
opened, and nothing else changes: no weight, no scale, no other node.

    graph = with_batch_axis(graph)  # (N, H, W, 3) and (N, C, h, w) in, (N, 4H, 4W, 3) out
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import GraphError
from .file import Graph, read_graph, read_varint

OPEN = "adcvsr_as_many_as_come"
"""The constant [-1] that is added: a Reshape takes it for what is left."""

BATCH = "streams"
"""Name of the open dimension."""

EACH_BY_ITSELF = frozenset(
    {
        *("Add", "Cast", "Clip", "Conv", "DequantizeLinear", "LeakyRelu", "Mul", "QuantizeLinear"),
        *("Relu", "Resize", "Sigmoid", "Sub", "DepthToSpace", "SpaceToDepth"),
    }
)
"""What computes each picture of a batch without the others."""

SHAPE_ARITHMETIC = frozenset(
    {"Shape", "Squeeze", "Unsqueeze", "Concat", "Gather", "Constant", "Mul", "Add", "Reshape"}
    | {"Div", "Cast"}
)
"""What may stand between the picture's shape and the shape it is brought to."""


def with_batch_axis(graph: bytes) -> bytes:
    """Rewrite a stream graph.

    Args:
        graph: An ONNX file's content.

    Raises:
        GraphError: It is no graph of this form; the message names the node.
    """
    found = read_graph(graph).graph
    shapes = _opened(found)
    body = b"".join(
        _field(number, _graph(content, shapes) if number == 7 else content)
        for number, content in _parts(graph)
    )
    return body


def _opened(graph: Graph) -> set[str]:
    """Names of the shapes whose first number is to be left open.

    Raises:
        GraphError: A node mixes pictures, or a shape has another form.
    """
    makers = {name: node for node in graph.node for name in node.output}
    shapes = _shape_values(graph)
    opened = set()
    for node in graph.node:
        if any(name in shapes for name in node.output):
            if node.op_type not in SHAPE_ARITHMETIC:
                raise GraphError(f"'{node.name}' ({node.op_type}) makes a shape in an unknown way")
        elif node.op_type == "Transpose":
            if (node.attributes.get("perm") or [1])[0] != 0:
                raise GraphError(f"'{node.name}' moves the first axis")
        elif node.op_type == "Reshape":
            maker = makers.get(node.input[1])
            if maker is None or maker.op_type != "Concat" or len(maker.input) < 4:
                raise GraphError(f"'{node.name}' brings pictures to a shape of another form")
            opened.add(node.input[1])
        elif node.op_type not in EACH_BY_ITSELF:
            raise GraphError(f"'{node.name}' ({node.op_type}) may mix pictures of a batch")
    return opened


def _shape_values(graph: Graph) -> set[str]:
    """Names of values that are shapes, or parts of one: all that a `Shape` node leads to."""
    found = {name for node in graph.node if node.op_type == "Shape" for name in node.output}
    for node in graph.node:  # in the order of the file, makers first
        carries = node.op_type == "Reshape" and node.input[0] not in found
        takes_shape = node.op_type in ("Resize",)
        if not carries and not takes_shape and any(name in found for name in node.input):
            found.update(node.output)
    return found


def _graph(content: Any, shapes: set[str]) -> bytes:
    parts = []
    for number, each in _parts(content):
        if number == 13:
            continue  # shapes noted on the way hold for a batch of one
        changed = each
        if number == 1:
            changed = _node(each, shapes)
        elif number in (11, 12):
            changed = _value(each)
        parts.append(_field(number, changed))
    minus_one = (1 << 64) - 1
    constant = _field(1, 1) + _field(2, 7) + _field(7, _varint(minus_one)) + _field(8, OPEN)
    return b"".join(parts) + _field(5, constant)


def _node(content: Any, shapes: set[str]) -> Any:
    """Open the first number of what a node makes, where it makes one of these shapes."""
    fields = list(_parts(content))
    if not any(number == 2 and bytes(each).decode() in shapes for number, each in fields):
        return content
    first = next(index for index, (number, _) in enumerate(fields) if number == 1)
    fields[first] = (1, OPEN.encode())
    return b"".join(_field(number, each) for number, each in fields)


def _value(content: Any) -> bytes:
    """Open the first dimension of an input or output: value, type, tensor, shape, dimension."""
    return _deep(content, (2, 1, 2, 1), _field(2, BATCH.encode()))


def _deep(content: Any, path: tuple[int, ...], put: bytes) -> bytes:
    parts, done = [], False
    for number, each in _parts(content):
        changed = each
        if number == path[0] and not done:
            done = True
            changed = put if len(path) == 1 else _deep(each, path[1:], put)
        parts.append(_field(number, changed))
    return b"".join(parts)


def _parts(content: Any) -> Iterator[tuple[int, Any]]:
    """Number and content of each field, an integer or bytes, so that `_field` writes it back."""
    data, at = memoryview(content), 0
    while at < len(data):
        key, at = read_varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = read_varint(data, at)
            yield key >> 3, value
            continue
        if kind != 2:
            size = 8 if kind == 1 else 4
            yield key >> 3, _Fixed(kind, bytes(data[at : at + size]))
            at += size
            continue
        size, at = read_varint(data, at)
        yield key >> 3, data[at : at + size]
        at += size


class _Fixed(bytes):
    """Content of a field of four or eight bytes."""

    kind: int

    def __new__(cls, kind: int, content: bytes) -> _Fixed:
        made = super().__new__(cls, content)
        made.kind = kind
        return made


def _field(number: int, content: Any) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    if isinstance(content, _Fixed):
        return _varint(number << 3 | content.kind) + content
    body = content.encode() if isinstance(content, str) else bytes(content)
    return _varint(number << 3 | 2) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value >> 7 else 0))
        value >>= 7
        if not value:
            return bytes(out)
