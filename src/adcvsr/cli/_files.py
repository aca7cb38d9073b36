"""The option of commands that write what they found as JSON, to a file or to stdout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

STDOUT = "-"

Check = Callable[[click.Context, click.Parameter, "str | None"], "str | None"]


def check_json(argument: str) -> Check:
    """Refuse a bare --json before the command's argument, which it would take for its file.

    Args:
        argument: As the usage line names it.
    """

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and value != STDOUT and not value.endswith(".json"):
            raise click.BadParameter(
                f"expected a file ending in .json, got '{value}'; for stdout put --json last, "
                f"after {argument}, or write --json=-"
            )
        return value

    return check


def json_file_option(check: Check) -> Callable[[Any], Any]:
    """`--json [FILE.json]`."""
    return click.option(
        "--json",
        "json_path",
        metavar="[FILE.json]",
        is_flag=False,
        flag_value=STDOUT,
        callback=check,
        is_eager=True,  # before arguments are missed
        help="Write everything as JSON, to stdout without a name.",
    )
