"""`adcvsr targets`: the device table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ._options import json_option
from ._say import print_json

if TYPE_CHECKING:
    from ..targets import Target


@click.command()
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the devices networks are planned and built for, or one with the source of each figure.

    TOPS are peaks without sparsity, accumulated in FP32.
    """
    from ..targets import TARGETS, target
    from ..targets.text import describe, table, target_dict

    chosen: list[Target] = [target(name)] if name else list(TARGETS.values())
    if as_json:
        print_json({"targets": [target_dict(each) for each in chosen]})
        return
    for line in describe(chosen[0]) if name else table(chosen):
        click.echo(line)
