"""What becomes of a run whose loader's workers die or stand still: one line, no endless wait.

workers = Workers(processes)
part = workers.take(parts)  # the next of a torch DataLoader's iterator
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import TypeVar

from ...errors import TrainingWorkerError

T = TypeVar("T")

STALL_WAITS, WAIT_SECONDS = 20, 30.0
"""After ten minutes without a batch a worker stands still, and the run ends. A first batch, whose
clips are all decoded and degraded for it, takes seconds, half a minute of 25 frames on a busy
processor; a disk that wakes up or a network share that comes back may take a few minutes. Waited in
turns: a process that was stopped meanwhile has lost one of them, whatever the clock says."""

DYING_SECONDS = 5.0
"""Time for a worker whose pipes broke to be dead; milliseconds unless the machine is very busy."""

DIED = re.compile(r"DataLoader worker \(pid (\d+)\) .* (?:by signal: |with )([^.]+)\.")
"""Torch's message of a worker's death; nothing else tells its RuntimeErrors apart."""


class Workers:
    """The processes of one loader.

    Args:
        processes: Empty where the loader works in this process.
    """

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self._processes = processes

    def take(self, parts: Iterator[T]) -> T:
        """Take what the workers made next.

        Raises:
            TrainingWorkerError: One of them died, or gives nothing for too long.
        """
        if not self._processes:
            return next(parts)
        watch = _Watch(self._processes)
        try:
            with watch:
                return next(parts)
        except (RuntimeError, OSError, EOFError) as error:
            dead = self._dead(len(self._processes) if watch.ended_them else 1)
            if watch.ended_them:
                raise TrainingWorkerError(_stalled(self._processes)) from error
            if dead:
                raise TrainingWorkerError(_died(dead[0].pid, _cause(dead[0]))) from error
            raise

    def _dead(self, count: int) -> list[BaseProcess]:
        """Workers that ended, once so many did.

        A worker's pipes break before it is dead. Torch tells of the death when it happens; waited
        for here it does not break into what comes next.
        """
        dead: list[BaseProcess] = []
        deadline = time.monotonic() + DYING_SECONDS
        while len(dead) < count and time.monotonic() < deadline:
            with suppress(RuntimeError):
                dead = [process for process in self._processes if process.exitcode is not None]
                time.sleep(0.01)
        return dead


def worker_failure(error: BaseException | None) -> str | None:
    """Say which failure of a worker an error came from, if it did.

    Torch tells of a death in the middle of whatever the process does, so that another error may lie
    around it.
    """
    found = None
    while error is not None:
        said = str(error).strip()
        if isinstance(error, TrainingWorkerError):
            return said
        if isinstance(error, RuntimeError) and (match := DIED.match(said)):
            found = _died(match[1], match[2])
        error = error.__cause__ or error.__context__
    return found


class _Watch:
    """Ends workers that give nothing for too long, from a thread beside the one that waits.

    A worker that stands still inside a C library may hold Python's lock. The loader's own time-out
    is no help then: to take a batch it also asks a thread of the worker, for as long as it takes.

    Args:
        processes: The workers.
    """

    def __init__(self, processes: Sequence[BaseProcess]) -> None:
        self.ended_them = False
        self._processes = processes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        if any(self._done.wait(WAIT_SECONDS) for _ in range(STALL_WAITS)):
            return
        self.ended_them = True
        for process in self._processes:
            process.kill()


def _stalled(processes: Sequence[BaseProcess]) -> str:
    ids = ", ".join(str(process.pid) for process in processes)
    return (
        f"no training data for {STALL_WAITS * WAIT_SECONDS / 60:.0f} minutes: a process that "
        f"prepares it stood still (of {ids}); does the disk or share with the data answer?"
    )


def _cause(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return (signal.strsignal(-code) or f"signal {-code}") if code < 0 else f"exit code {code}"


def _died(pid: object, cause: str) -> str:
    """Say how a worker ended, and what that most often means."""
    likely = {
        "Killed": ", most often by a system out of memory: lower memory_gib or workers",
        "Bus error": ", most often as /dev/shm is full: lower workers, or give Docker a --shm-size",
    }
    return f"process {pid}, which prepares training data, ended: {cause}{likely.get(cause, '')}"
