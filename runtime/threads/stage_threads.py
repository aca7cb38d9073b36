"""The threads of a pipeline stage, helpers included: their CPU time, on Linux.

Python sees only the CPU time of its own threads; decoders, encoders and ONNX Runtime work in
threads of their own. A stage claims the threads that come into being while it starts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TASKS = Path("/proc/self/task")
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


class StageThreads:
    """The threads of one stage: its Python thread and those it claimed.

    Args:
        claimed: Linux task ids that already belong to the stage; their past is not counted.
    """

    known = _TASKS.is_dir()
    """Whether this system tells; elsewhere the Python thread alone is counted."""

    def __init__(self, claimed: frozenset[str] = frozenset()) -> None:
        self._claimed = set(claimed)
        self._before: set[str] = set()
        self._own = 0.0
        self._helpers = 0.0
        self._past = sum(_thread_seconds(task) for task in claimed)

    def restarted(self) -> StageThreads:
        """The same threads with their CPU time counted from zero."""
        return StageThreads(frozenset(self._claimed))

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Claim the threads started in the block; no other stage may start threads meanwhile."""
        self._before = _threads()
        yield
        self._claimed |= _threads() - self._before

    def claim_late(self) -> None:
        """Claim what was started since `claim` began, too: some encoders start threads late.

        Only right for the stage that claims last, since everything but Python's threads is taken.
        """
        python = {str(thread.native_id) for thread in threading.enumerate()}
        self._claimed |= _threads() - self._before - python

    @contextmanager
    def own(self) -> Iterator[None]:
        """Count the calling Python thread's CPU time in the block."""
        began = time.thread_time()
        try:
            yield
        finally:
            self._own += time.thread_time() - began

    def sample(self) -> None:
        """Read the claimed threads' clocks; call before they end."""
        self._helpers = sum(_thread_seconds(task) for task in self._claimed) - self._past

    @property
    def seconds(self) -> float:
        """CPU seconds counted so far, helper threads as of the last `sample`."""
        return self._own + self._helpers


def _threads() -> set[str]:
    return {entry.name for entry in _TASKS.iterdir()} if _TASKS.is_dir() else set()


def _thread_seconds(task: str) -> float:
    try:
        fields = (_TASKS / task / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * _TICK_SECONDS  # utime and stime (proc(5))
