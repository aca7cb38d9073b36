"""Adding a quantized variant to a bundle: made by a recipe, counted, compared, then committed.

quantize_bundle(Path("nano"), recipe_for("int8", "cpu"), open_set(Path("set")), report=print)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from ..adopted_network import AdoptedNetwork
from ..bundle import Bundle
from ..calibration.sets.calibration_set import CalibrationSet
from ..calibration.sets.reader import probe_runs
from ..errors import FlickerError, QuantizationError, WrongColoursError
from ..graph.census import Census, take_census
from ..pictures.colour_probes import PROBES_VERSION
from ..runtime.proof.graphs import proven_graphs
from ..runtime.sessions.ort_precision import why_not_judged
from ..variants import REFERENCE
from ..version import __version__
from .gate import Comparison, limits_json, require_within, to_json
from .graphs.graph_edit import GraphEdit
from .graphs.traced import FROM_COLOURS, TO_COLOURS
from .graphs.variant_files import VariantFiles
from .int8.int8_ort import quantize_int8_ort
from .int8.integer_ends import first_convolutions, last_convolution, why_no_integer_ends
from .int8.quantized import Quantized, units_json
from .modelopt.modelopt_quantize import quantize_modelopt
from .recipes.recipe import (
    EVEN_NOISE,
    OUR_ENDS,
    Expectation,
    Recipe,
    for_adopted,
    with_even_noise,
)
from .variants import remember_proven, require_new, stage_variant

Report = Callable[[str], None]

QUANTIZERS: dict[str, Callable[[Bundle, CalibrationSet, Recipe, Path | None], Quantized]] = {
    "onnxruntime": quantize_int8_ort,
    "modelopt": quantize_modelopt,
}
"""By a recipe's tool."""

UNITS_SUFFIX = ".units.json"

OTHER_FITS = (6.0, 1.0, 4.0, 0.0, 3.0)
"""Strengths of even noise that are tried after the recipe's, in this order."""

MOST_NAMES = 6
"""Nodes an error names; the rest are counted."""


def quantize_bundle(
    path: Path,
    recipe: Recipe,
    calibration: CalibrationSet,
    *,
    overwrite: bool = False,
    report: Report,
) -> Bundle:
    """Make a recipe's variant and add it to a bundle.

    The same bundle, recipe, set and toolchain give the same bytes. Nothing is written unless the
    variant is in the recipe's precision to the extent it expects, and within its gate.

    Args:
        path: The bundle.
        recipe: See `adcvsr.export.recipes.recipe`.
        calibration: Made for the bundle's network.
        overwrite: Replace a variant of the same id.
        report: Called with lines to show.

    Returns:
        The bundle with the variant.

    Raises:
        CalibrationError: The set does not fit.
        QuantizationError: The graph cannot be quantized, or less of it than the recipe expects.
        ParityError: The variant is beyond the recipe's gate; where its colours or its flicker are,
            other fits were tried too.
        OutputExistsError: The bundle has the variant and `overwrite` is off.
        OutputNotWritableError: The bundle cannot be written.
    """
    bundle = Bundle(path)
    require_new(bundle, recipe.variant, overwrite=overwrite)
    recipe = fit_recipe(bundle, recipe, report)
    calibration.require_fit(bundle)
    if recipe.tool == "onnxruntime":
        require_small_stream(bundle, recipe.variant)
    fits, comparison = [recipe, *other_fits(recipe)], Comparison(recipe.gate, calibration)
    for tried, each in enumerate(fits[:-1], 1):
        try:
            return _add(path, each, calibration, comparison, report)
        except (WrongColoursError, FlickerError) as error:
            report(f"fit {tried} of at most {len(fits)}: {str(error).partition(';')[0]}")
    return _add(path, fits[-1], calibration, comparison, report)


def other_fits(recipe: Recipe) -> list[Recipe]:
    """Recipes to try where a recipe's colours or flicker are beyond its gate, in their order.

    The worst of many colours is mostly chance, and so is a little flicker: another fit may be
    within; each is held to all of the gate. A recipe with a strength of its own, or without a fit,
    is taken as it is.
    """
    chosen = recipe.activations
    if recipe.tool != "onnxruntime" or not chosen.mix_channels or chosen.even_noise != EVEN_NOISE:
        return []
    return [with_even_noise(recipe, strength) for strength in OTHER_FITS]


