"""`adcvsr models`: the bundles at hand."""

from __future__ import annotations

import textwrap
from typing import Any

import click

from ._options import json_option
from ._say import print_json
from ._terminal import one_line


@click.command()
@json_option
def command(as_json: bool) -> None:
    """List the bundles on this machine, and what each is for.

    They are the shipped ones, and those in the folders of $ADCVSR_MODELS. What lies there and
    cannot be used is listed as BAD, with the reason.
    """
    from ..bundle import describe, find_bundles
    from ..runtime.processing.students import FILES, STREAMS

    among = {"upscale": FILES.names, "live": STREAMS.names}
    bundles, bad = find_bundles()
    rows = [{**describe(each), "default_of": []} for each in bundles]
    for row in rows:
        row["default_of"] = [name for name, names in among.items() if row["name"] in names]
    if as_json:
        left_out = [{"path": str(each.path), "reason": each.reason} for each in bad]
        print_json({"models": rows, "bad": left_out})
        return
    for row in rows:
        _print(row)
    for each in bad:
        click.echo(f"{each.path.name:12} BAD, not usable: {one_line(each.reason)}")


def _print(row: dict[str, Any]) -> None:
    marks = (
        [f"one that --model auto of {' and '.join(row['default_of'])} takes"]
        if row["default_of"]
        else []
    )
    marks += [] if row["trained"] else ["untrained: its output is no picture"]
    mark = f"  ({'; '.join(marks)})" if marks else ""
    click.echo(f"{row['name']:12} {row['parameters']:>12,} parameters{mark}")
    for line in textwrap.wrap(row["purpose"] or "", 85):
        click.echo(f"{'':12} {line}")
    click.echo(f"{'':12} variants: {', '.join(row['variants'])}")
    click.echo(f"{'':12} {row['path']}")
