"""A graph whose pictures enter and leave in levels of float instead of uint8, the network the same.

Exported graphs begin with a cast of uint8 pictures and end with a clip and a cast to uint8, which
rounds since the half is added before. In float pictures need no rounding: types of input and output
and what the last cast makes become float, three bytes of the file, and all else stays as it is.

    graph = with_float_ends(graph, "frame", "upscaled")  # levels in; levels + 0.5 out, in 0..255.5
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import GraphError
from .file import read_graph, read_varint

FLOAT, UINT8 = 1, 2
"""ONNX's numbers of element types."""

HALF = 0.5
"""What the graph has added to the levels that leave it, so that a cast rounds."""

READERS = frozenset({"Cast", "Shape"})
"""What may take the picture that comes in: nothing that means its bytes."""


def with_float_ends(graph: bytes, picture_in: str, picture_out: str) -> bytes:
    """Rewrite a graph of uint8 pictures.

    Args:
        graph: An ONNX file's content.
        picture_in: Name of the input, uint8 levels; afterwards float32 levels, whole or not.
        picture_out: Name of the output, uint8; afterwards float32, levels + `HALF` in [0, 255.5].

    Raises:
        GraphError: It is no graph of this form, such as one that is quantized from its input on.
    """
    found = read_graph(graph).graph
    readers = {node.op_type for node in found.node if picture_in in node.input}
    last = [node for node in found.node if picture_out in node.output]
    ends = {each.name: each.element for each in (*found.input, *found.output)}
    if (
        not readers <= READERS
        or [node.op_type for node in last] != ["Cast"]
        or {ends.get(picture_in), ends.get(picture_out)} != {UINT8}
    ):
        raise GraphError(
            "the graph does not cast pictures of 8 bits at both ends; only such graphs can be "
            "given more"
        )
    changed = bytearray(graph)
    places = list(_places(memoryview(graph), {picture_in, picture_out}, picture_out))
    if len(places) != 3 or any(changed[at] != UINT8 for at in places):
        raise GraphError("the graph says the types of its pictures otherwise than exports do")
    for at in places:
        changed[at] = FLOAT
    return bytes(changed)


def _places(data: memoryview, pictures: set[str], picture_out: str) -> Iterator[int]:
    """Where in the file the types of pictures, and of what the last cast makes, stand."""
    for graph_at, graph_end in _parts(data, 0, len(data), 7):
        for number in (11, 12):
            for at, end in _parts(data, graph_at, graph_end, number):
                if _text(data, at, end, 1) & pictures:
                    yield from _deep(data, at, end, (2, 1, 1))
        for at, end in _parts(data, graph_at, graph_end, 1):
            if picture_out in _text(data, at, end, 2):
                for attribute, its_end in _parts(data, at, end, 5):
                    if _text(data, attribute, its_end, 1) == {"to"}:
                        yield from _deep(data, attribute, its_end, (3,))


def _deep(data: memoryview, at: int, end: int, path: tuple[int, ...]) -> Iterator[int]:
    """Where a number within messages within messages begins."""
    for start, stop in _parts(data, at, end, path[0]):
        if len(path) == 1:
            yield start
        else:
            yield from _deep(data, start, stop, path[1:])


def _text(data: memoryview, at: int, end: int, number: int) -> set[str]:
    return {bytes(data[start:stop]).decode() for start, stop in _parts(data, at, end, number)}


def _parts(data: memoryview, at: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the content of each field of a number, within a message."""
    while at < end:
        key, at = read_varint(data, at)
        kind, start = key & 7, at
        if kind == 0:
            _, at = read_varint(data, at)
        elif kind == 2:
            size, start = read_varint(data, at)
            at = start + size
        else:
            at += 8 if kind == 1 else 4
        if key >> 3 == wanted:
            yield start, at
