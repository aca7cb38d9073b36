"""Files that are replaced whole or not at all, and the folder for those that can be made again.

replace_file(path, lambda part: part.write_bytes(data))
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import OutputNotWritableError
from .leftovers import part_beside

CACHE_VARIABLE = "ADCVSR_CACHE"
"""Environment variable: the folder for what can be made again; else $XDG_CACHE_HOME/adcvsr, else
~/.cache/adcvsr."""


_HASH_BLOCK_BYTES = 4 << 20


def cache_folder() -> Path:
    """The user's folder for what can be made again."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "adcvsr"


def linked_file(path: Path) -> Path:
    """Where a file is written: what a link leads to, so that the link stays; else the path itself.

    Raises:
        OutputNotWritableError: Links lead in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{path}': {error.strerror}") from error
    return path.resolve()


def replace_file(
    path: Path, write: Callable[[Path], object], *, also: tuple[type[Exception], ...] = ()
) -> None:
    """Write a file beside its place and move it there once it is whole and on the disk.

    Args:
        path: The file to create or replace.
        write: Called with the path to write to.
        also: What `write` raises for a full disk beside OSError.

    Raises:
        OutputNotWritableError: The disk is full or not writable; what lay at `path` is untouched.
    """
    path = linked_file(path)
    try:
        write_beside(path, write)
    except Exception as error:
        if not isinstance(error, (OSError, *also)):
            raise
        raise OutputNotWritableError(_reason(path, error)) from error


def write_beside(path: Path, write: Callable[[Path], object]) -> None:
    """What `replace_file` does, for callers with words of their own for a full disk.

    Args:
        path: The file to create or replace, no link.
        write: Called with the path to write to.

    Raises:
        OSError: The disk is full or not writable; what lay at `path` is untouched.
    """
    part = part_beside(path)
    try:
        part.touch()
        mode = part.stat().st_mode
        write(part)
        part.chmod(mode)  # safetensors makes files that nobody else may read
        with part.open("rb+") as file:
            os.fsync(file.fileno())  # a full network disk may say so only here
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def add_to_hash(digest: hashlib._Hash, path: Path) -> None:
    """Add a file's bytes to a hash, in bounded memory.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    add_to_hash(digest, path)
    return digest.hexdigest()


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """JSON for people: indented, sorted, ending in a line feed."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def file_entry(path: Path) -> dict[str, Any]:
    """What a manifest says of a file: its `sha256` and `bytes`."""
    return {"sha256": file_sha256(path), "bytes": path.stat().st_size}


def _reason(path: Path, error: Exception) -> str:
    """One line: what the system said, and how much room there is."""
    cause = error if isinstance(error, OSError) else error.__context__
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    import shutil

    try:
        free = f" ({shutil.disk_usage(path.parent).free >> 20:,} MiB are free there)"
    except OSError:
        free = ""
    kept = "the one before it is kept" if path.exists() else "nothing was left half-written"
    return f"cannot write '{path}': {said.splitlines()[0]}{free}; {kept}. Make room and try again"
