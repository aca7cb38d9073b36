"""What a path of an input or output can mean beside a file: a pipe, or numbered pictures."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import InputNotFoundError, UnreadableVideoError
from ...pictures.clips import IMAGE_SUFFIXES

PIPE = Path("-")
"""Standard input or output."""

WRITTEN_PICTURES = {".png": "png", ".jpg": "mjpeg", ".jpeg": "mjpeg"}
"""Pictures by file name ending, and the encoder of each."""

NUMBER = re.compile(r"%(0?)(\d*)d")
"""Of a sequence's name: `frame_%05d.png`, as FFmpeg has it."""

MOST_NAMED = 3
"""Numbers that a message names."""


def is_pipe(path: Path) -> bool:
    """Whether a path means standard input or output."""
    return path == PIPE


def is_sequence(path: Path) -> bool:
    """Whether a path means numbered pictures, and is not the name of a file itself."""
    known = path.suffix.lower() in IMAGE_SUFFIXES
    return known and len(NUMBER.findall(path.name)) == 1 and not path.exists()


def is_written_as_pictures(path: Path) -> bool:
    """Whether an output is a picture or numbered ones."""
    return path.suffix.lower() in WRITTEN_PICTURES


@dataclass(frozen=True)
class Numbered:
    """The files of a sequence."""

    path: Path
    """With `%05d` in its name."""

    first: int
    """The least number of a file."""

    count: int

    @classmethod
    def find(cls, path: Path) -> Numbered:
        """Look for the files.

        Raises:
            InputNotFoundError: There are none.
            UnreadableVideoError: Numbers are missing between them.
        """
        numbers = numbers_there(path)
        if not numbers:
            raise InputNotFoundError(f"no file '{path}': the folder holds no picture of that name")
        first, last = numbers[0], numbers[-1]
        there = set(numbers)
        if gaps := [number for number in range(first, last + 1) if number not in there]:
            named = ", ".join(numbered(path, number).name for number in gaps[:MOST_NAMED])
            missing = "one is" if len(gaps) == 1 else f"{len(gaps)} are"
            more = f" and {len(gaps) - MOST_NAMED} more" if len(gaps) > MOST_NAMED else ""
            raise UnreadableVideoError(
                f"'{path}': of the numbers {first} to {last}, {missing} missing ({named}"
                f"{more}); expected them without gaps: add them, or number the pictures again"
            )
        return cls(path, first, len(numbers))


def numbers_there(path: Path) -> Sequence[int]:
    """Numbers of the files that a sequence's name means, in order."""
    before, zero, digits, after = _parts(path)
    width = int(digits or 0)
    pattern = re.compile(f"{re.escape(before)}(\\d+){re.escape(after)}")
    found = []
    try:
        names = os.listdir(path.parent)
    except OSError:
        return []
    for name in names:
        match = pattern.fullmatch(name)
        if match is not None and name == _name(before, zero, width, int(match[1]), after):
            found.append(int(match[1]))
    return sorted(found)


def numbered(path: Path, number: int) -> Path:
    """The file of a number."""
    before, zero, digits, after = _parts(path)
    return path.with_name(_name(before, zero, int(digits or 0), number, after))


def _parts(path: Path) -> tuple[str, str, str, str]:
    found = NUMBER.search(path.name)
    assert found is not None
    return path.name[: found.start()], found[1], found[2], path.name[found.end() :]


def _name(before: str, zero: str, width: int, number: int, after: str) -> str:
    return f"{before}{str(number).rjust(width, '0' if zero else ' ')}{after}"
