"""An output file's name: what may be written there, and how a finished file gets it."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import ConfigError, OutputExistsError, OutputNotWritableError
from ...files import check_new, linked_file
from ...leftovers import keep, part_beside, publish, recording_beside
from .encoders import EncodeOptions
from .places import WRITTEN_PICTURES, is_pipe, is_sequence, numbered, numbers_there

ENCODERS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".ts": "libx264",
    ".avi": "libx264",
    ".webm": "libvpx-vp9",
}
"""Output containers by file name ending, and the encoder each gets by default."""


def check_output(path: Path, options: EncodeOptions, source: Path | None = None) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Args:
        path: The output file.
        options: Of the sink.
        source: The input, which the output may not be.

    Raises:
        OutputExistsError: It exists and `options.overwrite` is off.
        OutputNotWritableError: Its folder is missing or not writable, or it is the input.
        ConfigError: Its ending names no known container.
    """
    if is_pipe(path):
        return
    if path.suffix.lower() not in {*ENCODERS, *WRITTEN_PICTURES}:
        raise ConfigError(
            f"output '{path}' {_ending(path)}; expected one of: "
            f"{', '.join([*ENCODERS, *WRITTEN_PICTURES])}, or - for standard output"
        )
    if "%" in path.name:
        _check_sequence(path, options)
    try:
        exists = path.exists()
        # Numbered pictures, and what is read from a pipe, are no file by their name.
        if source is not None and exists and source.exists() and path.samefile(source):
            raise OutputNotWritableError(f"output '{path}' is the input; choose another name")
    except PermissionError as error:
        raise OutputNotWritableError(f"output '{path}': permission denied") from error
    if path.is_dir():
        raise OutputNotWritableError(f"output '{path}' is a directory; name a file")
    check_new(path, overwrite=options.overwrite)


def _ending(path: Path) -> str:
    return f"ends in '{path.suffix}'" if path.suffix else "has no ending"


def _check_sequence(path: Path, options: EncodeOptions) -> None:
    """Refuse numbered pictures whose name has no number, or of which one is there."""
    if path.suffix.lower() not in WRITTEN_PICTURES:
        return
    if not is_sequence(path):
        raise ConfigError(f"output '{path}': expected one number in its name, such as %05d")
    if (there := numbers_there(path)) and not options.overwrite:
        first = numbered(path, there[0])
        raise OutputExistsError(
            f"output '{first}' and {len(there) - 1} more of '{path.name}' exist; pass --overwrite "
            "to replace them"
        )


def part_name(path: Path) -> Path:
    """A hidden name beside the final one, of the same ending, for a file being written.

    Where the final one is a link, beside what it leads to: there the file is moved in the end.
    """
    return part_beside(linked_file(path))


def recording_part(path: Path) -> Path:
    """The same for what cannot be made again: it outlives a killed program."""
    return recording_beside(linked_file(path))


def move_in(part: Path, path: Path, *, overwrite: bool, what: str, unique: bool = False) -> None:
    """Give a finished file its name; where that fails it stays under a name of its own.

    Args:
        part: The file, of `part_name`.
        path: Its name; a link stays, and what it leads to is written.
        overwrite: Whether it may replace what has the name.
        what: The file in the message, such as "the recording".
        unique: Whether it is kept where somebody else has the name by now, too: a recording cannot
            be made again, a result can.

    Raises:
        OutputExistsError: Something has the name by now.
        OutputNotWritableError: The file cannot be moved.
    """
    final = linked_file(path)
    try:
        if overwrite:
            os.replace(part, final)
        else:
            publish(part, final)
    except FileExistsError as error:
        fate = f"is '{keep(part, path.stem)}'" if unique else "was thrown away"
        raise OutputExistsError(
            f"'{path}' was made by somebody else meanwhile and is kept; {what} {fate}"
        ) from error
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot move {what} to '{path}': {error.strerror}; it is '{keep(part, path.stem)}'"
        ) from error
