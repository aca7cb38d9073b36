"""Options that mean the same in every command."""

from __future__ import annotations

import re

import click

# Held beside adcvsr.runtime.backends.BACKENDS by a test; importing it here would load the runtime.
BACKEND_NAMES = ("auto", "tensorrt", "tensorrt-rtx", "ort-cuda", "ort-cpu")

model_option = click.option(
    "--model",
    metavar="NAME|BUNDLE",
    default="nano",
    show_default=True,
    help="A name from 'adcvsr models' or a bundle's path.",
)
backend_option = click.option(
    "--backend",
    type=click.Choice(BACKEND_NAMES),
    default="auto",
    show_default=True,
    help="What runs the network.",
)
variant_option = click.option(
    "--variant", metavar="ID", help="Variant of the bundle [default: the backend's]."
)
cut_reset_option = click.option(
    "--cut-reset/--no-cut-reset",
    default=True,
    show_default=True,
    help="Start the network anew at scene cuts.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def read_size(text: str) -> tuple[int, int]:
    """Read an input size in pixels, `320x180`, as (width, height); an option's `type`."""
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if match is None:
        raise click.BadParameter(f"'{text}' is no size; expected WIDTHxHEIGHT, such as 320x180")
    return int(match[1]), int(match[2])
