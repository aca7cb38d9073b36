"""`adcvsr train show-data`: look at what a recipe trains on."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import json_option
from ._say import done, print_json, say

FOLDER = click.Path(path_type=Path)


@click.command("show-data", short_help="Draw samples of a recipe, input beside truth.")
@click.option("--config", required=True, metavar="NAME|FILE", help="A recipe's name or TOML file.")
@click.option("--clips", multiple=True, type=FOLDER, help="Folder of videos; may be repeated.")
@click.option("--images", multiple=True, type=FOLDER, help="Folder of images; may be repeated.")
@click.option(
    "--samples",
    default=8,
    show_default=True,
    type=click.IntRange(1),
    help="Samples to draw, a row each.",
)
@click.option(
    "--epoch",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Epoch to draw from, from 0.",
)
@click.option("-o", "--output", required=True, type=FOLDER, help="Picture to write (PNG).")
@json_option
def show_data(
    config: str,
    clips: tuple[Path, ...],
    images: tuple[Path, ...],
    samples: int,
    epoch: int,
    output: Path,
    as_json: bool,
) -> None:
    """Draw samples of a recipe: input and truth side by side, first and last frame.

    Each row shows the low-resolution input with pixels four times as large, its truth, and both
    again for the clip's last frame. The samples are exactly those of a training run.
    """
    from ._torch import require_train

    require_train()
    from ..train.data import ClipPairs
    from ..train.data.contact_sheet import draw_sheet, write_sheet
    from ..train.settings import read_data_settings

    settings = read_data_settings(config)
    pairs = ClipPairs(
        clips,
        images,
        settings.data,
        settings.degradation,
        seed=settings.seed,
        report=say,
    )
    say(pairs.summary())
    sheet, lines = draw_sheet(pairs, samples=samples, epoch=epoch)
    write_sheet(output, sheet)
    for line in lines:
        (say if as_json else done)(line)
    if skipped := pairs.count_skipped():
        say(skipped)
    if as_json:
        print_json({"path": str(output), "samples": lines})
    else:
        done(f"{output}")
