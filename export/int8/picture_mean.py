"""Biases that keep the picture's colours where rounding would shift them on the average."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from ...arrays import Doubles
from ...calibration.sets.reader import Feed
from ..graphs.graph_edit import GraphEdit
from .integer_ends import last_convolution
from .observe import Found, observe


def centre_picture(
    model: onnx.ModelProto, quantized: onnx.ModelProto, output_name: str, feeds: Sequence[Feed]
) -> onnx.ModelProto:
    """Shift the last convolution's biases by the mean error that rounding gives its channels.

    Args:
        model: The float graph that was quantized.
        quantized: The result.
        output_name: The picture.
        feeds: Inputs of both, states included.

    Returns:
        The float graph, to be quantized again.
    """
    exact, rounded = (_means(each, output_name, feeds) for each in (model, quantized))
    edit = GraphEdit(model)
    bias = edit.bias_of(last_convolution(edit, output_name))
    edit.set_weight(bias, edit.weights[bias] + (exact - rounded).astype(np.float32))
    return edit.finish()


def _means(model: onnx.ModelProto, output_name: str, feeds: Sequence[Feed]) -> Doubles:
    """Mean of each channel of the last convolution, (C,), before it is clipped."""
    tensor = last_convolution(GraphEdit(model), output_name).output[0]

    def means(found: Found) -> Doubles:
        mean: Doubles = found[tensor].mean((0, 2, 3), dtype=np.float64)
        return mean

    total = sum(observe(model, [tensor], feeds, means, fused=False), start=np.zeros(1))
    return np.asarray(total / len(feeds))
