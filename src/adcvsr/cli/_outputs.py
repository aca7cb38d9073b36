"""No output of a command may be an input or another output, and each has its folder: for all."""

from __future__ import annotations

import functools
import glob
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..errors import OutputNotWritableError
from ..files import check_folder, linked_file

OUTPUTS = frozenset(
    {
        "compare",
        "file",
        "layers_path",
        "output",
        "sinks",
        "stats_jsonl",
        "strip_path",
        "timing_cache",
        "trace_path",
    }
)
"""Parameters that name what is written; all others may name what is read."""


def guard(command: click.Command) -> click.Command:
    """Have a command, and those below it, check its outputs before it runs."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            guard(below)
    elif command.callback is not None and not hasattr(command.callback, "checks_outputs"):
        run = command.callback

        @functools.wraps(run)
        def checked(*values: Any, **named: Any) -> Any:
            check_outputs(click.get_current_context())
            return run(*values, **named)

        checked.checks_outputs = True  # type: ignore[attr-defined]
        command.callback = checked
    return command


def check_outputs(context: click.Context) -> None:
    """Refuse outputs that are inputs, whatever --overwrite says, and files that have no folder.

    Raises:
        OutputNotWritableError: One is an input, two are one file, or a file's folder is missing or
            not writable.
    """
    labels = {p.name: _label(p) for p in context.command.params if p.name}
    outputs = [
        (name, path)
        for name, value in context.params.items()
        if name in OUTPUTS
        for path in _paths(value)
    ]
    inputs = [
        path
        for name, value in context.params.items()
        if name not in OUTPUTS
        for path in _paths(value)
    ]
    for index, (name, path) in enumerate(outputs):
        if path.is_file() and any(_is_read(path, each, name) for each in inputs):
            raise OutputNotWritableError(
                f"{labels[name]} '{path}' is the input; choose another name"
            )
        for other, its in outputs[:index]:
            if path.resolve() == its.resolve():
                raise OutputNotWritableError(
                    f"{labels[other]} and {labels[name]} are both '{path}'; give each a name of "
                    "its own"
                )
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in OUTPUTS and isinstance(value, Path) and _is_file(parameter):
            check_folder(linked_file(value).parent)


def _is_file(parameter: click.Parameter) -> bool:
    """Whether an option names a file and nothing else."""
    return isinstance(parameter.type, click.Path) and not parameter.type.dir_okay


def _label(parameter: click.Parameter) -> str:
    return parameter.opts[-1] if isinstance(parameter, click.Option) else "output"


def _paths(value: Any) -> Iterator[Path]:
    """The paths a parameter may mean: itself, its items, the file of a source's address."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, str) and re.match(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]+:/|gst:", value):
        return  # a place that is no file
    elif isinstance(value, str) and value and "\0" not in value:
        yield Path(re.sub(r"^file:(//)?([^?]*).*", r"\2", value) if "file:" in value[:5] else value)
    elif isinstance(value, tuple):
        for each in value:
            yield from _paths(each)


def _is_read(path: Path, source: Path, name: str) -> bool:
    """Whether an existing file is what an input means, or one of the media in its folder."""
    try:
        if source.is_file():
            return path.samefile(source)
        if source.is_dir():
            from ..pictures.clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES  # FFmpeg: not for --help

            media = name != "output" and path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
            return media and source.resolve() in path.resolve().parents
    except OSError:  # too long for a name, or not ours to look at
        return False
    text = str(source)
    if not any(mark in text for mark in "*?["):
        return False
    return any(path.samefile(each) for each in glob.glob(text, recursive=True))