def _add(
    path: Path,
    recipe: Recipe,
    calibration: CalibrationSet,
    comparison: Comparison,
    report: Report,
) -> Bundle:
    """The bundle with a recipe's variant, if that is within the gate."""
    with stage_variant(path) as stage:
        bundle = stage.open()
        quantized = QUANTIZERS[recipe.tool](bundle, calibration, recipe, stage.folder)
        census = count_graphs(quantized.models, bundle, calibration)
        report(census_line(recipe, census))
        require_expected(recipe, census)
        files = variant_files(quantized, recipe)
        for name, content in files.items():
            stage.write(name, content)
        data = VariantFiles(stage.folder, recipe.variant, bundle.kind).data
        entry = variant_entry(quantized, recipe, calibration, census)
        entry |= {"data_files": [file.name for file in data]} if data else {}
        names = [*files, *entry.get("data_files", ())]
        staged = stage.put(recipe.variant, entry, names)
        entry["parity"] = _prove(staged, recipe, comparison, report)
        stage.put(recipe.variant, entry, names)
        return stage.commit()


def fit_recipe(bundle: Bundle, recipe: Recipe, report: Report) -> Recipe:
    """A recipe for an adopted network: its ends are found by their place.

    Args:
        bundle: Any.
        recipe: As it came.
        report: Called with a line for what is other than the recipe says.

    Returns:
        The same of a network of ours.
    """
    if not isinstance(bundle.config, AdoptedNetwork):
        return recipe
    with bundle.graph(bundle.variant(REFERENCE), bundle.variant(REFERENCE).file) as stored:
        model = (
            onnx.load_model_from_string(stored)
            if isinstance(stored, bytes)
            else onnx.load(stored, load_external_data=False)
        )
    edit = GraphEdit(model)
    taken = bundle.input_name
    given = bundle.output_name if bundle.features is None else bundle.features.name
    why = why_no_integer_ends(model, taken, given)
    colours = []  # kept float; the network's ends are behind them
    for node in edit.of_type("Conv"):
        if node.name in (TO_COLOURS, FROM_COLOURS):
            colours.append(node.name)
            why = "the network takes and gives YUV, which is made of RGB in float"
        if node.name == TO_COLOURS:
            taken = node.output[0]
        elif node.name == FROM_COLOURS:
            given = node.input[0]
    ends = [node.name for node in first_convolutions(edit, taken)]
    ends.append(last_convolution(edit, given).name)
    if why is not None and recipe.activations.integer_ends:
        report(f"pictures stay float inside the graph: {why.partition(';')[0]}")
    expect = recipe.expect
    if set(recipe.activations.keep_float) == set(OUR_ENDS):
        report(f"kept float as the network's ends, by their place: {', '.join(ends)}")
        expect = Expectation()
    return for_adopted(recipe, ends, integer_ends=why is None, expect=expect, always=colours)


def require_small_stream(bundle: Bundle, what: str) -> None:
    """Refuse what is done for small causal networks alone.

    Args:
        bundle: The network.
        what: A variant, or something else that begins the message.

    Raises:
        QuantizationError: A clip network, or weights outside the ONNX file.
    """
    reason = None
    if bundle.kind != "stream":
        reason = "is a clip network, whose runs cost seconds a frame on a CPU"
    elif bundle.variant(REFERENCE).data_files:
        reason = "has its weights beside the ONNX file, more than a CPU can stream"
    if reason is not None:
        raise QuantizationError(
            f"{what} is for stream networks whose ONNX file holds their weights; '{bundle.name}' "
            f"{reason}. For GPUs pass --target, see 'adcvsr targets'"
        )


def _prove(
    staged: Bundle, recipe: Recipe, comparison: Comparison, report: Report
) -> dict[str, Any]:
    """Compare with FP32 where that can be done here; what the manifest says of it."""
    ort_version = tool_versions("onnxruntime")["onnxruntime"]
    reason = why_not_judged(recipe.precision, recipe.high_precision, ort_version)
    if reason is not None:
        report(f"parity: not judged here, the variant is unproven: {reason}")
        return {"judged": False, "reason": reason, **limits_json(recipe.gate)}
    remember_proven(staged, recipe.variant)
    distances = comparison.of(staged, recipe.variant)
    carried = f"drift {distances.drift_db:+.2f} dB" if staged.state else "no state that could drift"
    report(
        f"parity: {distances.psnr_db:.1f} dB to {REFERENCE} over {distances.frames} frames, "
        f"{distances.calibration_psnr_db:.1f} dB on the calibration set, {carried}, "
        f"at most {distances.max_level_error} levels"
    )
    report(f"colours: {distances.colours.line()}")
    if distances.still is not None:
        report(f"still parts: {distances.still.line()}")
    require_within(distances, recipe.gate, recipe.variant)
    graphs = proven_graphs(staged, recipe.variant, REFERENCE)
    return {**to_json(distances, recipe.gate), "graphs": graphs}


