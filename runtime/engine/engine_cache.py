"""Built engines on this device: one folder each, written whole or not at all.

    <cache>/engines/<key>/engine.plan   what the runtime loads
                         /engine.json   what it was built from, its SHA-256
                         /layers.json   the compiler's list of layers, where it printed one
    <cache>/locks/<key>.lock            held while it is built

An engine is compared with its SHA-256 before it is handed on: loading a plan runs code.

    cache = EngineCache()
    for entry in cache.entries(): ...
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...damaged import read_or_set_aside
from ...errors import EngineError, OutputNotWritableError
from ...files import CACHE_VARIABLE, cache_folder, file_sha256
from ...leftovers import move_in
from ...reading import PROFILE, Item, read_json
from .order import SCHEMA, EngineOrder, parse_bytes

LIMIT_VARIABLE = "ADCVSR_CACHE_LIMIT"
"""Environment variable: how large the cache may grow (`20GiB`)."""

DEFAULT_LIMIT_BYTES = 20 << 30
CURRENT_FOLDER = "current"
"""One file a bundle and target, written by `adcvsr deploy`; their engines are never evicted."""
PLAN, FACTS, LAYERS = "engine.plan", "engine.json", "layers.json"
_PART, _OLD = ".part-", ".old-"
_BLOCK_BYTES = 16 << 20
_WAIT_SECONDS = 1.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class CacheEntry:
    """One engine of the cache, its facts read, its plan not yet."""

    folder: Path
    facts: dict[str, Any]

    @property
    def key(self) -> str:
        """Name in the cache."""
        return self.folder.name

    @property
    def identity(self) -> dict[str, Any]:
        """What it was built from, see `EngineOrder.identity`."""
        identity: dict[str, Any] = self.facts["identity"]
        return identity

    @property
    def plan(self) -> Path:
        """The engine itself."""
        return self.folder / PLAN

    def layers(self) -> Item | None:
        """The compiler's list of layers, see `layers.to_json`; None where it printed none.

        Raises:
            EngineError: The list is damaged.
        """
        path = self.folder / LAYERS
        return read_json(path, error=EngineError, limits=PROFILE) if path.is_file() else None

    @property
    def size_bytes(self) -> int:
        """Size of the plan as recorded."""
        return int(self.facts["plan_bytes"])

    @property
    def used(self) -> float:
        """When it was last built or run, seconds since the epoch; 0 where it is gone by now."""
        try:
            return (self.folder / FACTS).stat().st_mtime
        except OSError:
            return 0.0

    def touch(self) -> None:
        """Note the use; a read-only cache stays as it is."""
        try:
            os.utime(self.folder / FACTS)
        except OSError:
            return

    def damage(self) -> str | None:
        """Say what is wrong with the plan, if anything.

        A file that was not written to since it was built is not read again: hashing the gigabyte of
        `paper` takes seconds, and `read_plan` compares the hash before anything is loaded.
        """
        try:
            found = self.plan.stat()
        except OSError as error:
            return f"its plan cannot be read ({error.strerror})"
        if found.st_size != self.size_bytes:
            return f"its plan has {found.st_size:,} bytes instead of {self.size_bytes:,}"
        if found.st_mtime_ns == self.facts.get("plan_mtime_ns"):
            return None
        if file_sha256(self.plan) != self.facts["plan_sha256"]:
            return "its plan was changed after it was built"
        return None

    def read_plan(self) -> bytes:
        """Read the plan and check it, for the runtime to load.

        Raises:
            EngineError: It is damaged.
        """
        data = self.plan.read_bytes() if self.plan.is_file() else b""
        if hashlib.sha256(data).hexdigest() != self.facts["plan_sha256"]:
            raise EngineError(
                f"engine {self.key} is damaged or was changed after it was built, and is not "
                "loaded; build it again: adcvsr build"
            )
        return data


class EngineCache:
    """The folder of engines.

    Args:
        folder: None for $ADCVSR_CACHE or the user's cache folder.
        limit_bytes: Largest sum of plans; None for $ADCVSR_CACHE_LIMIT or 20 GiB.
    """

    def __init__(self, folder: Path | None = None, *, limit_bytes: int | None = None) -> None:
        self.folder = folder or cache_folder()
        self.engines = self.folder / "engines"
        self.limit_bytes = limit_bytes if limit_bytes is not None else _default_limit()

    def entries(self) -> list[CacheEntry]:
        """All readable entries, last used first."""
        found = [e for e in map(self._read, self._folders()) if isinstance(e, CacheEntry)]
        return sorted(found, key=lambda entry: entry.used, reverse=True)

    def current_keys(self) -> set[str]:
        """Keys of the engines `adcvsr deploy` made current."""
        keys: set[str] = set()
        for path in sorted((self.folder / CURRENT_FOLDER).glob("*.json")):
            with suppress(EngineError, OSError):  # it only loses its precedence here
                keys.update((read_current(path).get("current") or {"keys": ()})["keys"])
        return keys

    def look_up(self, order: EngineOrder, report: Report) -> CacheEntry | None:
        """Find a whole engine of exactly this order.

        Args:
            order: What to build.
            report: Called with the reason where an entry is there and cannot be used.
        """
        folder = self.engines / order.key
        if not folder.exists():
            return None
        entry = self._read(folder)
        if isinstance(entry, str):
            report(f"engine {order.key} is built again: {entry}")
            return None
        if entry.identity != order.identity():
            report(f"engine {order.key} is built again: it is of another graph or device")
            return None
        if damage := entry.damage():
            report(f"engine {order.key} is built again: {damage}")
            return None
        entry.touch()
        return entry

    @contextmanager
    def lock(
        self, key: str, report: Report, waiting: Callable[[], None] = lambda: None
    ) -> Iterator[None]:
        """Hold an engine's lock, waiting for another process that builds it.

        The system frees the lock when its holder dies, however that happens.

        Args:
            key: The engine's.
            report: Called with a line where another process has it.
            waiting: Called about once a second meanwhile.

        Raises:
            OutputNotWritableError: The cache cannot be written.
        """
        from filelock import FileLock, Timeout

        locks = self.folder / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            self.engines.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                report("another process builds this engine; waiting for it")
                _acquire(lock, waiting)
        except OSError as error:
            raise OutputNotWritableError(
                f"the engine cache '{self.folder}' cannot be written: {error}; set "
                f"${CACHE_VARIABLE} to a folder that can"
            ) from error
        try:
            self._sweep(key)
            yield
        finally:
            lock.release()

    def store(
        self,
        order: EngineOrder,
        plan: memoryview,
        facts: dict[str, Any],
        report: Report,
        layers: Sequence[Any] = (),
    ) -> CacheEntry:
        """Put an engine in, replacing what lay there; call under its lock.

        Args:
            order: What it was built from.
            plan: The serialized engine.
            facts: What else to say of it.
            report: Called with a line for each engine that had to make room.
            layers: JSON-ready; kept beside the plan where there are any.

        Raises:
            OutputNotWritableError: The disk is full; the cache is as before.
        """
        final = self.engines / order.key
        part = final.with_name(f"{order.key}{_PART}{os.getpid()}")  # its lock is held
        try:
            part.mkdir()
            digest = _write_plan(part / PLAN, plan)
            facts = {
                **facts,
                "schema": SCHEMA,
                "identity": order.identity(),
                "plan_sha256": digest,
                "plan_bytes": plan.nbytes,
                "plan_mtime_ns": (part / PLAN).stat().st_mtime_ns,
            }
            if layers:
                (part / LAYERS).write_text(json.dumps(layers) + "\n", encoding="utf-8")
            (part / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            old = final.with_name(f"{final.name}{_OLD}{os.getpid()}")
            move_in(part, final, aside=old)
            _remove(old)
        except OSError as error:
            raise _unwritable(self.engines, error) from error
        finally:
            _remove(part)
        self._make_room(final.name, report)
        return CacheEntry(final, facts)

    def clear(self, key: str | None = None) -> tuple[int, int]:
        """Remove all engines, or those whose key starts with `key`.

        What another process is writing at the moment stays.

        Returns:
            Engines removed, and their bytes.

        Raises:
            EngineError: No engine has such a key.
        """
        folders = [f for f in self._folders() if key is None or f.name.startswith(key)]
        if key is not None and not folders:
            raise EngineError(f"no engine '{key}' in '{self.engines}'; see 'adcvsr cache list'")
        if key is None and self.engines.is_dir():
            # Leftovers of killed builds too.
            folders = [f for f in self.engines.iterdir() if not self._is_written(f)]
        total = sum(_bytes_of(folder) for folder in folders)
        for folder in folders:
            _remove(folder)
        return sum(not _is_leftover(folder) for folder in folders), total

    def _is_written(self, folder: Path) -> bool:
        """Whether a process that lives is putting an engine together here."""
        if not _is_leftover(folder):
            return False
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.folder / "locks" / f"{folder.name.split('.')[0]}.lock", timeout=0):
                return False
        except Timeout:
            return True

    def _folders(self) -> list[Path]:
        if not self.engines.is_dir():
            return []
        return [f for f in self.engines.iterdir() if f.is_dir() and not _is_leftover(f)]

    @staticmethod
    def _read(folder: Path) -> CacheEntry | str:
        """An entry, or why it is none."""
        try:
            found = read_json(folder / FACTS, error=EngineError)
            if (schema := found["schema"].integer()) != SCHEMA:
                return f"it is of schema {schema}, this version writes {SCHEMA}"
            found["plan_bytes"].integer(0)
            found["plan_sha256"].text()
            found["identity"]["device"].mapping()
            for name in ("what", "built"):
                if (said := found.get(name)) is not None:
                    said.text()
        except EngineError as error:
            return f"its facts are malformed ({error})"
        return CacheEntry(folder, found.mapping())

    def _sweep(self, key: str) -> None:
        """Remove what a killed build of this key left; its lock is held, so nobody writes it."""
        for folder in self.engines.glob(f"{key}.*"):
            _remove(folder)

    def _make_room(self, kept: str, report: Report) -> None:
        """Remove the engines unused for longest until the rest fits the limit."""
        entries, current = self.entries(), self.current_keys()
        total = sum(entry.size_bytes for entry in entries)
        for entry in reversed(entries):
            if total <= self.limit_bytes:
                return
            if entry.key == kept or entry.key in current:
                continue
            _remove(entry.folder)
            total -= entry.size_bytes
            report(
                f"engine {entry.key} ({entry.facts.get('what', '')}) made room: the cache may hold "
                f"{self.limit_bytes >> 20:,} MiB (${LIMIT_VARIABLE})"
            )


def read_current(path: Path) -> dict[str, Any]:
    """Read what `adcvsr deploy` wrote of a bundle: its `current` and `previous` engines.

    Returns:
        Empty before the first deployment, and where the file is damaged: it is set aside with a
        line, and the next deployment writes it anew.

    Raises:
        EngineError: It cannot be read.
    """
    if not path.exists():
        return {}

    def read() -> dict[str, Any]:
        found = read_json(path, error=EngineError)
        for name in ("current", "previous"):
            if (entry := found.get(name)) is not None:
                for key in entry["keys"].items():
                    key.text()
                for name_of in ("variant", "backend", "size", "date"):
                    entry[name_of].text()
        return found.mapping()

    return read_or_set_aside(path, read, EngineError) or {}


def now() -> str:
    """UTC time as ISO 8601, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _acquire(lock: Any, waiting: Callable[[], None]) -> None:
    """Wait for a lock as long as it takes, and say about once a second that this is so."""
    from filelock import Timeout

    while True:
        waiting()
        try:
            lock.acquire(timeout=_WAIT_SECONDS)
        except Timeout:
            continue
        return


def _default_limit() -> int:
    return parse_bytes(os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_BYTES))


def _write_plan(path: Path, plan: memoryview) -> str:
    """Write a plan through to the disk without a second copy in memory; returns its SHA-256."""
    digest = hashlib.sha256()
    data = plan.cast("B")
    with path.open("wb") as file:
        for start in range(0, data.nbytes, _BLOCK_BYTES):
            block = data[start : start + _BLOCK_BYTES]
            digest.update(block)
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _remove(folder: Path) -> None:
    """Remove a folder if it is there, as far as the system lets us."""
    if folder.exists():
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _is_leftover(folder: Path) -> bool:
    return _PART in folder.name or _OLD in folder.name


def _bytes_of(folder: Path) -> int:
    try:
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    except OSError:
        return 0


def _unwritable(folder: Path, error: OSError) -> OutputNotWritableError:
    return OutputNotWritableError(
        f"cannot write an engine to '{folder}': {error.strerror or error}; make room, or set "
        f"${CACHE_VARIABLE} to another folder; nothing was left half-written"
    )
