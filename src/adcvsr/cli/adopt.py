"""`adcvsr adopt MODEL -o BUNDLE`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ._options import bundle_output_option, json_option
from ._say import done, print_json, say

# Held beside adcvsr.export.adopt by a test; importing it here costs start time.
RANGES = ("0-1", "-1-1", "0-255")
LAYOUTS = ("NCHW", "NHWC")
COLOURS = ("RGB", "BGR", "YUV")


def _pair(text: str) -> tuple[str, str]:
    """INPUT=OUTPUT as two names."""
    given, _, made = text.partition("=")
    if not given or not made:
        raise click.BadParameter(f"'{text}' is not INPUT=OUTPUT")
    return given, made


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@bundle_output_option
@click.option("--name", help="The bundle's name [default: the file's].")
@click.option(
    "--licence",
    metavar="NAME|FILE",
    help="Licence of the network: a name such as BSD-3-Clause, or a file of its text "
    "to put into the bundle [default: a known network's own].",
)
@click.option("--scale", type=click.IntRange(1, 4), help="What it makes [default: found].")
@click.option("--range", type=click.Choice(RANGES), help="Range of its values [default: found].")
@click.option(
    "--layout", type=click.Choice(LAYOUTS), help="Layout of its pictures [default: found]."
)
@click.option(
    "--colour",
    type=click.Choice(COLOURS),
    help="Order of its colours; YUV is JPEG's and must be given [default: found].",
)
@click.option(
    "--state",
    multiple=True,
    metavar="INPUT=OUTPUT",
    callback=lambda _context, _option, values: tuple(map(_pair, values)),
    help="Output of an ONNX network that comes in again with the next frame; once for each "
    "[default: paired by name].",
)
@click.option(
    "--lookahead",
    type=click.IntRange(0, 64),
    default=0,
    metavar="FRAMES",
    help="For a network over clips: how many later frames a picture may wait for [default: 0].",
)
@click.option(
    "--window",
    type=click.IntRange(0, 4096),
    metavar="FRAMES",
    help="Run a network over clips in blended windows of this many frames, not as a stream; "
    "0 for what the file takes.",
)
@click.option(
    "--overlap",
    type=click.IntRange(0, 4095),
    metavar="FRAMES",
    help="Frames that neighbouring windows share [default: a third of the window].",
)
@click.option("--overwrite", is_flag=True, help="Replace BUNDLE if it exists.")
@json_option
def command(
    model: Path,
    output: Path,
    window: int | None,
    overlap: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a bundle of an upscaler trained elsewhere: ONNX, ncnn or PyTorch.

    MODEL has to make pictures 1 to 4 times as large, of one frame or of several; PyTorch's .pth and
    .safetensors need the extra 'spandrel'. Scale, sizes, range and
    colours are found by running it on a picture: its output, reduced, must resemble the input. The
    bundle takes uint8 frames of any size, and is held to the network over a clip (docs/adopt.md).
    """
    from ._torch import require_export

    require_export("adopt")
    from ..bundle import describe
    from ..bundle.schema import Window
    from ..export.adopt.adopt import AdoptOptions, adopt

    if overlap is not None and window is None:
        raise click.UsageError("--overlap is of windows: give --window, too")
    walk = None if window is None else Window(window, -1 if overlap is None else overlap)
    wanted = AdoptOptions(window=walk, **options)
    bundle = adopt(model, output, wanted, report=say if as_json else done)
    if as_json:
        print_json(describe(bundle))
        return
    done(
        f"{bundle.path}: {bundle.name}, x{bundle.scale}, {bundle.parameters:,} parameters, "
        f"{', '.join(bundle.variants)}"
    )
