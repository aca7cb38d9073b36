"""An output file's name: what may be written there, and how a finished file gets it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ...errors import ConfigError, OutputExistsError, OutputNotWritableError
from .encoders import EncodeOptions

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
    if path.suffix.lower() not in ENCODERS:
        raise ConfigError(
            f"output '{path}' ends in '{path.suffix}'; expected one of: {', '.join(ENCODERS)}"
        )
    try:
        exists = path.exists()
        if source is not None and exists and path.samefile(source):
            raise OutputNotWritableError(f"output '{path}' is the input; choose another name")
    except PermissionError as error:
        raise OutputNotWritableError(f"output '{path}': permission denied") from error
    if path.is_dir():
        raise OutputNotWritableError(f"output '{path}' is a directory; name a file")
    if exists and not options.overwrite:
        raise OutputExistsError(f"output '{path}' exists; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputNotWritableError(
            f"output folder '{path.parent}' does not exist; create it first"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputNotWritableError(f"output folder '{path.parent}' is not writable")


def part_name(path: Path) -> Path:
    """A hidden name beside the final one, of the same ending, for a file being written."""
    return path.with_name(f".{secrets.token_hex(4)}.part{path.suffix}")


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, unless something has that name by now.

    Raises:
        FileExistsError: Something has.
        OSError: The file cannot be moved.
    """
    try:
        os.link(part, path)  # fails where the name is taken, which a rename would not
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(part, path)
    else:
        part.unlink()
