"""INT8 and FP8 with FP16 for TensorRT, by ModelOpt's ONNX quantization in a process of its own.

Q/DQ nodes and casts say every precision, as TensorRT 11 and TensorRT-RTX build strongly typed
networks only. State tensors become float16 of the graph's interface.

    model = quantize_modelopt(bundle, calibration, recipe).model
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...bundle import Bundle
from ...calibration.sets.calibration_set import CalibrationSet
from ...calibration.sets.parallel import one_blas_thread
from ...calibration.sets.reader import Feed, calibration_feeds, graph_feeds, probe_runs
from ...errors import QuantizationError, missing_package
from ...leftovers import part_folder
from ...variants import REFERENCE
from ..graphs.graph_edit import GraphEdit, sort_nodes
from ..graphs.ranges import feed_ranges
from ..int8.channel_groups import change_units
from ..int8.int8_ort import choose_units, quantized_tensors
from ..int8.integer_ends import last_convolution
from ..int8.quantized import Quantized
from ..recipes.recipe import Recipe
from .state_scales import tie_state_scales
from .thin_graph import make_thin, put_back

MOST_FEEDS = 64
"""Frames ModelOpt calibrates on, spread over the set; `max` needs no more, and each is a run."""

KEEP_FLOAT32_TYPES = (
    "InstanceNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "Softmax",
)
"""Statistics and exponentials overflow or lose precision in FP16."""

GRAPH = "graph.onnx"

LAST_LINES = 3
"""Of what a failing ModelOpt said, in the error."""


def quantize_modelopt(
    bundle: Bundle, calibration: CalibrationSet, recipe: Recipe, folder: Path | None = None
) -> Quantized:
    """Quantize a bundle's FP32 graph, or both of a clip network's.

    Args:
        bundle: With the variant `fp32-onnx`. Where weights lie beside its graph, a folder that may
            be written to.
        calibration: Made for its network.
        recipe: With the tool `modelopt`.
        folder: Where weights go that outgrow an ONNX file.

    Returns:
        The graphs; state and features are float16 where the recipe's `high_precision` is.

    Raises:
        MissingPackageError: ModelOpt is not installed.
        QuantizationError: ModelOpt failed; what it said is in it. Or weights lie beside the graph
            and there is no folder.
        CalibrationError: The set does not fit.
    """
    require_modelopt()
    variant = bundle.variant(REFERENCE)
    if bundle.kind == "stream" and not variant.data_files:
        return _quantize_stream(bundle, calibration, recipe)
    models = []
    for file, feeds in zip(variant.graph_files, graph_feeds(bundle, calibration), strict=True):
        few = _few(feeds, calibration, whole_runs=bundle.features is not None)
        with bundle.graph(variant, file) as graph:
            if isinstance(graph, bytes):
                model = _quantize_small(graph, few, recipe, bundle)
            elif folder is None:
                raise QuantizationError(f"'{bundle.name}' has its weights beside its ONNX file")
            else:
                target = folder / file.replace(REFERENCE, recipe.variant)
                model = _quantize_large(graph, few, recipe, bundle, target)
        models.append(model)
    return Quantized(models[0], {}, *models[1:])


def _quantize_stream(bundle: Bundle, calibration: CalibrationSet, recipe: Recipe) -> Quantized:
    """Quantize a stream graph that holds its weights, its channels in units of their own first.

    With one symmetric scale a tensor, cut for the widest channel, `nano` was up to 10 levels off in
    flat colours.
    """
    edit = GraphEdit(onnx.load_model_from_string(bundle.read(bundle.variant(REFERENCE).file)))
    tensors = quantized_tensors(edit, recipe)
    picture = last_convolution(edit, bundle.output_name).output[0]
    model = edit.finish()
    with one_blas_thread():
        units, _ = choose_units(model, bundle, calibration, recipe, tensors, picture)
    edit = GraphEdit(model)
    change_units(edit, units)
    graph = edit.finish().SerializeToString(deterministic=True)
    feeds = calibration_feeds(bundle, calibration, graph)
    few = _few(feeds, calibration, whole_runs=False)
    return Quantized(_quantize_small(graph, few, recipe, bundle), units)


def _few(feeds: Sequence[Feed], calibration: CalibrationSet, *, whole_runs: bool) -> list[Feed]:
    """Choose feeds: of the set spread over it, of drawn colours all, as any may be cut off.

    Whole runs, of which there are few, are spread alike.
    """
    if whole_runs:
        return list(feeds[:: -(-len(feeds) // MOST_FEEDS)])
    drawn = sum(map(len, probe_runs(calibration)))
    own = feeds[: len(feeds) - drawn]
    return [*own[:: -(-len(own) // MOST_FEEDS)], *feeds[len(feeds) - drawn :]]


def _quantize_small(
    graph: bytes, feeds: Sequence[Feed], recipe: Recipe, bundle: Bundle
) -> onnx.ModelProto:
    """Quantize a graph that holds its weights."""
    with part_folder() as folder:
        (folder / GRAPH).write_bytes(graph)
        model = _run(folder, onnx.load_model_from_string(graph), feeds, recipe)
    model = _with_interface(model, recipe, bundle)
    if bundle.state:
        model = tie_state_scales(model, {spec.name: spec.next_name for spec in bundle.state})
    onnx.checker.check_model(model, full_check=True)
    return model


def _quantize_large(
    graph: Path, feeds: Sequence[Feed], recipe: Recipe, bundle: Bundle, target: Path
) -> onnx.ModelProto:
    """Quantize a graph by its thin twin; ranges are those of the graph itself."""
    peaks = feed_ranges(graph, feeds)
    with part_folder() as folder:
        thin = make_thin(graph, folder / GRAPH)
        # What the twin computes is not used: one run shows ModelOpt the shapes.
        model = _run(folder, thin.model, feeds[:1], recipe)
    model = _with_interface(model, recipe, bundle)
    states = [(spec.name, spec.next_name) for spec in bundle.state]
    return put_back(model, thin, peaks, recipe.precision, target, states=states)


def _with_interface(model: onnx.ModelProto, recipe: Recipe, bundle: Bundle) -> onnx.ModelProto:
    """What ModelOpt made with state and features of the recipe's type, and our name."""
    if recipe.high_precision == "float16":
        names = {name for spec in bundle.state for name in (spec.name, spec.next_name)}
        model = half_tensors(model, names | ({bundle.features.name} if bundle.features else set()))
    del model.metadata_props[:]
    model.producer_name, model.producer_version = "adcvsr", ""
    return model


