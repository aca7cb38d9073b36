"""`adcvsr calibrate CLIPS... -o SET`: choose the frames a network is quantized by."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import json_option, model_option, read_size
from ._progress import frame_progress
from ._say import done, print_json, say


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
    type=read_size,
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
    help="Add a run of drawn graphics; without it titles and screens are clipped.",
)
@click.option("--overwrite", is_flag=True, help="Replace SET if it exists.")
@json_option
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
    as_json: bool,
) -> None:
    """Choose the frames a network is quantized by, from CLIPS: videos like those it will meet.

    Runs are chosen for what they add in luminance, motion and noise, some of them across cuts.
    SET/contact_sheet.png shows them.
    """
    from ..bundle import open_bundle
    from ..calibration.sets.build_set import SetOptions, build_set

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
            report=say,
            progress=progress,
        )
    if as_json:
        print_json({"path": str(calibration.path), **calibration.manifest})
        return
    for line in calibration.describe():
        done(line)
