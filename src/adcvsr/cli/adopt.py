"""`adcvsr adopt MODEL -o BUNDLE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import json_option
from ._say import done, print_json, say

# Held beside adcvsr.export.adopt by a test; importing it here costs start time.
RANGES = ("0-1", "-1-1", "0-255")
LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Directory to write, or a .zip file.",
)
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option(
    "--licence",
    metavar="NAME|FILE",
    help="Under which the network may be used: a name such as BSD-3-Clause, or a file of its text "
    "to carry [default: of a known network its own].",
)
@click.option("--scale", type=click.IntRange(1, 4), help="What it makes [default: found].")
@click.option("--range", type=click.Choice(RANGES), help="Of its values [default: found].")
@click.option("--layout", type=click.Choice(LAYOUTS), help="Of its pictures [default: found].")
@click.option("--colour", type=click.Choice(COLOURS), help="Order of its colours [default: found].")
@click.option("--overwrite", is_flag=True, help="Replace BUNDLE if it exists.")
@json_option
def command(model: Path, output: Path, as_json: bool, **options: Any) -> None:
    """Make a bundle of an upscaler of others: MODEL is an .onnx file, or ncnn's .param and .bin.

    It has to take one picture and give one that is 1 to 4 times as large. Scale, sizes, range and
    colours are found by running it on a picture: its output, reduced, must resemble the input. The
    bundle takes uint8 frames of any size, and is held to the network over a clip (docs/adopt.md).
    """
    from ._torch import require_export

    require_export()
    from ..bundle import describe
    from ..export.adopt.adopt import AdoptOptions, adopt

    bundle = adopt(model, output, AdoptOptions(**options), report=say if as_json else done)
    if as_json:
        print_json(describe(bundle))
        return
    done(
        f"{bundle.path}: {bundle.name}, x{bundle.scale}, {bundle.parameters:,} parameters, "
        f"{', '.join(bundle.variants)}"
    )
