"""Kernels that TensorRT-RTX compiles on the user's GPU, kept beside their engine.

Its engines hold no finished kernels: the first start compiles them. What it compiled is written to
`kernels-<SHA-256>.bin` and given back at the next start; a file that does not match its name is
not loaded, and TensorRT-RTX itself refuses those of another GPU, version or driver.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from ...errors import OutputNotWritableError
from ...files import replace_file

LOGGER = logging.getLogger("adcvsr")

PREFIX = "kernels-"


class KernelCache:
    """The compiled kernels of one engine.

    Args:
        config: Of execution contexts to be made: they take kernels from here and leave new ones.
        folder: The engine's in the cache.
    """

    def __init__(self, config: Any, folder: Path) -> None:
        self._folder = folder
        self._cache = config.create_runtime_cache()
        self._digest = self._load()
        config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Write what was compiled since; where that is not possible, the next start compiles."""
        data = bytes(memoryview(self._cache.serialize()))
        digest = hashlib.sha256(data).hexdigest()
        if digest == self._digest:
            return
        try:
            replace_file(self._path(digest), lambda part: part.write_bytes(data))
        except OutputNotWritableError as error:
            LOGGER.warning("compiled kernels are not kept: %s", error)
            return
        if self._digest is not None:
            self._path(self._digest).unlink(missing_ok=True)
        self._digest = digest

    def _load(self) -> str | None:
        """Read the kernels that are there; returns their digest."""
        for path in sorted(self._folder.glob(f"{PREFIX}*.bin")):
            data = path.read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            if path == self._path(digest) and self._cache.deserialize(data):
                return digest
            LOGGER.warning("'%s' is damaged or of another GPU or version: compiled again", path)
            path.unlink(missing_ok=True)
        return None

    def _path(self, digest: str) -> Path:
        return self._folder / f"{PREFIX}{digest}.bin"
