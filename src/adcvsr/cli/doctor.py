"""`adcvsr doctor`: what this machine is and what runs on it."""

from __future__ import annotations

import sys

import click

from ..variants import BACKENDS
from ._options import json_option
from ._say import print_json


@click.command()
@click.option(
    "--require",
    type=click.Choice(BACKENDS),
    multiple=True,
    help="Exit 1 unless this backend was seen to work; may be given several times.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0.1),
    metavar="SECONDS",
    help="How long libraries may take to load [default: 1.2].",
)
@json_option
def command(require: tuple[str, ...], wait: float | None, as_json: bool) -> None:
    """Look at this machine: what it is, what runs on it, and how to get what is missing.

    Exits 0 whatever it finds, unless --require asks for more.
    """
    from ..runtime.doctor.doctor import WAIT_S, examine
    from ..runtime.doctor.text import report_lines

    report = examine(wait_s=wait or WAIT_S)
    if as_json:
        print_json(report.to_dict())
    else:
        for line in report_lines(report, lambda text, colour: click.style(text, fg=colour or None)):
            click.echo(line)
    missing = [
        each for each in report.verdict.backends if each.name in require and each.runs != "yes"
    ]
    for each in missing:
        why = f"{each.why}; {each.fix}" if each.fix else each.why
        click.echo(f"error: {each.name} was not seen to work here: {why}", err=True)
    if missing:
        sys.exit(1)
