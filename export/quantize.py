"""Adding a quantized variant to a bundle: made by a recipe, counted, compared, then committed.

quantize_bundle(Path("nano"), recipe_for("int8", "cpu"), open_set(Path("set")), report=print)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle
from ..calibration.calibration_set import CalibrationSet
from ..calibration.reader import REFERENCE
from ..errors import QuantizationError
from ..graph_census import Census, take_census
from ..runtime.sessions.ort_precision import why_not_judged
from .gate import compare_variants, limits_json, require_within, to_json
from .int8_ort import quantize_int8_ort
from .modelopt_quantize import quantize_modelopt
from .quantized import Quantized, units_json
from .recipe import Expectation, Recipe
from .variants import require_new, stage_variant

Report = Callable[[str], None]

QUANTIZERS: dict[str, Callable[[Bundle, CalibrationSet, Recipe], Quantized]] = {
    "onnxruntime": quantize_int8_ort,
    "modelopt": quantize_modelopt,
}
"""By a recipe's tool."""

UNITS_SUFFIX = ".units.json"

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
        recipe: See `adcvsr.export.recipe`.
        calibration: Made for the bundle's network.
        overwrite: Replace a variant of the same id.
        report: Called with lines to show.

    Returns:
        The bundle with the variant.

    Raises:
        CalibrationError: The set does not fit.
        QuantizationError: The graph cannot be quantized, or less of it than the recipe expects.
        ParityError: The variant is beyond the recipe's gate.
        OutputExistsError: The bundle has the variant and `overwrite` is off.
        OutputNotWritableError: The bundle cannot be written.
    """
    bundle = Bundle(path)
    require_new(bundle, recipe.variant, overwrite=overwrite)
    calibration.require_fit(bundle)
    require_stream(bundle)
    quantized = QUANTIZERS[recipe.tool](bundle, calibration, recipe)
    census = take_census(quantized.model, graph_sizes(bundle, calibration))
    report(census_line(recipe, census))
    require_expected(recipe, census)
    files = variant_files(quantized, recipe)
    with stage_variant(path) as stage:
        for name, content in files.items():
            stage.write(name, content)
        entry = variant_entry(quantized, recipe, calibration, census)
        staged = stage.put(recipe.variant, entry, list(files))
        entry["parity"] = _prove(staged, recipe, calibration, report)
        stage.put(recipe.variant, entry, list(files))
        return stage.commit()


def require_stream(bundle: Bundle) -> None:
    """Refuse what cannot be quantized yet.

    Raises:
        QuantizationError: A clip network, or weights outside the ONNX file.
    """
    if bundle.kind != "stream":
        raise QuantizationError(
            f"'{bundle.name}' is a clip network; quantization takes stream graphs (causal networks)"
        )
    if bundle.variant(REFERENCE).data_files:
        raise QuantizationError(
            f"'{bundle.name}' has its weights beside the ONNX file; quantization takes graphs that "
            "hold theirs"
        )


def _prove(
    staged: Bundle, recipe: Recipe, calibration: CalibrationSet, report: Report
) -> dict[str, Any]:
    """Compare with FP32 where that can be done here; what the manifest says of it."""
    ort_version = tool_versions("onnxruntime")["onnxruntime"]
    reason = why_not_judged(recipe.precision, recipe.high_precision, ort_version)
    if reason is not None:
        report(f"parity: not judged here, the variant is unproven: {reason}")
        return {"judged": False, "reason": reason, **limits_json(recipe.gate)}
    distances = compare_variants(staged, recipe.variant, recipe.gate, calibration)
    report(
        f"parity: {distances.psnr_db:.1f} dB to fp32-onnx over {distances.frames} frames, "
        f"{distances.calibration_psnr_db:.1f} dB on the calibration set, drift "
        f"{distances.drift_db:+.2f} dB, at most {distances.max_level_error} levels"
    )
    require_within(distances, recipe.gate, recipe.variant)
    return to_json(distances, recipe.gate)


def variant_files(quantized: Quantized, recipe: Recipe) -> dict[str, bytes]:
    """Files of a quantized variant by name: graph, recipe, units of channels."""
    files = {
        f"{recipe.variant}.onnx": quantized.model.SerializeToString(deterministic=True),
        f"{recipe.variant}.recipe.toml": recipe.text.encode(),
    }
    if quantized.units:
        files[f"{recipe.variant}{UNITS_SUFFIX}"] = units_json(quantized.units)
    return files


def variant_entry(
    quantized: Quantized, recipe: Recipe, calibration: CalibrationSet, census: Census
) -> dict[str, Any]:
    """What the manifest says of a quantized variant; parity is added once it is measured."""
    model, variant = quantized.model, recipe.variant
    units = {"units": {"file": f"{variant}{UNITS_SUFFIX}"}} if quantized.units else {}
    return {
        "file": f"{variant}.onnx",
        "recipe": {"name": recipe.name, "file": f"{variant}.recipe.toml"},
        **units,
        "opset": next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")),
        "state_dtype": recipe.high_precision,
        "nodes": len(model.graph.node),
        "census": census.to_json(),
        "calibration": {
            "digest": calibration.digest,
            "runs": len(calibration.runs),
            "frames": calibration.frames,
            "coverage": calibration.manifest["coverage"],
        },
        "made_with": {"adcvsr": __version__, **tool_versions(recipe.tool)},
    }


def graph_sizes(bundle: Bundle, calibration: CalibrationSet) -> dict[str, tuple[int, ...]]:
    """Shapes of a stream graph's inputs at the set's size."""
    height, width = calibration.height, calibration.width
    sizes: dict[str, tuple[int, ...]] = {bundle.input_name: (1, height, width, 3)}
    return sizes | {spec.name: spec.shape(height, width) for spec in bundle.state}


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
