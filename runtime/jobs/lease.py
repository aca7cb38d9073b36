"""Who makes a segment: a file that its owner rewrites every few seconds, and what becomes of it.

A lease is free when its owner is a process of this machine that is gone, or when it did not change
for `STALE_S` of the watcher's own steady clock: no clock of another machine is read, and none that
can be set. Two owners at once make the same segment twice, which costs time and nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ...errors import JobError
from ...files import write_beside
from ...leftovers import is_gone, own_name, part_beside, publish
from ...reading import parse_json

BEAT_S = 5.0
STALE_S = 60.0
"""Twelve beats: an owner that is swapped out or waits for its disk is not passed over."""


class LeaseWatch:
    """What a process has seen of others' leases."""

    def __init__(self) -> None:
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def is_free(self, path: Path) -> bool:
        """Whether nobody holds a lease, as far as this process can tell by now."""
        try:
            content = path.read_bytes()
        except OSError:
            return True
        if is_gone(str(_values(content).get("process", ""))):
            return True
        before, since = self._seen.get(path, (None, 0.0))
        if before != content:
            self._seen[path] = (content, time.monotonic())
            return False
        return time.monotonic() - since > STALE_S


class Lease:
    """A segment's lease. Use `take`, then the object as a context manager.

    Args:
        path: Its file.
        watch: What this process knows of leases.
    """

    def __init__(self, path: Path, watch: LeaseWatch) -> None:
        self.path = path
        self._watch = watch
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = 0
        self.frames = 0
        """Of the segment, made so far: told with each beat."""

    def take(self) -> bool:
        """Become the owner, where nobody is.

        Raises:
            OSError: The folder cannot be written.
        """
        self.path.parent.mkdir(exist_ok=True)
        if self.path.exists() and not self._watch.is_free(self.path):
            return False
        taken = self.path.exists()
        part = part_beside(self.path)
        part.write_bytes(self._content())
        try:
            if taken:
                os.replace(part, self.path)
            else:
                publish(part, self.path)
        except FileExistsError:
            return False
        finally:
            part.unlink(missing_ok=True)
        return self._is_ours()

    def owner(self) -> dict[str, Any] | None:
        """Who holds it: host, process and frames made; None where nobody does."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        values = _values(content)
        return None if is_gone(str(values.get("process", ""))) else values

    def __enter__(self) -> Lease:
        """Begin to beat."""
        self._thread = threading.Thread(target=self._keep, name="adcvsr-lease", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._is_ours():
            with suppress(OSError):
                self.path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_S):
            if not self._is_ours():
                return  # somebody took it for dead, and makes the same segment
            self._beat += 1
            with suppress(OSError):  # a full disk ends the segment, not its lease
                write_beside(self.path, lambda part: part.write_bytes(self._content()))

    def _content(self) -> bytes:
        facts = {"process": own_name(), "host": platform.node(), "pid": os.getpid()}
        return json.dumps({**facts, "beat": self._beat, "frames": self.frames}).encode()

    def _is_ours(self) -> bool:
        try:
            return _values(self.path.read_bytes()).get("process") == own_name()
        except OSError:
            return False


def _values(content: bytes) -> dict[str, Any]:
    """What a lease says; nothing where it is damaged, which counts as one that does not change."""
    with suppress(JobError):
        return parse_json(content, source="a lease", error=JobError).mapping()
    return {}
