"""`adcvsr search BUNDLE --budget "psnr>=42,warp<=1.05x" --calibration SET -o DIR`."""

from __future__ import annotations

from pathlib import Path

import click

from ..variants import QUANTIZED
from ._options import json_option
from ._progress import count_progress
from ._say import done, print_json, say


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--budget",
    "budget_text",
    required=True,
    metavar="LIMITS",
    help="Against FP32, in measures of 'adcvsr evaluate': psnr>=42,haarpsi>=0.995,warp<=1.05x; "
    "with x times FP32's own figure.",
)
@click.option(
    "--calibration",
    "calibration_path",
    type=click.Path(path_type=Path),
    required=True,
    metavar="SET",
    help="Calibration set from 'adcvsr calibrate'; its runs are also what is measured on.",
)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="Folder for recipe, figures and plot; the same command continues its trials.",
)
@click.option(
    "--precision",
    type=click.Choice(QUANTIZED),
    default="int8",
    show_default=True,
    help="What the new variant computes in.",
)
@click.option(
    "--target",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="What it is for, as for 'adcvsr quantize'.",
)
@click.option(
    "--recipe",
    "recipe_path",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Start from your recipe instead of the packaged one.",
)
@json_option
def command(
    bundle: str,
    budget_text: str,
    calibration_path: Path,
    folder: Path,
    precision: str,
    target: str,
    recipe_path: Path | None,
    as_json: bool,
) -> None:
    """Find the cheapest choice of nodes of BUNDLE that must stay float to keep a budget.

    DIR/VARIANT.toml is a recipe that keeps them float: adcvsr quantize --recipe takes it.
    """
    from ..bundle import open_bundle
    from ..calibration.sets.calibration_set import open_set
    from ..export.recipes.recipe import read_recipe, recipe_for
    from ..export.search.budget import read_budget
    from ..export.search.search import search
    from ..export.search.search_report import lines, to_json, write_result

    budget = read_budget(budget_text)
    opened = open_bundle(bundle)
    recipe = read_recipe(recipe_path) if recipe_path else recipe_for(precision, target)
    with count_progress(f"search {opened.name}") as progress:
        result = search(
            opened,
            recipe,
            open_set(calibration_path),
            budget,
            folder,
            report=say if as_json else done,
            progress=progress,
        )
    written = write_result(folder, result, budget)
    if as_json:
        print_json(to_json(result, budget))
        return
    for line in lines(result):
        done(line)
    done(
        f"{written}: adcvsr quantize {bundle} --precision {recipe.precision} --recipe {written} "
        f"--calibration {calibration_path}"
    )
