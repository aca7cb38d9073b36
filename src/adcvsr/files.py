"""Files that are replaced whole or not at all, and the folder for those that can be made again.

replace_file(path, lambda part: part.write_bytes(data))
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import OutputExistsError, OutputNotWritableError
from .leftovers import part_beside

CACHE_VARIABLE = "ADCVSR_CACHE"
"""Environment variable: the folder for what can be made again; else $XDG_CACHE_HOME/adcvsr, else
~/.cache/adcvsr."""


_HASH_BLOCK_BYTES = 4 << 20

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_ELSEWHERE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


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


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot take an output, before any work is done.

    Raises:
        OutputNotWritableError: It does not exist, is a file, lies below one, or is not writable.
    """
    for place in (folder, *folder.parents):
        if os.path.exists(place) and not os.path.isdir(place):
            raise OutputNotWritableError(
                f"output folder '{folder}' cannot be used: '{place}' is a file; name a folder"
            )
    if not folder.is_dir():
        raise OutputNotWritableError(f"output folder '{folder}' does not exist; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputNotWritableError(f"output folder '{folder}' is not writable")


def check_new(*paths: Path | None, overwrite: bool) -> None:
    """Refuse outputs that cannot be written, before any work is done.

    Args:
        paths: Files or folders to create; None is none.
        overwrite: Existing ones may be replaced.

    Raises:
        OutputExistsError: One exists and `overwrite` is off.
        OutputNotWritableError: Its folder is missing or not writable.
    """
    for path in paths:
        if path is None:
            continue
        if path.exists() and not overwrite:
            raise OutputExistsError(f"output '{path}' exists; pass --overwrite to replace it")
        check_folder(linked_file(path).parent)


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
    """One line: what the system said, how much room there is where that counts, what to do."""
    cause = error if isinstance(error, OSError) else error.__context__
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(error)
    number = cause.errno if isinstance(cause, OSError) else None
    kept = "the one before it is kept" if path.exists() else "nothing was left half-written"
    return f"cannot write '{path}': {said.splitlines()[0]}{_free(path, number)}; {kept}. " + (
        "Create the folder first"
        if number == errno.ENOENT
        else "Name another folder, or change whose it is"
        if number in _ELSEWHERE
        else "Make room and try again"
    )


def _free(path: Path, number: int | None) -> str:
    """How much room there is, unless something else than room was missing."""
    import shutil

    if number is not None and number not in _FULL:
        return ""
    try:
        return f" ({shutil.disk_usage(path.parent).free >> 20:,} MiB are free there)"
    except OSError:
        return ""