def require_modelopt() -> None:
    """Check for what quantizing for TensorRT needs.

    Raises:
        MissingPackageError: ModelOpt is not installed.
    """
    if find_spec("modelopt") is None:
        raise missing_package("nvidia-modelopt", "quantize", "quantizing for TensorRT")


def half_tensors(model: onnx.ModelProto, names: Collection[str]) -> onnx.ModelProto:
    """Make inputs and outputs float16, and take the casts that did it inside out.

    Args:
        model: With these in float32.
        names: Of states, of states to come, of features.
    """
    edit = GraphEdit(model)
    graph = edit.model.graph
    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    for value in graph.input:
        if value.name in names and value.type.tensor_type.elem_type == full:
            value.type.tensor_type.elem_type = half
            for node in edit.consumers(value.name):
                if node.op_type == "Cast" and _cast_to(node) == half:
                    edit.bypass(node)
                elif node.op_type != "Shape":
                    raise QuantizationError(
                        f"'{value.name}' is read by '{node.name}' ({node.op_type}) in float32"
                    )
    for value in graph.output:
        if value.name in names and value.type.tensor_type.elem_type == full:
            cast = edit.producer(value.name)
            inner = edit.producer(cast.input[0]) if cast is not None else None
            if cast is None or inner is None or cast.op_type != "Cast":
                raise QuantizationError(f"'{value.name}' does not leave through a Cast")
            value.type.tensor_type.elem_type = half
            tensor = cast.input[0]
            graph.node.remove(cast)
            edit.rename_reads(tensor, value.name)
            inner.output[list(inner.output).index(tensor)] = value.name
    return edit.finish()


def _cast_to(node: onnx.NodeProto) -> int:
    return next(int(entry.i) for entry in node.attribute if entry.name == "to")


def _run(
    folder: Path, model: onnx.ModelProto, feeds: Sequence[Feed], recipe: Recipe
) -> onnx.ModelProto:
    """Hand a job to the worker and read what it made.

    Args:
        folder: With the graph; for the worker alone.
        model: The graph's nodes.
        feeds: To calibrate on.
        recipe: The precisions.
    """
    (folder / "feeds").mkdir()
    for index, feed in enumerate(feeds):
        np.savez(folder / "feeds" / f"{index:05d}.npz", allow_pickle=False, **feed)
    job: dict[str, Any] = {
        "graph": str(folder / GRAPH),
        "feeds": str(folder / "feeds"),
        "output": str(folder / "quantized.onnx"),
        "precision": recipe.precision,
        "calibration": recipe.activations.calibration,
        "op_types": list(recipe.activations.op_types),
        "keep_float32_types": list(KEEP_FLOAT32_TYPES),
        "exclude": [
            re.escape(node.name) for node in model.graph.node if recipe.activations.keeps(node.name)
        ],
        "high_precision": recipe.high_precision,
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
    }
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "adcvsr.export.modelopt.modelopt_worker", str(folder / "job.json")],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        cwd=folder,  # ModelOpt leaves files where it runs
        capture_output=True,
        text=True,
        check=False,
    )
    output = folder / "quantized.onnx"
    if done.returncode or not output.is_file():
        said = " | ".join((done.stderr or done.stdout).strip().splitlines()[-LAST_LINES:])
        raise QuantizationError(f"ModelOpt failed on recipe '{recipe.name}': {said}")
    quantized = onnx.load(output)
    sort_nodes(quantized.graph)
    return quantized
