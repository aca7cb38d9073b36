"""Options that mean the same in every command."""

from __future__ import annotations

import re
from typing import Any

import click

# Held beside adcvsr.runtime.backends.BACKENDS by a test; importing it here would load the runtime.
BACKEND_NAMES = ("auto", "ort-cpu")

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


class SizeType(click.ParamType):
    """An input size in pixels, `320x180`, as (width, height)."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Read the text; a usage error where it is none."""
        match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", str(value).strip().lower())
        if match is None:
            self.fail(f"'{value}' is no size; expected WIDTHxHEIGHT, such as 320x180", param, ctx)
        return int(match[1]), int(match[2])
