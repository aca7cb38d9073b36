"""What the command line says beside its results, and how much of it: `-q` and `-v`.

Results go to stdout, all else to stderr, so that stdout can be read by programs:

    note("10 bits reduced to 8")       # stderr, not with -q
    detail("cuda: no driver")          # stderr, with -v alone
    done("out.mp4: 50 frames")         # stdout, not with -q: what a command that writes files did
    print_json(report)                 # stdout, always: it was asked for
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from ..counted import counted
from ..errors import BatchError
from ..redaction import without_secrets
from ._terminal import clean, one_line, raw

QUIET, NORMAL, VERBOSE = -1, 0, 1


class _Voice:
    """How much is said in this process; threads of a run share it."""

    def __init__(self) -> None:
        self.level = NORMAL
        self.said: set[str] = set()
        self.keeps_stdout = False


_voice = _Voice()


def start_speaking() -> None:
    """Begin a command: as much as usual, and nothing said yet."""
    _voice.level = NORMAL
    _voice.said.clear()
    _voice.keeps_stdout = False


def keep_stdout() -> None:
    """Leave stdout to the frames that are written there: all else goes to stderr."""
    _voice.keeps_stdout = True


def set_level(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Take `-q` or `-v`; the callback of both.

    Raises:
        click.UsageError: Both were given.
    """
    if not value:
        return
    level = QUIET if parameter.name == "quiet" else VERBOSE
    if _voice.level not in (NORMAL, level):
        raise click.UsageError("give either --quiet or --verbose")
    _voice.level = level


def level_options() -> list[click.Option]:
    """`-q` and `-v`, which every command takes."""
    return [
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=set_level,
            help="Print errors only, besides the result.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=set_level,
            help="Print more: every reason, every time.",
        ),
    ]


def is_quiet() -> bool:
    """Whether `-q` was given."""
    return _voice.level == QUIET


def is_verbose() -> bool:
    """Whether `-v` was given."""
    return _voice.level == VERBOSE


def shows_progress() -> bool:
    """Whether a display that is written over has a terminal to be on, and is wanted."""
    return not is_quiet() and sys.stderr.isatty()


def say(line: str) -> None:
    """Print a line to stderr, unless `-q`."""
    if not is_quiet():
        click.echo(line, err=True)


def note(text: str) -> None:
    """Say what a user should know, on stderr: once in a run, with `-v` every time."""
    if text not in _voice.said or is_verbose():
        say(f"note: {text}")
    _voice.said.add(text)


def say_error(text: str) -> None:
    """Say what went wrong in one line, on stderr, also with `-q`."""
    click.echo(f"error: {without_secrets(one_line(text))}", err=True)


def failed_files(files: Sequence[str], count: int) -> BatchError:
    """The error that ends a run over files of which some failed.

    Args:
        files: Those that failed.
        count: All files.
    """
    names = ", ".join(Path(file).name for file in files)
    return BatchError(f"{len(files)} of {count} files failed: {names}")


def warn(text: str) -> None:
    """Say what makes results doubtful, on stderr and in yellow on a terminal."""
    if not is_quiet():
        click.secho(clean(text), file=raw(sys.stderr), fg="yellow")


def detail(text: str) -> None:
    """Say a note with `-v` alone."""
    if is_verbose():
        note(text)


def done(text: str) -> None:
    """Say on stdout what a command that writes files did, unless `-q`."""
    if not is_quiet():
        click.echo(text, err=_voice.keeps_stdout)


def print_json(values: Any, *, indent: int | None = 1) -> None:
    """Print one JSON object to stdout; figures that JSON has no word for are a bug of ours."""
    click.echo(json.dumps(values, indent=indent, allow_nan=False))


REMEMBERED = "(measured before)"
"""Ends the reason for a variant that was measured, and said, by an earlier run."""


def pixels_line(
    pixels: str,
    reason: str,
    copies: tuple[int | None, int | None],
    gpu_copies: Sequence[int] | None,
) -> str:
    """What frames were on their way, as a report has it, for people.

    Args:
        pixels: Of the report.
        reason: Of the report.
        copies: Of a picture, from decoder to network and from network to encoder.
        gpu_copies: Of the report.
    """
    told = [
        f"{counted(count, 'copy', 'copies')} {way}"
        for count, way in zip(copies, ("in", "out"), strict=True)
        if count is not None
    ]
    if gpu_copies is not None:
        told.append("{} more to the GPU, {} back".format(*gpu_copies))
    counts = f" ({', '.join(told)})" if told else ""
    if pixels == "yuv":
        return f"frames are YUV 4:2:0 from the decoder to the encoder{counts}"
    return f"frames are RGB between decoder and encoder{counts}: {reason}"


def run_notes(notes: Iterable[str], reasons: Iterable[str], *, once: bool = True) -> None:
    """Say a run's notes; what every run would repeat is one line, or none, without `-v`.

    Args:
        notes: Of a report.
        reasons: Why `auto` took no better backend, as the report has them.
        once: Whether a note that was said before is not said again.
    """
    known = {f"not on {reason}" for reason in reasons}
    passed_over = []
    for text in notes:
        if text in known and not is_verbose():
            passed_over.append(text.removeprefix("not on ").partition(":")[0])
        elif text.startswith("variant ") and text.endswith(REMEMBERED):
            detail(text)
        elif once:
            note(text)
        else:
            say(f"note: {text}")
    if passed_over:
        note(f"a GPU seems to be here, and not used: {', '.join(passed_over)}; -v says why")
