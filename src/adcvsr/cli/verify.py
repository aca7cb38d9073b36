"""`adcvsr verify`: whether a bundle is what it was when it was proven, here."""

from __future__ import annotations

import sys

import click

from ._options import backend_option, json_option, variants_option
from ._say import print_json

EXIT_CODES = {"passed": 0, "failed": 1, "not judged": 3}


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@backend_option
@variants_option("only these [default: all].")
@json_option
def command(bundle: str, backend: str, variants: tuple[str, ...], as_json: bool) -> None:
    """Re-hash every file of a bundle and run its golden clip through its variants on this machine.

    FP32 may be off by the bundle's level error, others are held to the figures in their manifest,
    and to the limits of their statement on the runs that decided it, where they have one. A variant
    that this backend cannot judge has not passed; the output gives the reason.

    Exits 0 where everything passed, 1 where anything failed, 3 where nothing failed but something
    could not be judged.
    """
    from ..bundle import open_bundle
    from ..runtime.proof.verify import verify_bundle

    found = verify_bundle(open_bundle(bundle), backend=backend, variants=variants)
    if as_json:
        print_json(found.to_json())
    else:
        for line in found.lines():
            click.echo(line)
    sys.exit(EXIT_CODES[found.outcome])
