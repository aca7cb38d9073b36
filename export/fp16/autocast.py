"""FP32 graph to mixed FP16 by ModelOpt's AutoCast, in a process of its own.

AutoCast copies a model five times over, 16 GB for the published network, and orders nodes by hash.
So it works on a skeleton: large weights are graph inputs, put back afterwards as FP16; and it runs
in a fresh interpreter with a fixed hash seed.

    cast_graph(Path("fp32-onnx.onnx"), Path("fp16-trt.onnx"), ranges)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir

from ...errors import GraphError, missing_package
from ...leftovers import part_folder
from ..graphs.onnx_file import save_graph, unique_name
from .autocast_process import NOT_INSTALLED

FP32_OPERATORS = (
    "InstanceNormalization",  # what the exporter makes of GroupNorm
    "GroupNormalization",
    "LayerNormalization",
    "Softmax",
    "ReduceMean",
    "ReduceSum",
)
"""Operators that sum over many elements and stay in FP32; their variance and their sums are what
overflows. Convolutions and matrix products sum in FP32 inside an engine whatever their type."""

PEAK_LIMIT = 4096.0
"""Nodes that met larger values stay in FP32: sixteen times below what FP16 holds, as other pictures
go higher than those measured. Below it FP16 keeps eleven bits whatever the magnitude."""

SKELETON_ELEMENTS = 1024
"""Initializers up to this stay in the skeleton: shapes, scales, biases."""

FP16_LARGEST = float(np.finfo(np.float16).max)


def cast_graph(graph: Path, target: Path, ranges: Mapping[str, float]) -> list[str]:
    """Write the mixed-precision twin of an FP32 graph.

    Args:
        graph: The FP32 graph.
        target: File to write, in the same folder or another.
        ranges: Largest absolute value of every float activation, over real pictures.

    Returns:
        Names of the nodes kept in FP32 because of their values.

    Raises:
        GraphError: AutoCast failed; its last words are in the message.
        MissingPackageError: ModelOpt is not installed.
    """
    model = onnx_ir.load(graph)
    kept = _large_nodes(model, ranges)
    with part_folder() as folder:
        skeleton, cast = folder / "skeleton.onnx", folder / "cast.onnx"
        shapes = [output.shape for output in model.graph.outputs]
        weights = _take_weights(model)
        onnx_ir.external_data.load_to_model(model)  # what is left is small
        onnx_ir.save(model, skeleton)
        _run_autocast(skeleton, cast, kept)
        model = onnx_ir.load(cast)
        _put_weights(model, weights)
        _name_casts(model)
        _restore_shapes(model, shapes)
        model.producer_name, model.producer_version = "adcvsr", None
        save_graph(model, target)
    return kept


def _large_nodes(model: onnx_ir.Model, ranges: Mapping[str, float]) -> list[str]:
    """Nodes that touch an activation or a weight beyond the limits."""

    def too_large(value: onnx_ir.Value | None) -> bool:
        if value is None:
            return False
        if value.const_value is not None:
            tensor = value.const_value
            return tensor.dtype == onnx_ir.DataType.FLOAT and (
                float(np.abs(tensor.numpy()).max(initial=0)) > FP16_LARGEST
            )
        return not ranges.get(value.name or "", 0.0) <= PEAK_LIMIT

    return [
        str(node.name)
        for node in model.graph
        if any(map(too_large, node.inputs)) or any(map(too_large, node.outputs))
    ]


def _take_weights(model: onnx_ir.Model) -> dict[str, onnx_ir.TensorProtocol]:
    """Turn large float initializers into graph inputs."""
    weights: dict[str, onnx_ir.TensorProtocol] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        assert tensor is not None
        if tensor.dtype == onnx_ir.DataType.FLOAT and tensor.size > SKELETON_ELEMENTS:
            weights[name] = tensor
            del model.graph.initializers[name]
            value.const_value = None
            model.graph.inputs.append(value)
    return weights


def _put_weights(model: onnx_ir.Model, weights: Mapping[str, onnx_ir.TensorProtocol]) -> None:
    """Turn those inputs back into initializers, FP16, or FP32 where all readers cast them back."""
    for value in [v for v in model.graph.inputs if v.name in weights]:
        model.graph.inputs.remove(value)
        tensor = weights[str(value.name)]
        casts = [use.node for use in value.uses()]
        if casts and all(node.op_type == "Cast" for node in casts):
            for node in casts:
                node.outputs[0].replace_all_uses_with(value)
                model.graph.remove(node, safe=True)
            value.const_value = tensor
        else:
            value.const_value = _halved(tensor)
        value.type = onnx_ir.TensorType(value.const_value.dtype)
        model.graph.register_initializer(value)


def _halved(tensor: onnx_ir.TensorProtocol) -> onnx_ir.LazyTensor:
    """A tensor in FP16, converted when it is written."""
    return onnx_ir.LazyTensor(
        lambda: onnx_ir.tensor(tensor.numpy().astype(np.float16)),
        dtype=onnx_ir.DataType.FLOAT16,
        shape=onnx_ir.Shape(tensor.shape.numpy()),
        name=tensor.name,
    )


def _name_casts(model: onnx_ir.Model) -> None:
    """Name the casts AutoCast inserted after what they cast."""
    taken = {str(node.name) for node in model.graph}
    for node in model.graph:
        if node.op_type != "Cast" or "cast_to" not in str(node.name):
            continue
        source = node.inputs[0]
        assert source is not None
        producer = source.producer()
        origin = producer.name if producer is not None else source.name
        node.name = unique_name(f"{origin}/Cast", taken)


def _restore_shapes(model: onnx_ir.Model, outputs: Sequence[onnx_ir.Shape | None]) -> None:
    """Give the outputs their own shapes again and drop what AutoCast inferred inside the graph.

    It gives one symbol to sizes that differ, and ONNX Runtime then shares a buffer between them.
    """
    for output, shape in zip(model.graph.outputs, outputs, strict=True):
        output.shape = shape
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = value.type = None


def _run_autocast(skeleton: Path, cast: Path, kept: list[str]) -> None:
    request = {
        "source": str(skeleton),
        "target": str(cast),
        "operators": FP32_OPERATORS,
        "nodes": [f"^{re.escape(name)}$" for name in kept],
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{__package__}.autocast_process"],
        input=json.dumps(request),
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == NOT_INSTALLED:
        raise missing_package("nvidia-modelopt", "quantize", "FP16 by ModelOpt AutoCast")
    if done.returncode or not cast.exists():
        words = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise GraphError(
            f"ModelOpt AutoCast failed with code {done.returncode}: {words[-1] if words else ''}"
        )
