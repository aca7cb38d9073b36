"""One scale for a carried state, as it leaves a frame and as the next one reads it.

ModelOpt measures both ends as tensors of their own, and rounds a state twice: where it is written
and, by another scale, where it is read. With one scale the second rounding changes nothing.

    model = tie_state_scales(model, {"state": "state_next"})
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from ..graphs.graph_edit import GraphEdit

PASSING = ("Cast", "Identity")
"""What may stand between a state's end and what quantizes it."""


def tie_state_scales(model: onnx.ModelProto, states: Mapping[str, str]) -> onnx.ModelProto:
    """Give both ends of each state the wider of their scales, which holds what either was.

    Args:
        model: With Q/DQ nodes of constant scales; not changed.
        states: Names of states to come by those of states.

    Returns:
        The model; states of which not both ends are quantized are as they were.
    """
    edit = GraphEdit(model)
    for name, next_name in states.items():
        ends = [read_quantizers(edit, name), written_quantizers(edit, next_name)]
        if not all(ends):
            continue
        quantizers = [node for end in ends for node in end]
        scale = max(float(edit.weights[node.input[1]].max()) for node in quantizers)
        readers = [each for node in quantizers for each in edit.consumers(node.output[0])]
        tied = [*quantizers, *(node for node in readers if node.op_type == "DequantizeLinear")]
        for node in tied:
            former = edit.weights[node.input[1]]
            if any(other not in tied for other in edit.consumers(node.input[1])):
                node.input[1] = f"{node.input[1]}@{name}"  # of another tensor, too
            edit.set_weight(node.input[1], np.full(former.shape, scale, former.dtype))
    return edit.finish()


def read_quantizers(edit: GraphEdit, state: str) -> list[onnx.NodeProto]:
    """Nodes that quantize a state as it comes in."""
    found = []
    for node in edit.consumers(state):
        if node.op_type == "QuantizeLinear":
            found.append(node)
        elif node.op_type in PASSING:
            found += read_quantizers(edit, node.output[0])
    return found


def written_quantizers(edit: GraphEdit, next_state: str) -> list[onnx.NodeProto]:
    """Nodes that quantize a state as it goes out, or what it is a copy of."""
    node = edit.producer(next_state)
    found = [n for n in edit.consumers(next_state) if n.op_type == "QuantizeLinear"]
    if node is not None and node.op_type == "DequantizeLinear":
        node = edit.producer(node.input[0])
        return found + ([node] if node is not None and node.op_type == "QuantizeLinear" else [])
    if node is not None and node.op_type in PASSING:
        return found + written_quantizers(edit, node.input[0])
    return found
