"""INT8 for ONNX Runtime on CPUs: a stream graph with Q/DQ nodes that become integer kernels.

ONNX Runtime's static quantization places the nodes. What is done around it makes it fast (integer
ends) and close to the FP32 graph (channels in units of their own, compensated rounding);
docs/quantization.md has what each gives.

    model = quantize_int8_ort(bundle, calibration, recipe).model
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...bundle import Bundle
from ...calibration.sets.calibration_set import CalibrationSet
from ...calibration.sets.parallel import one_blas_thread
from ...calibration.sets.reader import Feed, calibration_feeds
from ...variants import REFERENCE
from ..graphs.graph_edit import GraphEdit, sort_nodes
from ..recipes.recipe import Recipe
from .channel_groups import Units, change_units, channel_groups
from .equalise import equalise
from .integer_ends import (
    INPUT_ZERO_POINT,
    EndTensors,
    drop_float_ends,
    fold_ends,
    last_convolution,
)
from .observe import (
    Found,
    channel_ranges,
    least_error_ranges,
    observe,
    spread,
    tie_ranges,
    widest_ranges,
)
from .picture_mean import centre_picture
from .quantized import Quantized
from .stream_basis import StreamBasis, fit_streams
from .weight_rounding import can_compensate, input_moments, round_weight, weight_scales

Override = dict[str, list[dict[str, Any]]]


def quantize_int8_ort(
    bundle: Bundle, calibration: CalibrationSet, recipe: Recipe, folder: Path | None = None
) -> Quantized:
    """Quantize a bundle's FP32 stream graph.

    Args:
        bundle: Of kind `stream`, with the variant `fp32-onnx` and its weights in the graph.
        calibration: Made for its network.
        recipe: With the tool `onnxruntime`.
        folder: Not used: nothing of this outgrows its ONNX file.

    Raises:
        QuantizationError: The graph is not as exported.
        CalibrationError: The set does not fit.
    """
    prepared = prepare_int8_ort(bundle, calibration, recipe)
    model = place_int8_ort(prepared, recipe)
    if recipe.activations.centre_picture:
        feeds = calibration_feeds(bundle, calibration, prepared.model.SerializeToString())
        centred = centre_picture(prepared.model, model, bundle.output_name, spread(feeds))
        model = place_int8_ort(replace(prepared, model=centred), recipe)
    return Quantized(model, prepared.units)


@dataclass(frozen=True)
class Prepared:
    """A graph ready for its Q/DQ nodes; all that takes the calibration set is done."""

    bundle: Bundle
    """Whose graph it is."""

    model: onnx.ModelProto
    """Ends folded, channels in their units, weights as they were."""

    units: Units
    """See `Quantized`."""

    ends: EndTensors | None
    """None where the pictures stay float inside the graph."""

    ranges: dict[str, tuple[float, float]]
    """Of every tensor that may be quantized."""

    weights: dict[str, npt.NDArray[Any]]
    """Rounded weights by initializer, where rounding is compensated."""


def prepare_int8_ort(bundle: Bundle, calibration: CalibrationSet, recipe: Recipe) -> Prepared:
    """Do what takes the calibration set; see `quantize_int8_ort` for arguments and errors."""
    with one_blas_thread():
        return _prepare(bundle, calibration, recipe)


def _prepare(bundle: Bundle, calibration: CalibrationSet, recipe: Recipe) -> Prepared:
    state = {spec.name: spec.next_name for spec in bundle.state}
    edit = GraphEdit(onnx.load_model_from_string(bundle.read(bundle.variant(REFERENCE).file)))
    ends = None
    if recipe.activations.integer_ends:
        keeps = recipe.activations.keeps
        ends = fold_ends(edit, bundle.input_name, bundle.output_name, keeps)
    tensors = quantized_tensors(edit, recipe)
    picture = last_convolution(edit, bundle.output_name).output[0]
    model = edit.finish()
    units, streams = choose_units(model, bundle, calibration, recipe, tensors, picture)
    edit = GraphEdit(model)
    change_units(edit, units)
    model = edit.finish()
    feeds = calibration_feeds(bundle, calibration, model.SerializeToString())
    others = [name for name in tensors if name not in streams]
    measured = widest_ranges(channel_ranges(model, others, feeds))
    if recipe.activations.calibration == "mse":
        measured = least_error_ranges(model, measured, feeds)
    measured |= {n: (streams[n].low, streams[n].high) for n in tensors if n in streams}
    weights = _rounded_weights(GraphEdit(model), recipe, feeds)
    return Prepared(bundle, model, units, ends, tie_ranges(measured, state), weights)


def choose_units(
    model: onnx.ModelProto,
    bundle: Bundle,
    calibration: CalibrationSet,
    recipe: Recipe,
    tensors: Sequence[str],
    picture: str,
) -> tuple[Units, dict[str, StreamBasis]]:
    """Units of tensors by the recipe, and the streams among them, whose ranges come with them."""
    activations = recipe.activations
    if not (activations.equalise or activations.mix_channels):
        return {}, {}
    edit = GraphEdit(model)
    groups = channel_groups(edit, {spec.name: spec.next_name for spec in bundle.state})
    feeds = calibration_feeds(bundle, calibration, model.SerializeToString())
    streams: dict[str, StreamBasis] = {}
    if activations.mix_channels:
        streams = fit_streams(model, groups, tensors, picture, feeds, activations.even_noise)
    units: dict[str, Any] = {name: basis.matrix for name, basis in streams.items()}
    if activations.equalise:
        rest = [group for group in groups if not streams.keys() & set(group.tensors)]
        names = {name for group in rest for name in group.tensors}
        kept = [name for name in _kept_by_relu(edit, tensors) if name in names]
        units |= equalise(rest, channel_ranges(model, kept, feeds))
    return units, streams


def place_int8_ort(prepared: Prepared, recipe: Recipe) -> onnx.ModelProto:
    """Place Q/DQ nodes.

    Args:
        prepared: By this recipe, or one that keeps fewer nodes float and the same at the ends.
        recipe: Says which nodes stay float.
    """
    edit = GraphEdit(prepared.model)
    overrides = _end_overrides(prepared.ends)
    for node in edit.of_type("Conv"):
        if not recipe.activations.keeps(node.name):
            name = node.input[1]
            scales = weight_scales(edit.weights[name])
            edit.set_weight(name, prepared.weights.get(name, edit.weights[name]))
            overrides[name] = [_parameters(scale, 0, np.int8, axis=0) for scale in scales]
    quantized = _place_nodes(edit.finish(), recipe, prepared.ranges, overrides)
    if prepared.ends is not None:
        names = prepared.bundle.input_name, prepared.bundle.output_name
        quantized = drop_float_ends(quantized, *names, prepared.ends)
    quantized.producer_name, quantized.producer_version = "adcvsr", ""
    del quantized.metadata_props[:]
    onnx.checker.check_model(quantized, full_check=True)
    return quantized


def quantized_tensors(edit: GraphEdit, recipe: Recipe) -> list[str]:
    """Tensors that get Q/DQ nodes: what the recipe's nodes read and write, weights left out."""
    activations = recipe.activations
    nodes = [
        node for node in edit.of_type(*activations.op_types) if not activations.keeps(node.name)
    ]
    data = 1  # sizes and the like are further inputs, except where an addition has two
    names = [
        name
        for node in nodes
        for name in [*node.input[: 2 if node.op_type == "Add" else data], *node.output]
        if name and name not in edit.weights
    ]
    return list(dict.fromkeys(names))


