"""Small edits of ONNX graphs that every precision step shares.

edit = GraphEdit(model)  # weights of every convolution are its own from here on
edit.set_weight(name, array)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper


class GraphEdit:
    """A graph with its producers, consumers and weights looked up by name.

    Args:
        model: Copied; weights that several nodes share become one copy a node, so that one can be
            changed without the others.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.weights = {t.name: numpy_helper.to_array(t).copy() for t in model.graph.initializer}
        self._split_shared_weights()

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """In the graph's order."""
        return list(self.model.graph.node)

    def of_type(self, *op_types: str) -> list[onnx.NodeProto]:
        """Nodes of these operators, in order."""
        return [node for node in self.model.graph.node if node.op_type in op_types]

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node a tensor comes from; None for inputs and weights."""
        return next((node for node in self.model.graph.node if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.model.graph.node if tensor in node.input]

    def set_weight(self, name: str, value: npt.NDArray[np.generic]) -> None:
        """Change or add an initializer; a scalar stays one, which compilers tell from one value."""
        self.weights[name] = np.asarray(value, order="C")

    def bias_of(self, node: onnx.NodeProto) -> str:
        """Name of a convolution's bias; it gets one of zeros where it has none."""
        if len(node.input) < 3:
            name = f"{node.input[1]}.bias"
            self.set_weight(name, np.zeros(self.weights[node.input[1]].shape[0], np.float32))
            node.input.append(name)
        return str(node.input[2])

    def bypass(self, node: onnx.NodeProto) -> None:
        """Take a node of one input and one output out; its readers read its input."""
        self.rename_reads(node.output[0], node.input[0])
        self.model.graph.node.remove(node)

    def rename_reads(self, old: str, new: str) -> None:
        """Make every reader of a tensor read another."""
        for node in self.model.graph.node:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def finish(self) -> onnx.ModelProto:
        """Write the weights that are used back, order the nodes, drop what was inferred before.

        Returns:
            The model; further edits need a new object.
        """
        graph = self.model.graph
        used = {name for node in graph.node for name in node.input}
        used |= {value.name for value in graph.output}
        kept = [
            numpy_helper.from_array(value, name)
            for name, value in self.weights.items()
            if name in used
        ]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]
        sort_nodes(graph)
        return self.model

    def _split_shared_weights(self) -> None:
        reads = Counter(name for node in self.model.graph.node for name in node.input)
        for node in self.of_type("Conv"):
            for index, name in enumerate(node.input):
                if index and reads[name] > 1 and name in self.weights:
                    own = f"{name}@{node.name}"
                    self.weights[own] = self.weights[name].copy()
                    node.input[index] = own


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Order nodes so that each follows what it reads, otherwise as they are.

    Raises:
        ValueError: The graph has a cycle or reads a tensor nothing gives.
    """
    known = {""} | {value.name for value in graph.input} | {t.name for t in graph.initializer}
    waiting, ordered = list(graph.node), list[onnx.NodeProto]()
    while waiting:
        later: list[onnx.NodeProto] = []
        for node in waiting:
            if all(name in known for name in node.input):
                ordered.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"node '{later[0].name}' reads what nothing before it gives")
        waiting = later
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def with_outputs(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy that gives what flows inside, too; ONNX Runtime finds types and shapes itself.

    Args:
        model: Not changed.
        tensors: What nodes make; its outputs may be among them.
    """
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    wider.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in tensors if name not in present
    )
    return wider


def attribute(node: onnx.NodeProto, name: str, default: Iterable[int]) -> tuple[int, ...]:
    """A node's list-of-integers attribute."""
    for entry in node.attribute:
        if entry.name == name:
            return tuple(entry.ints)
    return tuple(default)


def group_of(node: onnx.NodeProto) -> int:
    """A convolution's number of groups."""
    return next((int(entry.i) for entry in node.attribute if entry.name == "group"), 1)
