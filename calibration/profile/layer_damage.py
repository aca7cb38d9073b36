"""What rounding does to every layer: alone, and on top of what came before.

Accumulated: both graphs run on their own; the layer's output in the variant against that in the
reference. Isolated: the variant's layer, its weights and the rounding of what it writes, on the
reference's inputs; so it names the layer that does the damage, not those that inherit it.
Picture: what that error alone makes of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from ...arrays import Floats, Levels
from ...bundle import Bundle
from ...bundle.units import declared_units
from ...metrics import MOST_DB
from .channel_factors import Factors, Values, find_factors, in_network_units, scaled
from .graph_runs import Isolation, Tensors, run_graph
from .matched_graphs import (
    Layer,
    add_outputs,
    float_tensors,
    layers_of,
    load_graph,
    matching,
    quantized_activations,
    truncates_picture,
)
from .picture_effect import PictureEffect, affordable_layers, layer_errors


@dataclass(frozen=True)
class LayerDamage:
    """One layer of one variant."""

    layer: str
    op_type: str
    isolated_db: float | None
    """SNR of its output on exact inputs; None where the variant does not hold it apart."""

    accumulated_db: float | None
    """SNR of its output in the running variant."""

    picture_db: float | None = None
    """PSNR of the picture if only this layer rounds; None where that was not looked at."""


@dataclass(frozen=True)
class ActivationRange:
    """What an activation takes of the range its scale can hold."""

    tensor: str
    low: float
    """What the scale can hold."""

    high: float
    seen_low: float
    """What the reference's values are, in the variant's units."""

    seen_high: float
    clipped: float
    """Share of values beyond the range, 0 to 1."""

    bits: int


@dataclass(frozen=True)
class GraphDamage:
    """All layers of one variant."""

    layers: list[LayerDamage]
    ranges: list[ActivationRange]
    notes: list[str]


def measure_damage(
    bundle: Bundle,
    reference: str,
    variant: str,
    frames: Sequence[Levels],
    step: Callable[[], None] = lambda: None,
) -> GraphDamage:
    """Compare two variants layer by layer, on a CPU, without the engine's own fusions.

    Args:
        bundle: Of kind `stream`.
        reference: The exact variant's id.
        variant: The other's.
        frames: Of one clip and size; the last `FRAMES` are looked at.
        step: Called after every frame of every run.
    """
    graphs = load_graph(bundle, reference), load_graph(bundle, variant)
    tensors = float_tensors(graphs[0])
    inner = matching(tensors, graphs[1])
    exact = run_graph(bundle, add_outputs(graphs[0], tensors), reference, frames, step)
    rounded = run_graph(bundle, add_outputs(graphs[1], inner.values()), variant, frames, step)
    pairs = _pairs(bundle, variant, graphs, inner, exact, rounded)
    layers = layers_of(graphs[0])
    rows = [_row(layer, pairs) for layer in layers]
    notes = _notes(variant, rows, pairs.estimated)
    effect = PictureEffect(
        bundle, graphs[0], exact, layer_errors(pairs.exact, pairs.isolated, pairs.factors)
    )
    known = _worst_first(rows)
    probed = affordable_layers(bundle, reference, known, exact[bundle.input_name].shape)
    if len(probed) < len(known):
        notes.append(
            f"what a layer of {variant} does to the picture is measured of {len(probed)} of "
            f"{len(known)} layers, those with the least signal to noise"
        )
    seen = {layer.name: effect.psnr_db(layer) for layer in layers if layer.name in probed}
    rows = [replace(row, picture_db=seen.get(row.layer)) for row in rows]
    return GraphDamage(rows, _ranges(graphs, exact, pairs.factors), notes)


@dataclass(frozen=True)
class _Pairs:
    """Tensors of the reference that the variant has, too, (N, C, H, W) by the reference's name."""

    exact: Values
    running: Values
    """The variant's, each on what came before."""

    isolated: Values
    """The variant's, each on exact inputs."""

    factors: Factors
    estimated: bool
    """Whether the factors were found in the values rather than declared in the bundle."""


