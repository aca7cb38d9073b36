"""Options that mean the same in every command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ConfigError
from ..variants import BACKENDS

if TYPE_CHECKING:
    from ..pictures.crop import Crop

BACKEND_NAMES = ("auto", *BACKENDS)


def _read_crop(text: str) -> Crop:
    """Read a part of a picture; an option's `type`."""
    from ..pictures.crop import Crop

    try:
        return Crop.parse(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error


model_option = click.option(
    "--model",
    metavar="NAME|BUNDLE",
    default="nano",
    show_default=True,
    help="A name from 'adcvsr models' or a bundle's path.",
)
MODEL_VARIABLE = "ADCVSR_MODEL"
auto_model_option = click.option(
    "--model",
    metavar="NAME|BUNDLE",
    default="auto",
    show_default=True,
    envvar=MODEL_VARIABLE,
    show_envvar=True,
    help="A name from 'adcvsr models' or a bundle's path; auto takes the best-looking student that "
    "needs at most 4 times as long as the video plays, and says which.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    default="auto",
    show_default=True,
    help="What runs the network.",
)
variant_option = click.option(
    "--variant",
    metavar="ID|PRECISION",
    help="int8-ort, or int8 for the one made for the backend [default: the backend's].",
)
cut_reset_option = click.option(
    "--cut-reset/--no-cut-reset",
    default=True,
    show_default=True,
    help="Forget the past at scene cuts.",
)
pixels_option = click.option(
    "--pixels",
    type=click.Choice(["auto", "rgb", "yuv"]),
    default="auto",
    show_default=True,
    help="What frames are between decoder and encoder: YUV 4:2:0, which is faster, or RGB; "
    "auto is YUV where it is possible, and -v says why not.",
)
hdr_option = click.option(
    "--hdr",
    type=click.Choice(["keep", "tonemap", "refuse"]),
    default="keep",
    show_default=True,
    help="Write HDR (PQ, HLG) as it is, make SDR of it, or refuse it.",
)
bits_option = click.option(
    "--bits",
    type=click.Choice(["auto", "8", "10"]),
    default="auto",
    show_default=True,
    callback=lambda _context, _option, value: None if value == "auto" else int(value),
    help="Bits of each value in the output: as in the input where the encoder can, or 8, or 10.",
)
crop_option = click.option(
    "--crop",
    type=_read_crop,
    metavar="WxH+X+Y",
    help="Upscale this part of the picture alone: width, height, left and top in pixels.",
)
bundle_output_option = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="BUNDLE",
    help="Directory to write, or a .zip file.",
)
dla_option = click.option(
    "--dla",
    type=click.IntRange(0),
    metavar="CORE",
    help="TensorRT 11.4.1 on AGX Orin: run on this DLA core; what it cannot run is an error.",
)
dla_fallback_option = click.option(
    "--dla-fallback",
    is_flag=True,
    help="With --dla: run on the GPU what the DLA cannot, with a note.",
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object to stdout, and nothing else."
)


def _split_commas(
    context: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(part.strip() for text in value for part in text.split(",") if part.strip())


def variants_option(text: str) -> Callable[[Any], Any]:
    """`--variant` where there may be several, repeated or with commas.

    Args:
        text: What several mean to the command, and which are taken unasked.
    """
    return click.option(
        "--variant",
        "variants",
        metavar="ID|PRECISION",
        multiple=True,
        callback=_split_commas,
        help=f"int8-ort, or int8; with commas or repeated: {text}",
    )


def output_size_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--scale`, `--height`, `--output-size` and `--fit`; `read_output_size` reads them."""
    for each in (
        click.option(
            "--fit", is_flag=True, help="Take the largest size of the picture's shape within WxH."
        ),
        click.option(
            "--output-size",
            type=read_size,
            metavar="WxH",
            help="Width and height of the output in pixels, upright.",
        ),
        click.option(
            "--height", type=int, metavar="PX", help="Height of the output; the width follows."
        ),
        click.option(
            "--scale",
            type=click.Choice(["2", "3", "4"]),
            help="How many times the input's size is written; the network's picture is reduced to "
            "it [default: 4].",
        ),
    ):
        command = each(command)
    return command


def read_output_size(options: dict[str, Any]) -> Any:
    """Take the options of `output_size_options` out and make an `OutputSize`; None without any.

    Raises:
        ConfigError: They make no sense together.
    """
    scale, height, size, fit = (options.pop(n) for n in ("scale", "height", "output_size", "fit"))
    if scale is None and height is None and size is None and not fit:
        return None
    from ..pictures.output_size import OutputSize

    scale = None if scale is None else int(scale)
    return OutputSize(scale=scale, height=height, size=size, fit=fit)


def read_size(text: str) -> tuple[int, int]:
    """Read an input size in pixels, `320x180`, as (width, height); an option's `type`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if match is None:
        raise click.BadParameter(f"'{text}' is no size; expected WIDTHxHEIGHT, such as 320x180")
    return int(match[1]), int(match[2])
