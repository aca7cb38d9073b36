"""PReLU written so that ONNX Runtime keeps its packed layout through it on x86, in memory.

ONNX Runtime computes convolutions on blocks of channels, and has no PReLU on such blocks: before
each it unpacks a tensor, and packs it again behind it. With slopes a of up to 1

    prelu(x) = x + relu((a - 1) x)

a depthwise convolution of one pixel, a ReLU that is fused into it and a sum, all of which it has on
blocks. A channel whose slope is above 1 is computed with the other sign, for which the same holds:
the convolution before it and those behind it take its weights negated. Values agree to a rounding
of float32.

    graph = with_blocked_prelus(graph)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError
from .edited import EditedGraph
from .file import Node

FLOAT32 = np.dtype(np.float32)

Slopes = npt.NDArray[np.float32]


def with_blocked_prelus(graph: bytes) -> bytes:
    """Rewrite every PReLU of float32 behind a convolution, where its neighbours allow it.

    Args:
        graph: An ONNX file's content.

    Returns:
        The same without those PReLUs; the bytes that were given where there are none.

    Raises:
        GraphError: It is damaged.
    """
    if b"PRelu" not in graph:
        return graph
    edited = EditedGraph(graph)
    changed = [_rewrite(edited, each) for each in list(edited.nodes()) if each.op_type == "PRelu"]
    return edited.content() if any(changed) else graph


def _rewrite(graph: EditedGraph, prelu: Node) -> bool:
    """Exchange one PReLU; False where it has to stay."""
    slopes = _slopes(graph, prelu)
    if slopes is None:
        return False
    turned = slopes > 1
    if turned.any() and not _turn(graph, prelu, turned):
        return False
    taken, made = prelu.input[0], prelu.output[0]
    weights = graph.constant((slopes - 1).reshape(-1, 1, 1, 1), "slopes")
    scaled, bent = f"{made}_scaled", f"{made}_bent"
    graph.add(
        "Conv",
        [taken, weights],
        [scaled],
        before=prelu,
        called=prelu.name,
        group=len(slopes),
        kernel_shape=[1, 1],
    )
    graph.add("Relu", [scaled], [bent], before=prelu, called=bent)
    graph.add("Add", [taken, bent], [made], before=prelu, called=made)
    graph.take_out(prelu)
    return True


def _slopes(graph: EditedGraph, prelu: Node) -> Slopes | None:
    """A slope a channel; None where it stands behind no convolution of stored float32 weights."""
    taken = prelu.input[0]
    try:
        weights = graph.values(graph.producer(taken).input[1])
        slopes = graph.values(prelu.input[1])
    except (GraphError, IndexError):
        return None
    if not _is_convolution(graph.producer(taken)) or {weights.dtype, slopes.dtype} != {FLOAT32}:
        return None
    if slopes.size == 1:
        return np.full(len(weights), slopes.ravel()[0], np.float32)
    return slopes.ravel() if slopes.shape == (len(weights), 1, 1) else None


def _turn(graph: EditedGraph, prelu: Node, turned: npt.NDArray[np.bool_]) -> bool:
    """Negate channels of what goes into a PReLU, and of all that read it; False leaves all."""
    maker, readers = graph.producer(prelu.input[0]), graph.readers(prelu.output[0])
    alone = graph.readers(prelu.input[0]) == [prelu] and prelu.input[0] not in graph.outputs()
    if not alone or prelu.output[0] in graph.outputs() or not readers:
        return False
    for node in readers:
        whole = node.attributes.get("group", 1) == 1
        if not _is_convolution(node) or not whole or node.input[0] != prelu.output[0]:
            return False
    signs = np.where(turned, -1, 1).astype(np.float32)
    made = [(maker, name) for name in maker.input[1:] if name]
    changes: dict[str, npt.NDArray[Any]] = {}
    try:
        for node, name in [*made, *((node, node.input[1]) for node in readers)]:
            values = graph.values(name)
            if graph.readers(name) != [node] or name in changes:
                return False  # weights that are shared
            axis = 0 if node is maker else 1
            changes[name] = values * signs.reshape(
                [-1 if each == axis else 1 for each in range(values.ndim)]
            )
    except GraphError:
        return False
    for name, values in changes.items():
        graph.exchange(name, values)
    return True


def _is_convolution(node: Node) -> bool:
    return node.op_type == "Conv" and node.domain in ("", "ai.onnx")
