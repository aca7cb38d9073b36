r"""Text that reaches a terminal: what would steer it is shown instead of done.

File names, titles in containers, fields of manifests and answers of servers come from anywhere, and
a terminal obeys what they hold: escape sequences move the cursor, hide text, set titles or answer
in the user's name. So both streams are replaced once, where the command line starts, and whatever
is written to them passes here. Our own sequences go to the stream behind.

    with clean_streams():
        sys.stdout.write("a" + chr(27) + "[2J")  # shows a\x1b[2J
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # controls but tab and line feed
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # reading direction, and further line ends
    "\ud800-\udfff\ufeff\U000e0000-\U000e007f]"  # bytes that are no text, and what nobody sees
)


def clean(text: str) -> str:
    r"""A text with `\x1b` in the place of an escape, and so for all that steers a terminal."""
    return _STEERING.sub(_shown, text)


def one_line(text: str) -> str:
    """A text without line ends, for messages that are one line by contract."""
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _shown(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00  # a byte of a file's name that is no UTF-8
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class CleanStream:
    """A text stream whose writes are cleaned; all else is the stream's behind it.

    It has no `buffer`: what writes bytes would go round it.
    """

    def __init__(self, behind: TextIO) -> None:
        self.behind = behind

    def write(self, text: str) -> int:
        """Write a text, cleaned."""
        self.behind.write(clean(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write texts, cleaned."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in ("buffer", "detach"):
            raise AttributeError(name)
        return getattr(self.behind, name)


def raw(stream: TextIO) -> TextIO:
    """The stream behind, for sequences of our own."""
    return stream.behind if isinstance(stream, CleanStream) else stream


@contextmanager
def progress(*columns: Any, transient: bool = True) -> Iterator[Any]:
    """Show rich's progress on stderr; what is written beside it is cleaned too."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=raw(sys.stderr))
    with Progress(*columns, console=console, transient=transient) as bar, clean_streams():
        yield bar


@contextmanager
def clean_streams() -> Iterator[None]:
    """Clean what is written to stdout and stderr."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast("TextIO", CleanStream(each)) for each in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
