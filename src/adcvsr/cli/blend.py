"""`adcvsr blend A B`: a checkpoint between two."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import json_option
from ._say import done, print_json, say

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("first", metavar="A", type=FILE)
@click.argument("second", metavar="B", type=FILE)
@click.option(
    "--alpha",
    type=float,
    default=0.5,
    show_default=True,
    help="0 gives A's weights, 1 gives B's; beyond them B's look is overdone, or A's.",
)
@click.option(
    "--onto",
    metavar="C",
    type=FILE,
    help="Put what led from A to B onto C instead: C + alpha (B - A), such as a stage 2 onto a "
    "longer stage 1.",
)
@click.option(
    "--without-grid",
    is_flag=True,
    help="Take out the faint pattern that the pixel shuffle draws on walls and skies.",
)
@click.option(
    "-o", "--output", required=True, type=FILE, help="Checkpoint to write (.safetensors)."
)
@click.option("--overwrite", is_flag=True, help="Replace the checkpoint.")
@json_option
def command(
    first: Path,
    second: Path,
    alpha: float,
    onto: Path | None,
    without_grid: bool,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Blend two checkpoints of one network: weights interpolated, looks between theirs.

    A, B and C are files, or names of the package's checkpoints (nano, nano-camera, nano-restore,
    small, small-restore).
    """
    from ._torch import require_train

    require_train("blend")
    from ..files import check_new
    from ..model import save_checkpoint
    from ..train.blend import blend
    from ..train.grid import remove_grid

    check_new(output, overwrite=overwrite)
    made = blend(first, second, alpha, name=output.stem, onto=onto)
    heights: tuple[float, float] | None = None
    if without_grid:
        heights = remove_grid(made.network)
        made.provenance["without_grid"] = True
    save_checkpoint(output, made.network, provenance=made.provenance)
    if not made.related:
        of = "A and B" if onto is None else "A, B and C"
        say(f"{of} were not trained from each other: weights between theirs may make no picture")
    count = sum(p.numel() for p in made.network.parameters())
    licences = made.provenance["licences"]
    if as_json:
        third = {} if onto is None else {"onto": str(onto)}
        facts = {"path": str(output), "alpha": alpha, **third, "parameters": count}
        facts["licences"] = licences
        if heights is not None:
            facts["grid_levels"] = dict(zip(("before", "after"), heights, strict=True))
        print_json({**facts, "related": made.related})
        return
    put = "" if onto is None else f", put onto {onto}"
    done(f"{output}: {alpha:g} of the way from {first} to {second}{put}, {count:,} parameters")
    if heights is not None:
        done(
            f"grid: the pixels of one position of a flat picture are at most {heights[1]:.1f} "
            f"levels apart, {heights[0]:.1f} before"
        )
    for licence in licences:
        done(f"licence: {licence}")
