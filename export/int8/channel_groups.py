"""Tensors whose channels share their units, and changing those without changing the network.

Where only convolutions and additions see a tensor, its channels may be scaled, or mixed by any
matrix that can be inverted: the convolutions before take the matrix, those after its inverse.
Additions tie what they read to what they write, carried state what is written to what is read.

    for group in channel_groups(edit, state):
        units |= dict.fromkeys(group.tensors, factors)
    change_units(edit, units)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..graphs.graph_edit import GraphEdit, group_of

LINEAR = frozenset({"Add", "Resize", "AveragePool", "Identity"})
"""Operators through which a mix of channels passes unchanged, given to all they read."""

POSITIVE_ONLY = frozenset({"Relu", "MaxPool", "LeakyRelu", "PRelu"})
"""Operators through which a positive factor a channel passes unchanged, but no mix."""

Units = Mapping[str, npt.NDArray[np.floating[Any]]]
"""By tensor: factors (C,), or a matrix (C, C) that gives its channels from the network's own."""


@dataclass(frozen=True)
class ChannelGroup:
    """Tensors that share their units."""

    tensors: tuple[str, ...]
    """In the graph's order, carried states first."""

    mixable: bool
    """Whether any matrix will do; else positive factors only."""


def channel_groups(edit: GraphEdit, state: Mapping[str, str]) -> list[ChannelGroup]:
    """Groups whose units may be changed.

    Args:
        edit: A float graph.
        state: Graph output by graph input of each carried state.
    """
    ties = _Ties()
    weights = set(edit.weights)
    graph = edit.model.graph
    fixed = {value.name for value in graph.input if value.name not in state}
    fixed |= {value.name for value in graph.output if value.name not in state.values()}
    for before, after in state.items():
        ties.join(before, after)
    for node in graph.node:
        fixed |= _tie(ties, node, weights)
    positive = {name for node in edit.of_type(*POSITIVE_ONLY) for name in node.output}
    return [
        ChannelGroup(tuple(group), not positive & set(group))
        for group in ties.groups()
        if not fixed & set(group)
    ]


def change_units(edit: GraphEdit, units: Units) -> None:
    """Make convolutions write and read tensors in other units; the network stays the same.

    Args:
        edit: Its convolutions' weights and biases change.
        units: The same for all tensors of a group.
    """
    for node in edit.of_type("Conv"):
        weight = edit.weights[node.input[1]]
        before, after = units.get(node.input[0]), units.get(node.output[0])
        if before is not None:
            inverse = 1 / before if before.ndim == 1 else np.linalg.inv(before)
            weight = in_units(inverse, weight, axis=1)
        if after is not None:
            weight = in_units(after, weight, axis=0)
            if len(node.input) > 2:
                edit.set_weight(node.input[2], in_units(after, edit.weights[node.input[2]], axis=0))
        edit.set_weight(node.input[1], weight)


def in_units(
    units: npt.NDArray[np.floating[Any]], values: npt.NDArray[np.float32], axis: int
) -> npt.NDArray[np.float32]:
    """Give channels along an axis in other units; along the inputs of a weight, by the inverse."""
    if units.ndim == 1:
        shape = [-1 if i == axis else 1 for i in range(values.ndim)]
        return (values * units.reshape(shape)).astype(np.float32)
    matrix = units.T if axis == 1 else units
    mixed = np.moveaxis(np.tensordot(matrix, values.astype(np.float64), (1, axis)), 0, axis)
    return np.ascontiguousarray(mixed, np.float32)


def _tie(ties: _Ties, node: onnx.NodeProto, weights: set[str]) -> set[str]:
    """Join what a node ties; the tensors whose units it fixes."""
    data = [name for name in node.input if name and name not in weights]
    if node.op_type == "Conv":
        ends = {node.input[0], node.output[0]}
        for name in sorted(ends):
            ties.add(name)
        return ends if group_of(node) != 1 or node.input[0] in weights else set()
    if node.op_type in LINEAR | POSITIVE_ONLY and _only_data(node, weights):
        count = None if node.op_type == "Add" else 1
        for name in [*data[:count], node.output[0]]:
            ties.join(data[0], name)
        return set() if node.op_type == "Add" else set(data[1:])
    return set() if node.op_type == "Shape" else {*data, *node.output}


def _only_data(node: onnx.NodeProto, weights: set[str]) -> bool:
    """Whether an addition adds no constant, which would have to be changed too."""
    return node.op_type != "Add" or not any(name in weights for name in node.input)


class _Ties:
    """Union of tensors into groups, in the order they were met."""

    def __init__(self) -> None:
        self._root: dict[str, str] = {}

    def add(self, name: str) -> str:
        """Return the group's first member."""
        self._root.setdefault(name, name)
        while self._root[name] != name:
            name = self._root[name]
        return name

    def join(self, first: str, second: str) -> None:
        """Put two into one group."""
        self._root[self.add(second)] = self.add(first)

    def groups(self) -> list[list[str]]:
        """All groups."""
        found: dict[str, list[str]] = {}
        for name in self._root:
            found.setdefault(self.add(name), []).append(name)
        return list(found.values())
