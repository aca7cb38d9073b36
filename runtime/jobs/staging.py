"""Inputs in a store, `s3://bucket/film.mkv` and whatever else fsspec knows: one copy a machine.

A copy is named by its SHA-256, so that whoever needs the plan's input finds that one or fetches it,
under a lock: many workers of a machine fetch it once.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock

from ...errors import (
    AdcVsrError,
    ConfigError,
    InputNotFoundError,
    JobError,
    OutputNotWritableError,
    missing_package,
)
from ...files import CACHE_VARIABLE, cache_folder, file_sha256
from ...given import ADDRESS
from ...leftovers import part_beside

FOLDER = "staged"
"""In the cache folder."""

BLOCK_BYTES = 4 << 20


def is_stored(source: str) -> bool:
    """Whether an input is an address in a store instead of a path."""
    return ADDRESS.match(source) is not None


def stage(address: str, sha256: str | None = None) -> tuple[Path, str]:
    """Find the copy of an input on this machine, or fetch it.

    Args:
        address: In a store.
        sha256: Of what is wanted; None takes what is there now.

    Returns:
        The copy and its SHA-256.

    Raises:
        ConfigError: The address holds a secret, or is of no kind that fsspec knows.
        MissingPackageError: Its package is not installed.
        InputNotFoundError: It cannot be read.
        JobError: It is not what is wanted.
        OutputNotWritableError: The copy cannot be written.
    """
    folder, suffix = cache_folder() / FOLDER, Path(urlsplit(address).path).suffix
    try:
        folder.mkdir(parents=True, exist_ok=True)
        name = sha256 or hashlib.sha256(address.encode()).hexdigest()
        with FileLock(folder / f"{name}.lock"):
            if sha256 is not None and (copy := folder / f"{sha256}{suffix}").is_file():
                return copy, sha256
            return _fetch(address, folder, suffix, sha256)
    except AdcVsrError:
        raise  # some are OSErrors too
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot keep a copy of '{_shown(address)}' in '{folder}': {error.strerror or error}; "
            f"${CACHE_VARIABLE} names another folder"
        ) from error


def _fetch(address: str, folder: Path, suffix: str, sha256: str | None) -> tuple[Path, str]:
    part = part_beside(folder / f"fetched{suffix}")
    try:
        with _open(address) as source, part.open("wb") as copy:
            while block := _read(source, address):
                copy.write(block)
        found = file_sha256(part)
        if sha256 not in (None, found):
            raise JobError(
                f"'{_shown(address)}' was changed after the job was planned: sha256 {found[:12]}…, "
                f"{str(sha256)[:12]}… in the plan; put the planned one back, or plan a new job"
            )
        part.replace(folder / f"{found}{suffix}")
        return folder / f"{found}{suffix}", found
    finally:
        part.unlink(missing_ok=True)


def _open(address: str) -> Any:
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"'{_shown(address)}' holds a name or a password, which a plan would keep: give it the "
            "way the store's own tools take it, in the environment or its configuration"
        )
    try:
        import fsspec
    except ImportError as error:
        raise missing_package("fsspec", "stores", f"'{parts.scheme}://'") from error
    try:
        return fsspec.open(address, "rb").open()
    except ImportError as error:  # of the store's own package, such as s3fs
        raise ConfigError(f"'{parts.scheme}://' needs another package: {error}") from error
    except ValueError as error:
        raise ConfigError(f"'{_shown(address)}': {error}") from error
    except Exception as error:  # each store has errors of its own
        raise _unreadable(address, error) from error


def _read(source: Any, address: str) -> bytes:
    try:
        block: bytes = source.read(BLOCK_BYTES)
    except Exception as error:  # each store has errors of its own
        raise _unreadable(address, error) from error
    return block


def _unreadable(address: str, error: Exception) -> InputNotFoundError:
    reason = str(error).strip().splitlines() or [type(error).__name__]
    return InputNotFoundError(f"cannot read '{_shown(address)}': {reason[0]}")


def _shown(address: str) -> str:
    """An address without who reads it."""
    return re.sub(r"//[^/@]*@", "//***@", address)
