"""`adcvsr models`: the bundles at hand."""

from __future__ import annotations

import json

import click

from ._terminal import one_line


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List the bundles at hand: shipped ones, and those in the folders of $ADCVSR_MODELS.

    What lies there and cannot be used is listed as BAD, with the reason.
    """
    from ..bundle import describe, find_bundles

    bundles, bad = find_bundles()
    rows = [describe(bundle) for bundle in bundles]
    if as_json:
        left_out = [{"path": str(each.path), "reason": each.reason} for each in bad]
        click.echo(json.dumps({"models": rows, "bad": left_out}, indent=1))
        return
    for row in rows:
        variants = ", ".join(row["variants"])
        kind = "" if row["trained"] else "  (untrained)"
        click.echo(f"{row['name']:12} {row['parameters']:>12,} parameters  {variants}{kind}")
        click.echo(f"{'':12} {row['path']}")
    for each in bad:
        click.echo(f"{each.path.name:12} BAD, not usable: {one_line(each.reason)}")
