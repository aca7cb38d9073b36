"""A network of luma alone as one of YUV: its chroma is enlarged beside it.

model = with_chroma(model, 3)  # (N, 1, H, W) to (N, 1, 3H, 3W) becomes 3 channels of YUV
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...adopted_network import MOST_SCALE
from ..graphs.graph_edit import GraphEdit
from ..graphs.replay import open_session

TRIAL_SIDES = (64, 96)
"""Height and width of the trial by which a scale is found, where the file fixes none."""

CUBIC = -0.5
"""Of the filter that enlarges chroma."""

YUV_IN, YUV_OUT = "adopted.yuv", "adopted.yuv_out"


def scale_of_luma(model: onnx.ModelProto, sides: tuple[int | None, int | None]) -> int | None:
    """How many times as large its luma is, by a trial; None where that is no whole number.

    Args:
        model: From (N, 1, H, W), N and sides open or fixed.
        sides: Height and width, None each where they are open.
    """
    height, width = (side or trial for side, trial in zip(sides, TRIAL_SIDES, strict=True))
    try:
        session: Any = open_session(model.SerializeToString())
        luma = np.full((1, 1, height, width), 0.5, np.float32)
        made = session.run(None, {model.graph.input[0].name: luma})[0].shape
    except Exception:  # of several kinds; what does not run is told where it is to run
        return None
    scales = {made[-2] / height, made[-1] / width} if len(made) == 4 and made[1] == 1 else set()
    scale = scales.pop() if len(scales) == 1 else 0
    return int(scale) if scale in range(1, MOST_SCALE + 1) else None


def with_chroma(model: onnx.ModelProto, scale: int) -> onnx.ModelProto:
    """Let a network of luma take and give YUV.

    Args:
        model: From (N, 1, H, W) to `scale` times as large.
        scale: Of it.
    """
    edit = GraphEdit(model)
    graph = edit.model.graph
    source, sink = graph.input[0], graph.output[0]
    edit.set_weight("adopted.planes", np.array([1, 2], np.int64))
    graph.node.append(
        helper.make_node(
            "Split",
            [YUV_IN, "adopted.planes"],
            [source.name, "adopted.chroma"],
            "adopted/luma/Split",
            axis=1,
        )
    )
    chroma = "adopted.chroma"
    if scale > 1:
        edit.set_weight("adopted.larger", np.array([1, 1, scale, scale], np.float32))
        graph.node.append(
            helper.make_node(
                "Resize",
                [chroma, "", "adopted.larger"],
                ["adopted.chroma_out"],
                "adopted/luma/Resize",
                mode="cubic",
                cubic_coeff_a=CUBIC,
                coordinate_transformation_mode="half_pixel",
            )
        )
        chroma = "adopted.chroma_out"
    graph.node.append(
        helper.make_node("Concat", [sink.name, chroma], [YUV_OUT], "adopted/luma/Concat", axis=1)
    )
    for value, name in ((source, YUV_IN), (sink, YUV_OUT)):
        value.name = name
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4:
            dims[1].Clear()
            dims[1].dim_value = 3
    del graph.value_info[:]
    return edit.finish()
