"""An ONNX graph changed without the package `onnx`: nodes taken out and added, tensors exchanged.

What is not touched keeps its bytes. `graph.file` reads; this writes the few messages that new nodes
and tensors need.

    graph = EditedGraph(data)
    graph.add("Clip", ["levels", low, high], ["clipped"])
    graph.content()
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError
from .file import Node, fields_of, integers_of, node_of, value_of

UINT8, FLOAT, FLOAT16 = 2, 1, 10
"""ONNX's numbers of element types."""

_TYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
}
_NUMBERS = {kind: number for number, kind in _TYPES.items()}

_NODE, _TENSOR, _INPUT, _OUTPUT, _VALUE = 1, 5, 11, 12, 13  # fields of a graph
_GRAPH = 7  # of a model

Chunk = tuple[int, bytes, bytes]
"""A field's number, its content where that is a message or text, and all of its bytes."""


class EditedGraph:
    """A graph whose nodes and tensors can be changed.

    Args:
        data: An ONNX file's content.

    Raises:
        GraphError: It is damaged.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._model = _chunks(data)
            graph = [content for number, content, _ in self._model if number == _GRAPH]
            parts = _chunks(graph[0] if graph else b"")
            self._nodes = [(node_of(memoryview(raw)), raw) for n, raw, _ in parts if n == _NODE]
            self._tensors = {_name(raw, 8): raw for n, raw, _ in parts if n == _TENSOR}
            self._inputs = {_name(raw, 1): raw for n, raw, _ in parts if n == _INPUT}
            self._outputs = {_name(raw, 1): raw for n, raw, _ in parts if n == _OUTPUT}
        except (IndexError, OverflowError, TypeError, ValueError, struct.error) as error:
            raise GraphError(f"the graph is damaged: {error}; get the bundle again") from error
        # Shapes that were inferred would contradict what is changed.
        known = (_NODE, _TENSOR, _INPUT, _OUTPUT, _VALUE)
        self._rest = b"".join(whole for number, _, whole in parts if number not in known)
        self._first: list[bytes] = []
        self._names = 0

    def nodes(self) -> Iterator[Node]:
        """Those that were there and have not been taken out, in order."""
        return (node for node, _ in self._nodes)

    def readers(self, tensor: str) -> list[Node]:
        """Nodes that take a tensor."""
        return [node for node, _ in self._nodes if tensor in node.input]

    def producer(self, tensor: str) -> Node:
        """The node that makes a tensor.

        Raises:
            GraphError: None does.
        """
        for node, _ in self._nodes:
            if tensor in node.output:
                return node
        raise GraphError(f"no node of the graph makes '{tensor}'")

    def take_out(self, node: Node) -> None:
        """Take a node out; whatever it made must be made by another or read by none."""
        self._nodes = [each for each in self._nodes if each[0] is not node]

    def input_element(self, name: str) -> int:
        """ONNX's number of a graph input's type; 0 where there is no such input."""
        return value_of(memoryview(self._inputs[name])).element if name in self._inputs else 0

    def output_element(self, name: str) -> int:
        """The same of a graph output."""
        return value_of(memoryview(self._outputs[name])).element if name in self._outputs else 0

    def outputs(self) -> set[str]:
        """Names of the graph's outputs."""
        return set(self._outputs)

    def values(self, tensor: str) -> npt.NDArray[Any]:
        """What a constant of the graph holds.

        Raises:
            GraphError: There is none of that name in the file, or of an unknown type.
        """
        raw = self._tensors.get(tensor)
        if raw is None:
            raise GraphError(f"'{tensor}' is no constant of the graph")
        return _values(tensor, raw)

    def exchange(self, tensor: str, values: npt.NDArray[Any]) -> None:
        """Give a constant other values; it keeps its name."""
        self._tensors[tensor] = _tensor(tensor, values)

    def constant(self, values: npt.NDArray[Any], hint: str) -> str:
        """Add a constant.

        Args:
            values: Of a type that `values` reads.
            hint: Part of its name.

        Returns:
            Its name.
        """
        self._names += 1
        name = f"ends_{self._names}_{hint}"
        self._tensors[name] = _tensor(name, values)
        return name

    def add(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        first: bool = False,
        before: Node | None = None,
        called: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node of ONNX's own operators.

        Args:
            operator: Its name.
            inputs: Tensors.
            outputs: Tensors.
            first: Whether it stands before all nodes that were there, else behind them.
            before: The node before which it stands; None for one of those two.
            called: Its name; empty for one after its output.
            attributes: Numbers, texts and lists of integers.

        Returns:
            Its first output.
        """
        content = b"".join(_text(1, each) for each in inputs)
        content += b"".join(_text(2, each) for each in outputs)
        content += _text(3, called or f"ends/{outputs[0]}") + _text(4, operator)
        content += b"".join(_bytes(5, _attribute(*each)) for each in attributes.items())
        if first:
            self._first.append(content)
        else:
            at = [node is before for node, _ in self._nodes]
            place = at.index(True) if before is not None else len(at)
            self._nodes.insert(place, (node_of(memoryview(content)), content))
        return outputs[0]

    def set_input(self, name: str, element: int, dims: Sequence[int | str]) -> None:
        """Declare a graph input, in the place of one of its name."""
        self._inputs[name] = _value(name, element, dims)

    def set_output(self, name: str, element: int, dims: Sequence[int | str]) -> None:
        """Declare a graph output, in the place of one of its name."""
        self._outputs[name] = _value(name, element, dims)

    def content(self) -> bytes:
        """The file's content, without what nothing reads."""
        nodes = [(node_of(memoryview(raw)), raw) for raw in self._first] + self._nodes
        while True:
            read = {name for node, _ in nodes for name in node.input} | set(self._outputs)
            kept = [each for each in nodes if read & set(each[0].output)]
            if len(kept) == len(nodes):
                break
            nodes = kept
        graph = b"".join(_bytes(_NODE, raw) for _, raw in nodes) + self._rest
        graph += b"".join(
            _bytes(_TENSOR, raw) for name, raw in self._tensors.items() if name in read
        )
        graph += b"".join(_bytes(_INPUT, raw) for raw in self._inputs.values())
        graph += b"".join(_bytes(_OUTPUT, raw) for raw in self._outputs.values())
        return b"".join(
            _bytes(number, graph) if number == _GRAPH else whole for number, _, whole in self._model
        )


def _chunks(data: bytes) -> list[Chunk]:
    """Fields of a model or graph, none of which is a float."""
    found: list[Chunk] = []
    for number, value in fields_of(memoryview(data)):
        if isinstance(value, int):
            found.append((number, b"", _number(number, value)))
        else:
            found.append((number, bytes(value), _bytes(number, bytes(value))))
    return found


def _name(raw: bytes, field: int) -> str:
    names = [value for number, value in fields_of(memoryview(raw)) if number == field]
    return bytes(names[0]).decode() if names else ""


def _values(name: str, raw: bytes) -> npt.NDArray[Any]:
    dims, kind, content, listed = list[int](), None, None, list[Any]()
    for number, value in fields_of(memoryview(raw)):
        if number == 1:
            dims += integers_of(value)
        elif number == 2:
            kind = _TYPES.get(value)
        elif number == 4:
            listed += np.frombuffer(value, "<f4").tolist()
        elif number in (5, 7):
            listed += integers_of(value)
        elif number == 9:
            content = value
        elif number == 13:
            raise GraphError("the graph's weights lie beside it")
    if kind is None:
        raise GraphError(f"constant '{name}' is of a type that is not read here")
    if content is not None:
        return np.frombuffer(content, kind).reshape(dims)
    if kind == np.dtype("<f2"):  # listed as the integers of its bits
        return np.array(listed, "<u2").view(kind).reshape(dims)
    return np.array(listed, kind).reshape(dims)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def _attribute(name: str, value: Any) -> bytes:
    content = _text(1, name)
    if isinstance(value, int):
        return content + _number(3, value) + _number(20, 2)
    if isinstance(value, str):
        return content + _text(4, value) + _number(20, 3)
    return content + b"".join(_number(8, each) for each in value) + _number(20, 7)


def _tensor(name: str, values: npt.NDArray[Any]) -> bytes:
    stored = np.ascontiguousarray(values)
    content = b"".join(_number(1, side) for side in values.shape)
    content += _number(2, _NUMBERS[stored.dtype])
    return content + _text(8, name) + _bytes(9, stored.tobytes())


def _value(name: str, element: int, dims: Sequence[int | str]) -> bytes:
    sides = b"".join(
        _bytes(1, _number(1, side) if isinstance(side, int) else _text(2, side)) for side in dims
    )
    return _text(1, name) + _bytes(2, _bytes(1, _number(1, element) + _bytes(2, sides)))