def _pairs(
    bundle: Bundle,
    variant: str,
    graphs: tuple[onnx.ModelProto, onnx.ModelProto],
    inner: Mapping[str, str],
    exact: Tensors,
    rounded: Tensors,
) -> _Pairs:
    looked_at = len(exact[bundle.input_name])
    wanted = {
        name: exact[name]
        for name, own in inner.items()
        if exact[name].ndim == 4
        and len(exact[name]) == looked_at
        and exact[name].dtype.kind == rounded[own].dtype.kind == "f"
    }
    isolation = Isolation(bundle, graphs[1], {n: inner[n] for n in wanted}, exact, rounded)
    running = {name: rounded[inner[name]].astype(np.float32) for name in wanted}
    factors = declared_units(bundle, variant)
    if declared := bool(factors):
        isolated = isolation(factors)
    else:
        factors, isolated = find_factors(wanted, running, isolation)
    truncates = [truncates_picture(graph, bundle.output_name) for graph in graphs]
    half = 0.5 * (truncates[0] - truncates[1])
    for name in set(layers_of(graphs[0])[-1].tensors) & set(wanted):
        running[name], isolated[name] = running[name] + half, isolated[name] + half
    return _Pairs(wanted, running, isolated, factors, bool(factors) and not declared)


def _worst_first(rows: Sequence[LayerDamage]) -> list[str]:
    """Names of layers that have a figure, the noisiest first."""
    known = [(row.isolated_db, row.layer) for row in rows if row.isolated_db is not None]
    return [layer for _, layer in sorted(known)]


def _row(layer: Layer, pairs: _Pairs) -> LayerDamage:
    """SNR of the first of a layer's tensors that the variant holds."""
    shown = next((name for name in layer.tensors if name in pairs.exact), None)
    if shown is None:
        return LayerDamage(layer.name, layer.op_type, None, None)
    wanted = scaled(pairs.exact[shown], pairs.factors.get(shown))
    alone, running = (
        signal_to_noise_db(each[shown], wanted) for each in (pairs.isolated, pairs.running)
    )
    return LayerDamage(layer.name, layer.op_type, alone, running)


def _notes(variant: str, rows: Sequence[LayerDamage], estimated: bool) -> list[str]:
    notes = []
    if estimated:
        notes.append(
            f"{variant} scales channels on purpose; the factors are estimated from its values, the "
            "smallest of each tensor taken as 1"
        )
    unmatched = sum(row.accumulated_db is None for row in rows)
    if unmatched:
        notes.append(f"{unmatched} of {len(rows)} layers of {variant} have no tensor to compare")
    return notes


def signal_to_noise_db(output: Floats, wanted: Floats) -> float | None:
    """Power of what is wanted over that of the difference; None for other shapes.

    Args:
        output: Any shape, in the wanted one's units or, for a picture, in levels.
        wanted: The same shape.
    """
    if output.shape != wanted.shape:
        return None
    difference = in_network_units(output, wanted) - wanted
    signal, noise = (float(np.square(each).sum(dtype=np.float64)) for each in (wanted, difference))
    if not math.isfinite(noise):
        return -MOST_DB
    if noise <= signal * 10 ** (-MOST_DB / 10):
        return MOST_DB
    return max(10 * math.log10(max(signal, 1e-30) / noise), -MOST_DB)


def _ranges(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], exact: Tensors, factors: Factors
) -> list[ActivationRange]:
    # What the reference clips itself, as levels beyond white, is not lost by a scale.
    after = {n.input[0]: n.output[0] for n in graphs[0].graph.node if n.op_type == "Clip"}
    found = []
    for each in quantized_activations(graphs[1]):
        reference = exact.get(after.get(each.tensor, each.tensor))
        if reference is None or reference.ndim != 4:
            continue
        values = scaled(reference, factors.get(each.tensor))
        # What still rounds into the range is not cut off.
        half = 0.51 * (each.high - each.low) / (2**each.bits - 1)
        beyond = (values < each.low - half) | (values > each.high + half)
        found.append(
            ActivationRange(
                each.tensor,
                each.low,
                each.high,
                float(values.min()),
                float(values.max()),
                float(beyond.mean()),
                each.bits,
            )
        )
    return found