def variant_files(quantized: Quantized, recipe: Recipe) -> dict[str, bytes]:
    """Files of a quantized variant by name: graphs, recipe, units of channels."""
    names = (f"{recipe.variant}.onnx", f"{recipe.variant}.decoder.onnx")
    files = {
        name: model.SerializeToString(deterministic=True)
        for name, model in zip(names, quantized.models, strict=False)
    }
    files[f"{recipe.variant}.recipe.toml"] = recipe.text.encode()
    if quantized.units:
        files[f"{recipe.variant}{UNITS_SUFFIX}"] = units_json(quantized.units)
    return files


def variant_entry(
    quantized: Quantized, recipe: Recipe, calibration: CalibrationSet, census: Census
) -> dict[str, Any]:
    """What the manifest says of a quantized variant; parity is added once it is measured."""
    model, variant = quantized.model, recipe.variant
    further: dict[str, Any] = {}
    if quantized.units:
        further["units"] = {"file": f"{variant}{UNITS_SUFFIX}"}
    if quantized.decoder is not None:
        further["decoder_file"] = f"{variant}.decoder.onnx"
    return {
        "file": f"{variant}.onnx",
        "recipe": {"name": recipe.name, "file": f"{variant}.recipe.toml"},
        **further,
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "state_dtype": recipe.high_precision,
        "nodes": sum(len(graph.graph.node) for graph in quantized.models),
        "census": census.to_json(),
        "calibration": {
            "digest": calibration.digest,
            "runs": len(calibration.runs),
            "frames": calibration.frames,
            "coverage": calibration.manifest["coverage"],
            "probes": {
                "version": PROBES_VERSION,
                "frames": sum(map(len, probe_runs(calibration))),
            },
        },
        "made_with": {"adcvsr": __version__, **tool_versions(recipe.tool)},
    }


def graph_sizes(bundle: Bundle, calibration: CalibrationSet) -> dict[str, tuple[int, ...]]:
    """Shapes of a stream graph's inputs at the set's size."""
    height, width = calibration.height, calibration.width
    sizes: dict[str, tuple[int, ...]] = {bundle.input_name: (1, height, width, 3)}
    return sizes | {spec.name: spec.shape(height, width) for spec in bundle.state}


def count_graphs(
    models: Sequence[onnx.ModelProto], bundle: Bundle, calibration: CalibrationSet
) -> Census:
    """Count all graphs of a variant at the set's size: of a clip network, one run of the set."""
    if bundle.features is None:
        return take_census(models[0], graph_sizes(bundle, calibration))
    height, width = calibration.height, calibration.width
    frames, features = len(calibration.runs[0].frames), bundle.features
    clip = take_census(models[0], {bundle.input_name: (frames, height, width, 3)})
    decoder = take_census(models[1], {features.name: features.shape(height, width)})
    each = (replace(node, multiply_adds=node.multiply_adds * frames) for node in decoder.nodes)
    return Census((*clip.nodes, *each))


def census_line(recipe: Recipe, census: Census) -> str:
    """One line: what runs in the recipe's precision."""
    share = census.share(recipe.precision)
    return (
        f"{recipe.variant}: {share.convolutions:.1%} of convolutions, {share.multiply_adds:.1%} of "
        f"multiply-adds, {share.weights:.1%} of weights in {recipe.precision}"
    )


def require_expected(recipe: Recipe, census: Census) -> None:
    """Hold a census against the recipe's expectation.

    Raises:
        QuantizationError: Less is in the recipe's precision; the costliest other nodes are named.
    """
    expect: Expectation = recipe.expect
    share = census.share(recipe.precision)
    for what in ("convolutions", "multiply_adds", "weights"):
        found, least = getattr(share, what), getattr(expect, what)
        if found < least:
            others = census.beside(recipe.precision)
            names = ", ".join(f"{node.name} ({node.precision})" for node in others[:MOST_NAMES])
            more = f" and {len(others) - MOST_NAMES} more" if len(others) > MOST_NAMES else ""
            raise QuantizationError(
                f"{recipe.variant}: {found:.1%} of {what.replace('_', '-')} are in "
                f"{recipe.precision}, the recipe '{recipe.name}' expects {least:.1%}; not in it: "
                f"{names}{more}"
            )


def tool_versions(tool: str) -> dict[str, str]:
    """Versions of what makes the graph, for the manifest."""
    from importlib.metadata import version

    packages = ("onnx", "onnxruntime", *(["nvidia-modelopt"] if tool == "modelopt" else []))
    return {package: version(package) for package in packages}
