"""Kernel timings of TensorRT, which make later builds shorter: kept beside the engines.

    <cache>/timings/<device and version>.bin    of all builds on this device by this TensorRT

timings = KernelTimings.of(order, cache.folder, named=None)
timings.load(config, report)    # before a build
timings.save(report)            # after it

TensorRT-RTX times kernels on the user's GPU, not while it builds, and has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ...damaged import set_damaged_aside
from ...errors import BackendUnavailableError, EngineError, OutputNotWritableError
from ...files import replace_file
from .order import EngineOrder

FOLDER = "timings"
"""In the cache, beside `engines`."""

Report = Callable[[str], None]


class KernelTimings:
    """A file of kernel timings, read before a build and extended after it.

    Args:
        path: The file; it need not be there yet.
        lock: File that is held while the timings are extended; None for a file that a person
            named. Timings of another device or TensorRT are then an error, while a file of ours is
            begun again.
    """

    def __init__(self, path: Path, lock: Path | None = None) -> None:
        self.path, self._lock = path, lock
        self._config: Any = None
        self._timings: Any = None

    @classmethod
    def of(cls, order: EngineOrder, folder: Path, *, named: Path | None) -> KernelTimings | None:
        """Choose the file of an order; None where its compiler has no use for timings.

        Args:
            order: What is to be built.
            folder: Of the cache.
            named: The file a person named; None for the one of device and version in `folder`.

        Raises:
            BackendUnavailableError: A file was named for a compiler that times nothing.
        """
        if named is not None:
            require_timings(order.backend)
            return cls(named)
        if order.backend != "tensorrt" or order.gpu is None:
            return None
        name = _name_of(order)
        return cls(folder / FOLDER / f"{name}.bin", folder / "locks" / f"timings-{name}.lock")

    def load(self, config: Any, report: Report) -> None:
        """Give a build the timings of earlier ones; damaged ones are set aside and begun again.

        Args:
            config: The builder's.
            report: Called with a line where timings of the cache are begun again.

        Raises:
            EngineError: A named file is of another device or TensorRT.
        """
        self._config = config
        timings = config.create_timing_cache(self._read())
        if timings is None and self.path.is_file():
            with suppress(OSError):  # `save` then says that it cannot be written
                set_damaged_aside(self.path, "TensorRT cannot read it")
            timings = config.create_timing_cache(b"")
        if timings is None or not config.set_timing_cache(timings, ignore_mismatch=False):
            if self._lock is None:
                raise EngineError(
                    f"the timing cache '{self.path}' is of another device or TensorRT; name "
                    "another file"
                )
            report(f"kernel timings in '{self.path}' are of another device or driver: begun again")
            timings = config.create_timing_cache(b"")
            if not config.set_timing_cache(timings, ignore_mismatch=False):
                timings = None
        self._timings = timings

    def save(self, report: Report) -> None:
        """Keep what is known by now, together with what another process kept meanwhile.

        An engine that took minutes is not lost because its timings cannot be kept.
        """
        if self._timings is None:
            return
        try:
            with self._locked():
                self._add_stored()
                data = memoryview(self._timings.serialize())
                replace_file(self.path, lambda part: part.write_bytes(data))
        except (OSError, OutputNotWritableError) as error:
            report(f"kernel timings are not kept: {error}")

    def _read(self) -> bytes:
        """The file's bytes; none where it is not there.

        Raises:
            EngineError: A named file cannot be read.
        """
        try:
            return self.path.read_bytes() if self.path.is_file() else b""
        except OSError as error:
            if self._lock is None:
                raise EngineError(
                    f"the timing cache '{self.path}' cannot be read: {error.strerror}"
                ) from error
            return b""

    def _add_stored(self) -> None:
        """Take over what the file has by now; what does not fit is of no use, and is replaced."""
        stored = self._read()
        other = self._config.create_timing_cache(stored) if stored else None
        if other is not None:
            self._timings.combine(other, ignore_mismatch=False)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other builds from extending the cache's file at the same moment."""
        if self._lock is None:
            yield
            return
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock):
            yield


def require_timings(backend: str) -> None:
    """Check that a compiler times kernels while it builds.

    Raises:
        BackendUnavailableError: It does not.
    """
    if backend == "tensorrt-rtx":
        raise BackendUnavailableError(
            "TensorRT-RTX times kernels on the user's GPU, not while it builds: leave out "
            "--timing-cache"
        )


def clear_timings(folder: Path) -> int:
    """Remove the timings of a cache; returns their bytes.

    Args:
        folder: Of the cache.
    """
    total = 0
    for path in (folder / FOLDER).glob("*"):
        try:
            size = path.stat().st_size
            path.unlink()
        except OSError:
            continue
        total += size
    return total


def _name_of(order: EngineOrder) -> str:
    """Device and versions as part of a file's name: timings of others are worth nothing."""
    text = f"{order.gpu} sm{order.sms[0]} tensorrt {order.builder} cuda {order.cuda}"
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.").lower()
