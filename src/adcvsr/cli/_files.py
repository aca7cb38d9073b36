"""The option of commands that keep what they measured as a file, for programs and comparisons."""

from __future__ import annotations

from pathlib import Path

import click


def _check_ending(
    context: click.Context, parameter: click.Parameter, value: Path | None
) -> Path | None:
    if value is not None and value.suffix.lower() != ".json":
        raise click.BadParameter(f"expected a file ending in .json, got '{value}'")
    return value


result_file_option = click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE.json",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=_check_ending,
    help="Also write everything that was measured to a file.",
)
