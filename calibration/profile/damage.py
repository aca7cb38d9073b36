"""What rounding does to every layer: alone, and on top of what came before.

Accumulated: both graphs run on their own; the layer's output in the variant against that in the
reference. Isolated: the variant's layer on the reference's inputs, as the variant rounds them; so
it names the layer that does the damage, not those that inherit it.
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
from ...runtime.ort_session import import_onnxruntime
from ...runtime.session import pad_to_multiple
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

MOST_ELEMENTS = 1 << 28
"""Activations held for a frame, in numbers: 1 GiB. Larger networks are looked at on a crop."""

CUT = "reference::"
MOST_DB = 120.0
"""Of what is equal."""

EQUALISED_SPREAD = 1.3
"""Largest over smallest gain of a tensor's channels from which they count as equalised."""

CLEAN_DB = 10.0
"""A channel whose values do not follow the reference at least so well has no gain to speak of."""

LEVELS_GAIN = 60.0
"""A gain beyond it is that from [-1, 1] to levels: 127.5."""

Floats = npt.NDArray[np.float32]
Values = dict[str, Floats]


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
    models = {name: load_graph(bundle, name) for name in (reference, variant)}
    layers = layers_of(models[reference])
    tensors = float_tensors(models[reference])
    pairs = matching(tensors, models[variant])
    inner = {ref: var for ref, var in pairs.items() if ref != bundle.output_name}
    runs = (
        _run(bundle, add_outputs(models[reference], tensors), reference, frames, step),
        _run(bundle, add_outputs(models[variant], inner.values()), variant, frames, step),
    )
    exact, rounded = runs
    activations = [name for name in inner if exact[-1][name].ndim == 4]
    gains = _gains(activations, inner, exact, rounded)
    cut = [name for name in activations if rounded[-1][inner[name]].dtype == np.float32]
    isolated = _isolated(bundle, models[variant], variant, cut, inner, exact, gains, step)
    rows = []
    for layer in layers:
        shown = next((t for t in layer.tensors if t in activations), None)
        rows.append(
            LayerDamage(
                layer.name,
                layer.op_type,
                _snr(shown, [e[shown] for e in isolated], exact, gains)
                if shown and shown in cut
                else None,
                _snr(shown, [r[inner[shown]] for r in rounded], exact, gains) if shown else None,
            )
        )
    notes = []
    if gains:
        notes.append(
            f"{variant} has channels scaled on purpose; factors are estimated from its values, "
            "their smallest taken as 1"
        )
    unmatched = sum(row.accumulated_db is None for row in rows)
    if unmatched:
        notes.append(f"{unmatched} of {len(rows)} layers of {variant} have no tensor to compare")
    return GraphDamage(rows, _ranges(models[variant], exact, gains), notes)


def _run(
    bundle: Bundle,
    model: onnx.ModelProto,
    variant: str,
    frames: Sequence[Levels],
    step: Callable[[], None],
) -> list[Values]:
    """All outputs on the last frames, state carried from the first."""
    graph = _load(model)
    names = [value.name for value in graph.get_outputs()]
    dtype = np.dtype(bundle.variants[variant].state_dtype)
    first = pad_to_multiple(frames[0], bundle.size_multiple)
    state = {s.name: np.zeros(s.shape(*first.shape[:2]), dtype) for s in bundle.state}
    found: list[Values] = []
    for index, frame in enumerate(frames):
        feed = {bundle.input_name: pad_to_multiple(frame, bundle.size_multiple)[None], **state}
        wanted = names if index >= len(frames) - FRAMES else [s.next_name for s in bundle.state]
        values = dict(zip(wanted, graph.run(wanted, feed), strict=True))
        # Inputs are kept beside what was made of them: the isolated run needs both.
        if index >= len(frames) - FRAMES:
            found.append({**values, **feed})
        state = {s.name: values[s.next_name] for s in bundle.state}
        step()
    return found


def _isolated(
    bundle: Bundle,
    model: onnx.ModelProto,
    variant: str,
    cut: Sequence[str],
    inner: Mapping[str, str],
    exact: Sequence[Values],
    gains: Mapping[str, Floats],
    step: Callable[[], None],
) -> list[Values]:
    """Every layer's output on exact inputs: the graph cut at all matched tensors."""
    graph = _load(cut_at(model, [inner[name] for name in cut], CUT))
    inputs = {value.name for value in graph.get_inputs()}
    dtype = np.dtype(bundle.variants[variant].state_dtype)
    found = []
    for values in exact:
        feed: dict[str, Any] = {bundle.input_name: values[bundle.input_name]}
        for spec in bundle.state:
            feed[spec.name] = _scaled(values[spec.name], gains.get(spec.next_name)).astype(dtype)
        for name in cut:
            feed[CUT + inner[name]] = _scaled(values[name], gains.get(name))
        wanted = [inner[name] for name in cut]
        made = graph.run(wanted, {key: value for key, value in feed.items() if key in inputs})
        found.append(dict(zip(cut, made, strict=True)))
        step()
    return found


