"""`adcvsr quantize BUNDLE --precision int8 --calibration SET`."""

from __future__ import annotations

from pathlib import Path

import click

from ..variants import QUANTIZED
from ._options import json_option
from ._say import done, print_json, say


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(QUANTIZED),
    required=True,
    help="What the new variant computes in.",
)
@click.option(
    "--calibration",
    "calibration_path",
    type=click.Path(path_type=Path),
    metavar="SET",
    help="Calibration set from 'adcvsr calibrate'; there is no quantization without one.",
)
@click.option(
    "--target",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="What it is for: 'cpu', or a device of 'adcvsr targets'.",
)
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Your recipe instead of the packaged one.",
)
@click.option("--overwrite", is_flag=True, help="Replace the variant if BUNDLE has it.")
@json_option
def command(
    bundle: Path,
    precision: str,
    calibration_path: Path | None,
    target: str,
    recipe_path: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Add an INT8 or FP8 variant to BUNDLE, made by a recipe and proven against fp32-onnx.

    Other variants stay as they are. A variant that is too far from FP32, or of which less runs in
    the precision than its recipe expects, is not written.
    """
    from ._torch import require_int8

    require_int8()
    from ..bundle import describe, open_bundle
    from ..calibration.sets.calibration_set import open_set
    from ..errors import CalibrationError, ConfigError
    from ..export.quantize import quantize_bundle
    from ..export.recipes.recipe import read_recipe, recipe_for

    if calibration_path is None:
        raise CalibrationError(
            "quantization needs frames like those the network will meet: make a set with 'adcvsr "
            "calibrate CLIPS -o SET' and pass it as --calibration SET"
        )
    recipe = read_recipe(recipe_path) if recipe_path else recipe_for(precision, target)
    if recipe.precision != precision:
        raise ConfigError(
            f"recipe '{recipe.name}' makes {recipe.variant}, not --precision {precision}"
        )
    result = quantize_bundle(
        open_bundle(bundle).path,
        recipe,
        open_set(calibration_path),
        overwrite=overwrite,
        report=say if as_json else done,
    )
    if as_json:
        print_json({**describe(result), "variant": recipe.variant})
    else:
        done(f"{result.path}: {', '.join(sorted(result.variants))}")
