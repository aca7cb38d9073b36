"""Before a command runs: what is secret in its arguments is known, and hidden wherever it shows.

Errors, notes and FFmpeg's words are cleaned where they are made (`adcvsr.redaction`); here are the
places outside of them: tracebacks, and the list of processes that every user of a machine can read.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from ..redaction import HIDDEN, learn, learn_piece, shown, without_secrets

SOURCE_VARIABLE, SINK_VARIABLE = "ADCVSR_SOURCE", "ADCVSR_SINK"
TOKEN_VARIABLE = "ADCVSR_PAGE_TOKEN"

_ARGUMENTS_BEGIN, _ARGUMENTS_END = 45, 46
"""Fields 48 and 49 of proc_pid_stat(5), counted from the one behind the program's name."""


def guard_secrets(arguments: Iterable[str]) -> None:
    """Learn what is secret in arguments and environment, and keep it out of sight.

    Args:
        arguments: Of the command line.
    """
    arguments = list(arguments)
    for text in arguments:
        learn(text)
    for variable in (SOURCE_VARIABLE, SINK_VARIABLE):
        learn(os.environ.get(variable, ""))
    learn_piece(os.environ.get(TOKEN_VARIABLE, ""))
    if any(HIDDEN in _shown_argument(text) for text in arguments):
        hide_in_process_list()
    sys.excepthook = _print_traceback
    threading.excepthook = lambda args: _print_traceback(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


def hide_in_process_list() -> bool:
    """Overwrite this process's own arguments as `ps` shows them; whether that worked.

    Linux lets a process do so; elsewhere, and for the moment until this runs, they can be seen.
    """
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        begin, end = int(fields[_ARGUMENTS_BEGIN]), int(fields[_ARGUMENTS_END])
    except (OSError, ValueError, IndexError):
        return False
    if not 0 < begin < end:
        return False
    before = ctypes.string_at(begin, end - begin)
    after = b"\0".join(_blackened(argument) for argument in before.split(b"\0"))
    if len(after) != len(before):
        return False
    ctypes.memmove(begin, after, len(after))
    return True


def _blackened(argument: bytes) -> bytes:
    """An argument of the same length: as it may be shown, or nothing of it."""
    text = os.fsdecode(argument)
    visible = os.fsencode(_shown_argument(text))
    if visible == argument:
        return argument
    return visible.ljust(len(argument))[: len(argument)]


def _shown_argument(text: str) -> str:
    """An argument as it may be shown: an address, or `--option=address`."""
    option, mark, value = text.partition("=")
    if option.startswith("-") and mark:
        return option + mark + shown(value)
    return shown(text)


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_secrets("".join(lines)))