def _kept_by_relu(edit: GraphEdit, tensors: Sequence[str]) -> list[str]:
    """Without those a Relu reads alone: its engine node never writes what is below zero."""
    return [
        name
        for name in tensors
        if not (readers := edit.consumers(name))
        or any(reader.op_type != "Relu" for reader in readers)
    ]


def _rounded_weights(
    edit: GraphEdit, recipe: Recipe, feeds: Sequence[Feed]
) -> dict[str, npt.NDArray[Any]]:
    """Weights of convolutions rounded so that errors make up for each other."""
    if recipe.weights.rounding != "compensated":
        return {}
    nodes = [n for n in edit.of_type("Conv") if not recipe.activations.keeps(n.name)]
    moments = _moments(edit, nodes, feeds)
    weights = {node.name: edit.weights[node.input[1]] for node in nodes}
    return {
        node.input[1]: round_weight(
            weights[node.name], weight_scales(weights[node.name]), moments[node.name]
        )
        for node in nodes
        if node.name in moments
    }


def _moments(
    edit: GraphEdit, nodes: Sequence[onnx.NodeProto], feeds: Sequence[Feed]
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    able = [node for node in nodes if can_compensate(node, edit.weights[node.input[1]])]
    tensors = list(dict.fromkeys(node.input[0] for node in able))

    def reduce(found: Found) -> dict[str, npt.NDArray[np.float64]]:
        return {
            node.name: input_moments(node, edit.weights[node.input[1]], [found[node.input[0]]])
            for node in able
        }

    sums: dict[str, Any] = {}
    for moments in observe(edit.model, tensors, spread(feeds), reduce):
        for name, moment in moments.items():
            sums[name] = sums.get(name, 0) + moment
    return sums


def _end_overrides(ends: EndTensors | None) -> Override:
    """Scales of the pictures: given by what a level is, not measured."""
    overrides: Override = {}
    if ends is not None and ends.picture_in is not None:
        overrides[ends.picture_in] = [_parameters(ends.scale_in, INPUT_ZERO_POINT, np.uint8)]
    if ends is not None and ends.picture_out is not None:
        overrides[ends.picture_out] = [_parameters(1.0, 0, np.uint8)]
    return overrides


def _parameters(
    scale: float, zero_point: int, kind: type[np.generic], axis: int | None = None
) -> dict[str, Any]:
    from onnxruntime.quantization import QuantType

    parameters: dict[str, Any] = {
        "scale": np.array(scale, np.float32),
        "zero_point": np.array(zero_point, kind),
        "quant_type": QuantType.QInt8 if kind is np.int8 else QuantType.QUInt8,
    }
    return parameters if axis is None else {"axis": axis, **parameters}


def _place_nodes(
    model: onnx.ModelProto,
    recipe: Recipe,
    ranges: Mapping[str, tuple[float, float]],
    overrides: Override,
) -> onnx.ModelProto:
    """Let ONNX Runtime place Q/DQ nodes: uint8 activations, int8 weights, int32 biases."""
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    kept = [node.name for node in model.graph.node if recipe.activations.keeps(node.name)]
    quantizer = QDQQuantizer(
        onnx.shape_inference.infer_shapes(model),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=kept,
        op_types_to_quantize=list(recipe.activations.op_types),
        extra_options={"TensorQuantOverrides": overrides, "ActivationSymmetric": False},
    )
    quantized: onnx.ModelProto = quantizer.quantize_model()
    sort_nodes(quantized.graph)
    return quantized
