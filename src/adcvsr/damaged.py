"""Damaged files of caches: set aside with a line, so that what they held is made again.

found = read_or_set_aside(path, lambda: parse(read_json(path, error=EngineError)), EngineError)
if found is None: ...  # make it again
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .errors import AdcVsrError

T = TypeVar("T")

_LOGGER = logging.getLogger("adcvsr")


def read_or_set_aside(path: Path, read: Callable[[], T], error: type[AdcVsrError]) -> T | None:
    """Read a file that can be made again; None where it was damaged, and lies elsewhere by now.

    Args:
        path: The file.
        read: Reads it.
        error: What `read` raises for content that is not as it was written.

    Raises:
        AdcVsrError: Of class `error`: it cannot be read at all, which is no damage, or not moved.
    """
    try:
        return read()
    except error as reason:
        if isinstance(reason.__cause__, OSError) or (path.exists() and not path.is_file()):
            raise
        try:
            set_damaged_aside(path, str(reason))
        except FileNotFoundError:
            pass  # another process did
        except OSError:
            raise reason from None
        return None


def set_damaged_aside(path: Path, reason: str) -> None:
    """Move a damaged file out of the way, under a name that is free, and say so.

    Args:
        path: The file.
        reason: What is wrong with it.

    Raises:
        OSError: It cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    count = 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.damaged-{count}")
    path.rename(aside)
    _LOGGER.warning(
        "note: '%s' is damaged and is made again; the damaged file is now '%s' (%s)",
        path,
        aside.name,
        reason,
    )
