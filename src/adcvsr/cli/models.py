"""`adcvsr models`: the bundles at hand."""

from __future__ import annotations

import json

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> None:
    """List the bundles at hand: shipped ones, and those in the folders of $ADCVSR_MODELS."""
    from ..bundle import describe, list_bundles

    rows = [describe(b) for b in list_bundles(lambda line: click.echo(line, err=True))]
    if as_json:
        click.echo(json.dumps({"models": rows}, indent=1))
        return
    for row in rows:
        variants = ", ".join(row["variants"])
        kind = "" if row["trained"] else "  (untrained)"
        click.echo(f"{row['name']:12} {row['parameters']:>12,} parameters  {variants}{kind}")
        click.echo(f"{'':12} {row['path']}")
