"""Cross-layer equalisation: channels of one tensor brought to one range, the network unchanged.

A tensor has one scale for all its channels, so a channel a tenth as wide as the widest loses three
of its eight bits. Channels can be scaled freely where only convolutions and additions see them:
the convolutions before multiply, those after divide (Nagel et al. 2019, arXiv 1906.04721). Carried
state takes part, as what was written is what is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx

from .graph_edit import GraphEdit, group_of

CHANNELWISE = frozenset({"Add", "Relu", "Resize", "MaxPool", "AveragePool", "Identity"})
"""Operators through which a positive factor a channel passes unchanged, given to all they read."""

LARGEST_FACTOR = 1000.0
"""A channel narrower than the widest by more is nearly dead; its noise is not blown up."""

POSITIVE_ONLY = frozenset({"Relu", "MaxPool"})
"""Of these, the operators that let only positive factors through."""

Floats = npt.NDArray[np.float32]
Range = tuple[Floats, Floats]
Ranges = Mapping[str, Range]
"""By tensor: lowest and highest value of each channel."""


def equalise(edit: GraphEdit, state: Mapping[str, str], ranges: Ranges) -> dict[str, Floats]:
    """Scale channels so that all of a tensor span the same.

    Args:
        edit: Its convolutions' weights and biases change.
        state: Graph output by graph input of each carried state.
        ranges: Of the tensors that will be quantized, where they were measured.

    Returns:
        Factor of each channel by tensor, for the tensors that were scaled.
    """
    classes = _channel_classes(edit, state)
    positive = {name for node in edit.of_type(*POSITIVE_ONLY) for name in node.output}
    factors: dict[str, Floats] = {}
    for tensors in classes:
        measured = [ranges[tensor] for tensor in tensors if tensor in ranges]
        if not measured:
            continue
        factor = _factor(measured, signed=not positive & set(tensors))
        if factor is not None:
            factors |= dict.fromkeys(tensors, factor)
    for node in edit.of_type("Conv"):
        _scale(edit, node, factors)
    return factors


def _factor(measured: Sequence[Range], *, signed: bool) -> Floats | None:
    """Factor of each channel of a group; None where it is zero throughout.

    Where signs may change, each channel's longer side becomes the positive one: the shorter sides
    lie on one side then, which a zero point makes use of.
    """
    low = np.min([low for low, _ in measured], axis=0)
    high = np.max([high for _, high in measured], axis=0)
    span = np.maximum(-low, high)
    if not span.max() > 0:
        return None
    factor = span.max() / np.maximum(span, span.max() / LARGEST_FACTOR)
    sign = np.where(-low > high, -1, 1) if signed else 1
    scaled: Floats = (factor * sign).astype(np.float32)
    return scaled


def _scale(edit: GraphEdit, node: onnx.NodeProto, factors: Mapping[str, Floats]) -> None:
    """Multiply what a convolution writes and divide what it reads."""
    weight = edit.weights[node.input[1]]
    if node.input[0] in factors:
        weight = weight / factors[node.input[0]][None, :, None, None]
    if node.output[0] in factors:
        factor = factors[node.output[0]]
        weight = weight * factor[:, None, None, None]
        if len(node.input) > 2:
            edit.set_weight(node.input[2], edit.weights[node.input[2]] * factor)
    edit.set_weight(node.input[1], weight)


def _channel_classes(edit: GraphEdit, state: Mapping[str, str]) -> list[list[str]]:
    """Groups of tensors whose channels must share their factors; those that may have one."""
    ties = _Ties()
    fixed: set[str] = set()
    weights = set(edit.weights)
    graph = edit.model.graph
    fixed |= {value.name for value in graph.input if value.name not in state}
    fixed |= {value.name for value in graph.output if value.name not in state.values()}
    for before, after in state.items():
        ties.join(before, after)
    for node in graph.node:
        data = [name for name in node.input if name and name not in weights]
        if node.op_type == "Conv":
            if group_of(node) != 1 or any(name in weights for name in node.input[:1]):
                fixed |= {node.input[0], node.output[0]}
            ties.add(node.input[0])
            ties.add(node.output[0])
        elif node.op_type in CHANNELWISE and _only_data(node, weights):
            for name in [*data[: None if node.op_type == "Add" else 1], node.output[0]]:
                ties.join(data[0], name)
            fixed |= set() if node.op_type == "Add" else set(data[1:])
        elif node.op_type != "Shape":
            fixed |= {*data, *node.output}
    return [group for group in ties.groups() if not fixed & set(group)]


def _only_data(node: onnx.NodeProto, weights: set[str]) -> bool:
    """Whether an addition adds no constant, which would have to be scaled too."""
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
