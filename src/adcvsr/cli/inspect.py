"""`adcvsr inspect`: what a bundle is, holds and promises."""

from __future__ import annotations

import click

from ._options import json_option, read_size
from ._say import print_json


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.option(
    "--size",
    type=read_size,
    metavar="WxH",
    help="Also count what a frame of this size costs, from the graphs.",
)
@json_option
def command(bundle: str, size: tuple[int, int] | None, as_json: bool) -> None:
    """Show a bundle: graphs, tensors, variants with their proof, licences, files.

    Every file is read and held against its hash; a damaged one is named, exit 1.
    """
    from ..bundle import open_bundle
    from ..errors import BundleError
    from ._bundle_text import inspect_bundle, lines

    opened = open_bundle(bundle)
    facts = inspect_bundle(opened, size=None if size is None else (size[1], size[0]))
    if as_json:
        print_json(facts)
    else:
        for line in lines(facts):
            click.echo(line)
    damaged = [name for name, file in facts["files"].items() if not file["intact"]]
    if damaged:
        raise BundleError(
            f"'{opened.path}': {len(damaged)} of {len(facts['files'])} files damaged: "
            f"{', '.join(damaged)}; get the bundle again"
        )
