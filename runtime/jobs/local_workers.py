"""Several processes of this machine on one job, its processors shared out among them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import JobError, OutOfResourcesError, OutputNotWritableError
from ...host.processors import usable_processors
from .folder import Job

PARENT = "ADCVSR_JOB_PARENT"
"""Environment variable: the process whose end ends a worker, after the segment it is at."""

POLL_S = 0.5
GRACE_S = 10.0
"""Seconds a worker has to end in order when the run is interrupted."""


def share(workers: int) -> int:
    """Threads of each of so many workers, at least 1: together no more than processors."""
    return max(usable_processors() // workers, 1)


def warn_of_workers(workers: int, threads: int) -> str | None:
    """A line where so many workers cost more than they bring; None where they do not."""
    here = usable_processors()
    if workers > here:
        return (
            f"{workers} workers share {here} processors: more than one a processor wait for each "
            "other, which is slower"
        )
    if workers > 1 and threads:
        return f"--threads is for one worker: each of {workers} gets {share(workers)}"
    return None


def parent_gone() -> bool:
    """Whether the process that started this worker has ended."""
    parent = os.environ.get(PARENT)
    return parent is not None and parent != str(os.getppid())


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    log: Path


def run_workers(job: Job, workers: int) -> None:
    """Have a job's open segments made by local processes.

    A worker that ends with an error leaves its segment to the others; what is missing in the end is
    an error, with what the first worker said.

    Args:
        job: Opened.
        workers: How many, at most one a segment.

    Raises:
        JobError: A segment could not be made; finished ones stay.
        OutputNotWritableError: The job's folder cannot be written.
        OutOfResourcesError: The system gives no further process.
    """
    todo = job.open_segments()
    count = min(workers, len(todo))
    running: list[_Worker] = []
    try:
        for number in range(count):
            running.append(_start(job, number, share(count)))  # noqa: PERF401 - ended if one fails
        while any(each.process.poll() is None for each in running):
            time.sleep(POLL_S)
    finally:
        _end(running)
        reasons = [line for each in running if (line := _last_line(each))]
        for each in running:
            each.log.unlink(missing_ok=True)
    left = job.open_segments()
    if left:
        killed = (
            f"{len(left)} of {len(job.plan.segments)} segments are not made: its workers were "
            "killed; the others are kept, --resume goes on"
        )
        raise JobError(reasons[0] if reasons else killed)


def _start(job: Job, number: int, threads: int) -> _Worker:
    log = job.folder / f"worker-{os.getpid()}-{number}.log"
    environment = {**os.environ, PARENT: str(os.getpid())}
    # OpenMP and BLAS count processors themselves.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, str(threads))
    command = [sys.executable, "-m", "adcvsr", "job", "work", str(job.folder), "--quiet"]
    try:
        file = log.open("wb")
    except OSError as error:
        raise OutputNotWritableError(
            f"cannot write '{log}': {error.strerror}; finished segments stay"
        ) from error
    with file:
        try:
            process = subprocess.Popen(
                [*command, "--threads", str(threads)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                env=environment,
            )
        except OSError as error:
            log.unlink(missing_ok=True)
            raise OutOfResourcesError(
                f"worker {number} of '{job.folder}' cannot be started: {error.strerror}; choose "
                "fewer --workers, or end other programs"
            ) from error
    return _Worker(process, log)


def _end(running: list[_Worker]) -> None:
    """Have workers that still run end, in order if they do so in time."""
    alive = [each.process for each in running if each.process.poll() is None]
    for process in alive:
        with suppress(OSError):
            process.terminate()
    until = time.monotonic() + GRACE_S
    for process in alive:
        try:
            process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_line(worker: _Worker) -> str:
    """Why a worker ended, as it said; empty for one that did its work."""
    if worker.process.returncode == 0:
        return ""
    with suppress(OSError):
        lines = worker.log.read_text(errors="replace").strip().splitlines()
        if lines:
            return lines[-1].removeprefix("error: ")
    return f"a worker ended with exit status {worker.process.returncode}"
