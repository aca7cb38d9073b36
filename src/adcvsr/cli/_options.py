"""Options that mean the same in every command."""

from __future__ import annotations

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
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