def _gains(
    names: Sequence[str],
    inner: Mapping[str, str],
    exact: Sequence[Values],
    rounded: Sequence[Values],
) -> dict[str, Floats]:
    """Factors by which a variant scales channels on purpose, by tensor; none for most variants.

    A quantizer may bring the channels of a tensor to one range (equalisation, cross-layer scaling)
    and undo it in the next weights; the widest channel keeps its scale. Without this, such a graph
    would look all wrong; a wrong scale of a whole tensor is still seen, for it moves the widest.
    """
    fitted = {}
    for name in names:
        gain, clean = _fit(
            np.concatenate([e[name] for e in exact]).astype(np.float32),
            np.concatenate([r[inner[name]] for r in rounded]).astype(np.float32),
        )
        fitted[name] = (gain, clean)
    spread = [
        np.abs(gain[clean]).max() / max(np.abs(gain[clean]).min(), 1e-9) > EQUALISED_SPREAD
        or gain[clean].min() < 0
        for gain, clean in fitted.values()
        if clean.sum() > 1
    ]
    if not spread or np.mean(spread) < 0.5:
        return {}
    factors = {}
    for name, (gain, clean) in fitted.items():
        if not clean.any() or np.abs(gain[clean]).min() > LEVELS_GAIN:
            continue
        factor = np.ones_like(gain)
        factor[clean] = gain[clean] / np.abs(gain[clean]).min()
        factors[name] = factor
    return factors


def _fit(reference: Floats, other: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Gain of every channel by least squares, and which channels follow the reference."""
    if reference.shape != other.shape:
        return np.ones(1, np.float32), np.zeros(1, np.bool_)
    axes = (0, 2, 3)
    power = np.square(reference, dtype=np.float64).sum(axes)
    gain = (reference.astype(np.float64) * other).sum(axes) / np.maximum(power, 1e-20)
    rest = np.square(other - gain[:, None, None] * reference, dtype=np.float64).sum(axes)
    clean = rest * 10 ** (CLEAN_DB / 10) < np.square(gain) * power
    return gain.astype(np.float32), clean


def _snr(
    name: str, outputs: Sequence[Floats], exact: Sequence[Values], gains: Mapping[str, Floats]
) -> float | None:
    """Signal to noise in dB over all frames looked at."""
    signal = noise = 0.0
    for output, values in zip(outputs, exact, strict=True):
        wanted = _scaled(values[name], gains.get(name))
        if output.shape != wanted.shape:
            return None
        difference = _in_network_units(output.astype(np.float32), wanted) - wanted
        signal += float(np.square(wanted, dtype=np.float64).sum())
        noise += float(np.square(difference, dtype=np.float64).sum())
    if not math.isfinite(noise):
        return -MOST_DB
    if noise <= signal * 10 ** (-MOST_DB / 10):
        return MOST_DB
    return 10 * math.log10(max(signal, 1e-30) / noise)


def _in_network_units(output: Floats, wanted: Floats) -> Floats:
    """A picture that the variant holds as levels, brought to the reference's [-1, 1]."""
    if np.abs(output).max(initial=0) > LEVELS_GAIN * max(np.abs(wanted).max(initial=0), 1e-9):
        return (output - np.float32(127.5)) / np.float32(127.5)
    return output


def _scaled(value: Floats, factor: Floats | None) -> Floats:
    scaled: Floats = value.astype(np.float32)
    return scaled if factor is None else scaled * factor[:, None, None]


def _ranges(
    model: onnx.ModelProto, exact: Sequence[Values], gains: Mapping[str, Floats]
) -> list[ActivationRange]:
    found = []
    for each in quantized_activations(model):
        if each.tensor not in exact[-1] or exact[-1][each.tensor].ndim != 4:
            continue
        factor = gains.get(each.tensor)
        values = np.concatenate([_scaled(e[each.tensor], factor).ravel() for e in exact])
        half = (
            0.51 * (each.high - each.low) / (2**each.bits - 1)
        )  # what still rounds into the range
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
