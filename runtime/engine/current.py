"""Which engines of a bundle are current on a GPU: one small file in the cache, and its way back.

current = CurrentEngines(EngineCache(), "nano", current_gpu())
current.advance({"keys": [...], "variant": "fp16-trt", "backend": "tensorrt", ...})
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ...errors import EngineError
from ...files import replace_file
from ..nvidia.gpu import Gpu
from .engine_cache import CURRENT_FOLDER, EngineCache, read_current


class CurrentEngines:
    """What is current for a bundle on a GPU, and what was before.

    Args:
        cache: Where engines are.
        bundle: The bundle's name.
        gpu: The GPU.
        backend: `ort-cuda`, which builds no engine and has a file of its own; empty for the
            backends that do, of which one is current.
    """

    def __init__(self, cache: EngineCache, bundle: str, gpu: Gpu, backend: str = "") -> None:
        name = f"{bundle}--{backend}--{gpu.name}" if backend else f"{bundle}--{gpu.name}"
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", name)
        self.path: Path = cache.folder / CURRENT_FOLDER / f"{slug}.json"
        self._cache = cache

    @property
    def current(self) -> dict[str, Any] | None:
        """What is current: keys, variant, backend, size; None before the first deployment."""
        entry: dict[str, Any] | None = self._read().get("current")
        return entry

    def advance(self, entry: dict[str, Any]) -> None:
        """Make an entry current; what was so becomes what a rollback returns to."""
        before = self.current
        same = before is not None and all(
            before.get(name) == entry.get(name) for name in ("keys", "variant", "nhwc")
        )
        previous = self._read().get("previous") if same else before
        self._write({"current": entry, "previous": previous})

    def roll_back(self) -> dict[str, Any]:
        """Make current what was so before, and that the other way round.

        Raises:
            EngineError: There is nothing before it, or its engines are gone.
        """
        state = self._read()
        previous = state.get("previous")
        if not previous:
            raise EngineError(f"nothing to go back to: '{self.path}' names no previous engine")
        keys = {entry.key for entry in self._cache.entries() if entry.damage() is None}
        if gone := set(previous["keys"]) - keys:
            raise EngineError(
                f"the previous engine {', '.join(sorted(gone))} is gone or damaged; deploy it again"
            )
        self._write({"current": previous, "previous": state.get("current")})
        return dict(previous)

    def _read(self) -> dict[str, Any]:
        return read_current(self.path)

    def _write(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(state, indent=1) + "\n"
        replace_file(self.path, lambda part: part.write_text(text, encoding="utf-8"))
