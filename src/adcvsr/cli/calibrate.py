"""`adcvsr calibrate CLIPS... -o SET`: choose the frames a network is quantized by."""

from __future__ import annotations

import re
from pathlib import Path

import click

from ._options import model_option
from ._progress import frame_progress

SIZE = re.compile(r"(\d+)x(\d+)")


def _parse_size(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, int]:
    match = SIZE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"expected WIDTHxHEIGHT such as 128x64, got '{value}'")
    return int(match[1]), int(match[2])


@click.command()
@click.argument(
    "clips", nargs=-1, required=True, metavar="CLIPS...", type=click.Path(path_type=Path)
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="SET",
    help="Folder to write.",
)
@model_option
@click.option("--runs", default=24, show_default=True, help="Runs of consecutive frames.")
@click.option("--length", default=6, show_default=True, help="Frames of each run.")
@click.option(
    "--size",
    default="128x64",
    show_default=True,
    metavar="WxH",
    callback=_parse_size,
    help="Size of the crops.",
)
@click.option(
    "--reduce",
    default=1,
    show_default=True,
    metavar="N",
    help="Divide the clips' sides by N first: 4 makes inputs of full-resolution footage.",
)
@click.option("--frames", default=300, show_default=True, help="Frames looked at in each clip.")
@click.option(
    "--drawn/--no-drawn",
    default=True,
    show_default=True,
    help="Add a run of drawn graphics: titles and screens clip badly without.",
)
@click.option("--overwrite", is_flag=True, help="Replace SET if it exists.")
def command(
    clips: tuple[Path, ...],
    output: Path,
    model: str,
    runs: int,
    length: int,
    size: tuple[int, int],
    reduce: int,
    frames: int,
    drawn: bool,
    overwrite: bool,
) -> None:
    """Choose the frames a network is quantized by, from CLIPS: videos like those it will meet.

    Runs are chosen for what they add in luminance, motion and noise, some of them across cuts.
    SET/contact_sheet.png shows them.
    """
    from ..bundle import open_bundle
    from ..calibration.build_set import SetOptions, build_set

    options = SetOptions(
        runs=runs,
        length=length,
        width=size[0],
        height=size[1],
        reduce=reduce,
        max_frames=frames,
        drawn=drawn,
        overwrite=overwrite,
    )
    with frame_progress("clips") as progress:
        calibration = build_set(
            clips,
            output,
            open_bundle(model),
            options,
            report=lambda line: click.echo(line, err=True),
            progress=progress,
        )
    for line in calibration.describe():
        click.echo(line)
