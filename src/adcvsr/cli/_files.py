"""The option of commands that keep what they measured as a file, for programs and comparisons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def check_ending(ending: str) -> Callable[[click.Context, click.Parameter, Path | None], Any]:
    """A callback that refuses a file of another ending, such as `.json`."""

    def check(
        context: click.Context, parameter: click.Parameter, value: Path | None
    ) -> Path | None:
        if value is not None and value.suffix.lower() != ending:
            raise click.BadParameter(f"expected a file ending in {ending}, got '{value}'")
        return value

    return check


result_file_option = click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_ending(".json"),
    help="Also write everything that was measured to a file.",
)
