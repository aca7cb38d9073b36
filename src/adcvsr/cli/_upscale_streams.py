"""`adcvsr upscale` with an address at either end: every frame goes the way of `live`.

Sources and sinks of `live` are those of `upscale` by that; nothing is dropped, and no file waits
for its pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..given import STREAM
from ._say import note

CONVERTED = frozenset({"paths", "duration"})
"""Of `upscale`, taken for an end or in another form in `live`."""


def has_stream(paths: tuple[str, ...]) -> bool:
    """Whether frames come from an address that `live` reads, or go to one."""
    from ..runtime.live.source import SOURCES

    scheme = paths[0].partition(":")[0].lower()
    return _is_address(paths[-1]) or (_is_address(paths[0]) and scheme in SOURCES)


def upscale_stream(paths: tuple[str, ...], options: Mapping[str, Any]) -> None:
    """Upscale from one place to another, every frame.

    Args:
        paths: The input and the output.
        options: All of the command's.

    Raises:
        click.UsageError: There are not two places, or an option is for files alone.
    """
    from .live import command as live

    if len(paths) != 2:
        raise click.UsageError("an address is one end of two: name one INPUT and one OUTPUT")
    context = click.get_current_context()
    same = shared_options(context.command, live)
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and parameter.expose_value and name not in same | CONVERTED:
            raise click.UsageError(
                f"{parameter.opts[-1]} is for files: leave it out where an end is an address"
            )
    source, sink = paths
    if not _is_address(source) and source != "-":
        source = f"file:{source}?pace=0"
        note("sound, subtitles and chapters stay behind: OUTPUT is a stream of pictures")
    duration = options["duration"]
    context.invoke(
        live,
        source=source,
        sinks=(sink,),
        policy="every",
        duration=None if duration is None else float(duration),
        **{name: value for name, value in options.items() if name in same},
    )


def shared_options(upscale: click.Command, live: click.Command) -> frozenset[str]:
    """Names of the options that both commands have, in the same form."""
    mine, theirs = ({each.name or "" for each in command.params} for command in (upscale, live))
    return frozenset(mine & theirs) - CONVERTED


def _is_address(text: str) -> bool:
    return bool(STREAM.match(text)) and not Path(text).exists()
