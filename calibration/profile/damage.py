"""What rounding does to every layer: alone, and on top of what came before.

Accumulated: both graphs run on their own; the layer's output in the variant against that in the
reference. Isolated: the variant's layer, its weights and the rounding of what it writes, on the
reference's inputs; so it names the layer that does the damage, not those that inherit it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...bundle import Bundle
from ...clips import Levels
from ...runtime.sessions.ort_cpu import import_onnxruntime
from ...runtime.sessions.session import pad_to_multiple
from .alignment import (
    Factors,
    Floats,
    declared_factors,
    find_factors,
    in_network_units,
    scaled,
)
from .graph import (
    add_outputs,
    cut_at,
    float_tensors,
    layers_of,
    load_graph,
    matching,
    quantized_activations,
)

FRAMES = 4
"""Frames each layer is looked at; their state is carried through all before."""

CUT = "reference::"
MOST_DB = 120.0
"""Of what is equal."""

Values = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class LayerDamage:
    """One layer of one variant."""

    layer: str
    op_type: str
    isolated_db: float | None
    """SNR of its output on exact inputs; None where the variant does not hold it apart."""

    accumulated_db: float | None
    """SNR of its output in the running variant."""


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
    exact_graph, rounded_graph = (load_graph(bundle, name) for name in (reference, variant))
    tensors = float_tensors(exact_graph)
    inner = matching(tensors, rounded_graph)
    exact = _run(bundle, add_outputs(exact_graph, tensors), reference, frames, step)
    rounded = _run(bundle, add_outputs(rounded_graph, inner.values()), variant, frames, step)
    looked_at = len(exact[bundle.input_name])
    names = [n for n in inner if exact[n].ndim == 4 and len(exact[n]) == looked_at]
    names = [name for name in names if exact[name].dtype.kind == "f"]
    isolation = _Isolation(bundle, rounded_graph, {n: inner[n] for n in names}, exact, rounded)
    own = {name: rounded[inner[name]].astype(np.float32) for name in names}
    declared = declared_factors(bundle, variant)
    isolated: Mapping[str, npt.NDArray[Any]]
    if declared:
        factors, isolated = declared, isolation(declared)
    else:
        factors, isolated = find_factors({name: exact[name] for name in names}, own, isolation)
    rows = []
    for layer in layers_of(exact_graph):
        shown = next((name for name in layer.tensors if name in own), None)
        isolated_db = accumulated_db = None
        if shown is not None:
            wanted = scaled(exact[shown], factors.get(shown))
            isolated_db, accumulated_db = (
                signal_to_noise_db(each[shown], wanted) for each in (isolated, own)
            )
        rows.append(LayerDamage(layer.name, layer.op_type, isolated_db, accumulated_db))
    ranges = _ranges(rounded_graph, exact, factors)
    return GraphDamage(rows, ranges, _notes(variant, rows, {} if declared else factors))


def _notes(variant: str, rows: Sequence[LayerDamage], estimated: Factors) -> list[str]:
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


def _run(
    bundle: Bundle,
    model: onnx.ModelProto,
    variant: str,
    frames: Sequence[Levels],
    step: Callable[[], None],
) -> Values:
    """All outputs and inputs on the last frames, one after the other along the first axis."""
    graph = _load(model)
    names = [value.name for value in graph.get_outputs()]
    dtype = np.dtype(bundle.variants[variant].state_dtype)
    first = pad_to_multiple(frames[0], bundle.size_multiple)
    state = {s.name: np.zeros(s.shape(*first.shape[:2]), dtype) for s in bundle.state}
    found: list[dict[str, Any]] = []
    for index, frame in enumerate(frames):
        feed = {bundle.input_name: pad_to_multiple(frame, bundle.size_multiple)[None], **state}
        looked_at = index >= len(frames) - FRAMES
        wanted = names if looked_at else [s.next_name for s in bundle.state]
        values = dict(zip(wanted, graph.run(wanted, feed), strict=True))
        if looked_at:
            found.append({**values, **feed})
        state = {s.name: values[s.next_name] for s in bundle.state}
        step()
    return {name: _joined([each[name] for each in found]) for name in found[0]}


class _Isolation:
    """Every layer's output on exact inputs: the variant's graph cut at all matched tensors.

    Args:
        bundle: For the graph's inputs.
        model: The variant's graph.
        inner: By tensor of the reference, that of the variant.
        exact: Tensors of the reference.
        rounded: Of the running variant, for their types.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: onnx.ModelProto,
        inner: Mapping[str, str],
        exact: Values,
        rounded: Values,
    ) -> None:
        self._inner, self._exact = inner, exact
        self._frame = bundle.input_name
        self._types = {CUT + own: rounded[own].dtype for own in inner.values()}
        self._sources = {CUT + own: name for name, own in inner.items()}
        self._states = {s.name: s.next_name for s in bundle.state}
        self._types |= {name: rounded[name].dtype for name in self._states}
        self._graph = _load(cut_at(model, {own: rounded[own].dtype for own in inner.values()}, CUT))
        self._inputs = {value.name for value in self._graph.get_inputs()}

    def __call__(self, factors: Factors) -> Values:
        """Run all frames with the reference's values, scaled as the variant's channels are."""
        feeds = {self._frame: self._exact[self._frame]}
        for name, source in self._sources.items():
            feeds[name] = scaled(self._exact[source], factors.get(source))
        for name, following in self._states.items():
            feeds[name] = scaled(self._exact[name], factors.get(following))
        made = []
        for index in range(len(feeds[self._frame])):
            feed = {
                name: value[index : index + 1].astype(self._types.get(name, value.dtype))
                for name, value in feeds.items()
                if name in self._inputs
            }
            made.append(self._graph.run(list(self._inner.values()), feed))
        columns = zip(*made, strict=True)
        return {
            name: _joined(list(column)).astype(np.float32)
            for name, column in zip(self._inner, columns, strict=True)
        }


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


def _joined(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Frames along the first axis; of what has no such axis the last one."""
    one_each = values[0].ndim == 4 and len(values[0]) == 1
    return np.concatenate(values) if one_each else values[-1]


def _ranges(model: onnx.ModelProto, exact: Values, factors: Factors) -> list[ActivationRange]:
    found = []
    for each in quantized_activations(model):
        reference = exact.get(each.tensor)
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


def _load(model: onnx.ModelProto) -> Any:
    """Without the engine's fusions, which would take the tensors away."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
