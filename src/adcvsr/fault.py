"""What becomes of an exception that nobody expected: one line, and a file to send.

A traceback tells a user nothing, and is needed to find the fault. It goes into a file that only its
owner can read, without the passwords and tokens of addresses.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from .interrupts import is_of_signals
from .redaction import without_secrets
from .version import __version__

PACKAGES = ("av", "numpy", "onnxruntime", "onnxruntime-gpu", "onnx", "torch", "click", "rich")
"""Whose versions are written down, where they are installed."""

_WORDS_CHARS = 200
_QUERY = re.compile(r"(?P<address>[A-Za-z][A-Za-z0-9+.-]*:/{1,2}[^\s'\"?]*)\?[^\s'\"]*")
_NAMED = re.compile(
    r"(?i)(?P<name>[\w-]*(?:passw(?:or)?d|passwd|secret|token|credential|api-?key)[\w-]*"
    r"['\"]?\s*[=:,]?\s*['\"]?)[^\s'\",;)\]]+"
)


def without_any_secret(text: str) -> str:
    """Hide what `redaction` hides, every query, and what is named like a secret: it may be sent."""
    text = _QUERY.sub(r"\g<address>?***", without_secrets(text))
    return _NAMED.sub(r"\g<name>***", text)


def fault_line(error: BaseException, arguments: Sequence[str] | None = None) -> str:
    """Write the traceback to a file; return the one line that names it.

    Args:
        error: Unexpected: neither ours nor the system's.
        arguments: How the program was called; the process's own by default.
    """
    words = without_any_secret(" ".join(str(error).split()))[:_WORDS_CHARS]
    kind = type(error).__name__
    what = f"{kind}: {words}" if words else kind
    text = _describe(error, sys.argv if arguments is None else arguments)
    try:
        path = _write(text)
    except OSError as refused:
        return (
            f"this should not have happened ({what}): a fault of adcvsr. Its details could not be "
            f"written ({refused.strerror or refused}); set TMPDIR to a folder "
            "that can be written, run it again, and send the file"
        )
    return (
        f"this should not have happened ({what}): a fault of adcvsr. Please send '{path}', which "
        "has no passwords, and if you may the file it happened with"
    )


def guard_threads(say: Callable[[str], None]) -> None:
    """Give what threads and finalizers raise the same line instead of a traceback.

    Args:
        say: Shows a line to the user.
    """

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            say(fault_line(args.exc_value))

    before = sys.unraisablehook

    def in_finalizer(args: sys.UnraisableHookArgs) -> None:
        if is_of_signals(args.exc_value):
            before(args)
        elif args.exc_value is not None:
            say(fault_line(args.exc_value))

    def anywhere(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        say("interrupted" if isinstance(error, KeyboardInterrupt) else fault_line(error))

    threading.excepthook, sys.unraisablehook, sys.excepthook = in_thread, in_finalizer, anywhere


def _describe(error: BaseException, arguments: Sequence[str]) -> str:
    import platform
    import traceback
    from importlib import metadata

    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    lines = [
        f"adcvsr {__version__}, Python {platform.python_version()}, {platform.platform()}",
        ", ".join(found),
        f"called as: {' '.join(arguments)}",
        "",
        "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    ]
    return without_any_secret("\n".join(lines))


def _write(text: str) -> str:
    import tempfile

    stamp = time.strftime("%Y%m%d-%H%M%S")
    handle, path = tempfile.mkstemp(prefix=f"adcvsr-fault-{stamp}-", suffix=".txt")  # mode 600
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path
