"""Tracing a module to ONNX and writing it: readable names, no exporter metadata, bounded memory.

Weights stay where torch has them until they are written. A graph whose weights outgrow what one
ONNX file can hold has them in a data file beside it.

    save_graph(trace(module, ...), folder / "fp32-onnx.onnx")
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import onnxscript.optimizer
import torch
from onnx_ir.passes import Sequential, common
from onnxscript import rewriter
from onnxscript.rewriter.rules.common import (
    remove_optional_bias_from_conv_rule,
    squeeze_reshape_1d_rule,
)
from torch import Tensor, nn

OPSET = 20
"""ONNX opset; 21's GroupNormalization failed in TensorRT 10.7."""

EMBEDDED_LIMIT_BYTES = 256 << 20
"""Weights up to this stay inside the ONNX file. One file holds at most 2 GiB, and a file is parsed
as a whole in memory where a data file is mapped."""

EXTERNAL_TENSOR_BYTES = 1024
"""Tensors below this stay in the ONNX file in any case: shapes and other constants."""

DATA_SUFFIX = ".data"


def trace(
    module: nn.Module,
    example: tuple[Tensor, ...],
    dynamic_shapes: tuple[Any, ...],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> onnx_ir.Model:
    """Trace a module; its weights are referred to, not copied.

    Args:
        module: What to trace, in evaluation mode or without anything that depends on it.
        example: Its arguments.
        dynamic_shapes: As `torch.export.export` takes them.
        inputs: Names of the graph's inputs.
        outputs: Names of the graph's outputs.

    Returns:
        The model, nodes named after modules, without exporter metadata.
    """
    # The exporter logs which of torchvision's operators it leaves out; nothing here uses them.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's own deprecations; nothing of ours
        program = torch.onnx.export(
            module.eval(),
            example,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=dynamic_shapes,
            input_names=list(inputs),
            output_names=list(outputs),
            optimize=False,
            verbose=False,
        )
    assert program is not None
    _simplify(program.model)
    read_shapes_behind_casts(program.model)
    _clean(program.model)
    return program.model


def save_graph(model: onnx_ir.Model, path: Path) -> None:
    """Write a model, its weights beside it in `path` + `DATA_SUFFIX` where they are large.

    The file is checked as it lies there. The same model gives the same bytes.
    """
    weights = sum(v.const_value.nbytes for v in model.graph.initializers.values() if v.const_value)
    if weights > EMBEDDED_LIMIT_BYTES:
        data = path.name + DATA_SUFFIX
        onnx_ir.save(model, path, external_data=data, size_threshold_bytes=EXTERNAL_TENSOR_BYTES)
    else:
        proto = onnx_ir.to_proto(model)
        path.write_bytes(proto.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)


def data_files(path: Path) -> list[Path]:
    """The data file of a graph that `save_graph` wrote, where it has one."""
    beside = path.with_name(path.name + DATA_SUFFIX)
    return [beside] if beside.exists() else []


def _simplify(model: onnx_ir.Model) -> None:
    """Fold constants and drop what computes nothing.

    The exporter's own optimisation would do, but one of its rewriting rules compares every node
    with every other: minutes for the published network, without a match (docs/decisions.md).
    """
    common.InlinePass()(model)
    for _ in range(2):
        onnxscript.optimizer.fold_constants(model, onnx_shape_inference=True)
        rewriter.rewrite(model, [squeeze_reshape_1d_rule, remove_optional_bias_from_conv_rule])
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )(model)


def read_shapes_behind_casts(model: onnx_ir.Model) -> int:
    """Let no Shape read a uint8 input that meets a Cast: it reads what the Cast gives instead.

    TensorRT takes uint8 into a Cast alone.

    Returns:
        How many nodes read otherwise now.
    """
    changed = 0
    for value in model.graph.inputs:
        if value.dtype != onnx_ir.DataType.UINT8:
            continue
        readers = [use.node for use in value.uses()]
        cast = next((node for node in readers if node.op_type == "Cast"), None)
        shapes = [node for node in model.graph if node in readers and node.op_type == "Shape"]
        if cast is None or not shapes:
            continue
        # First, so that the shapes that followed the input in the file can follow the Cast.
        model.graph.remove(cast)
        model.graph.insert_before(model.graph[0], cast)
        for node in shapes:
            node.replace_input_with(0, cast.outputs[0])
        changed += len(shapes)
    return changed


def _clean(model: onnx_ir.Model) -> None:
    """Name nodes after modules and strip the exporter's metadata (it holds absolute paths)."""
    taken: set[str] = set()
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values()]
    for node in graph.all_nodes():
        scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "")
        node.name = unique_name(_scope_name(scopes, node.op_type), taken)
        values += node.outputs
    common.ClearMetadataAndDocStringPass()(model)
    for value in values:
        value.metadata_props.clear()
    model.producer_name, model.producer_version = "adcvsr", None
    graph.name = "adcvsr"


def _scope_name(scopes: str, op_type: str) -> str:
    """`unet.down_blocks.0.resnets.0.conv1/Conv` from the exporter's list of scopes."""
    paths = re.findall(r"'([^']*)'", scopes)
    modules = [path for path in paths[:-1] if path and not path.startswith("_")]
    module = modules[-1].removeprefix("network.") if modules else ""
    return f"{module}/{op_type}" if module else op_type


def unique_name(name: str, taken: set[str]) -> str:
    """The name, or the name with a number; it is added to those taken."""
    candidate, count = name, 1
    while candidate in taken:
        count += 1
        candidate = f"{name}_{count}"
    taken.add(candidate)
    return candidate
