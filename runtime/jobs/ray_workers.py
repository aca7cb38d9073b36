"""Segments and joins as tasks of Ray: paths go out, a few numbers come back, frames never travel.

Ray places tasks on machines and begins those anew whose worker was killed; what is made, by whom,
and whether it is right stands in the job's folder, which all machines see.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ...errors import AdcVsrError, BackendUnavailableError, JobError, missing_package
from ...fault import fault_line
from ...host.processors import usable_processors
from ...redaction import shown
from .folder import Job
from .join import Joined, join
from .local_workers import share
from .work import SegmentWorker, make_one, not_made

RETRIES = 3
"""Times a segment is begun anew whose worker was killed, before it counts as one that kills."""

WINDOW = 2000
"""Tasks that Ray holds at once: enough for every autoscaler, few for a job of any length."""

CPUS = 4
"""Processors a segment takes on a cluster where nobody says: beyond, threads bring less."""

REACH_S = 10.0
"""A cluster by its address has to answer within."""

POLL_S = 1.0

ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""No statistics go to Ray's makers; a task without a GPU keeps its environment."""

ALONE = {
    "RAY_raylet_start_wait_time_s": "300",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
}
"""Of Ray on this machine alone: a busy one takes longer to start it."""


@dataclass
class _Run:
    """Where a run over several jobs stands."""

    todo: list[tuple[int, int]]
    """Job and segment, last first."""
    left: dict[int, int]
    """Segments not settled, by job."""
    failed: dict[int, dict[int, str]] = field(default_factory=dict)
    """Reasons by job and segment."""
    refused: dict[str, str] = field(default_factory=dict)
    """Machines that may not work, and why."""
    running: dict[Any, tuple[int, int]] = field(default_factory=dict)
    joining: dict[Any, int] = field(default_factory=dict)
    """Jobs of which all is made."""


def run_on_ray(
    jobs: Sequence[Job],
    address: str,
    *,
    workers: int = 1,
    threads: int = 0,
    overwrite: bool | None = None,
    note: Callable[[str], None],
) -> Iterator[tuple[Job, Joined | JobError | None]]:
    """Have the open segments of jobs made on Ray, and joined.

    A segment whose worker is killed is begun anew; one that cannot be made ends with its reason,
    and all others are made.

    Args:
        jobs: Opened, in folders that every machine sees.
        address: `local` for this machine, `auto` for the cluster it is part of, or a cluster's.
        workers: Segments at once on this machine, for `local`.
        threads: Processors a segment takes; 0 for a share of this machine, or a few of a cluster's.
        overwrite: Whether existing outputs may be replaced; None joins nothing.
        note: Called with lines worth telling the user.

    Yields:
        Each job once nothing more is done for it: joined, or the error with the reason, or None
        where nothing was to be joined.

    Raises:
        MissingPackageError: Ray is not installed.
        BackendUnavailableError: There is no cluster at the address.
    """
    opened = [job.open_segments() for job in jobs]
    tasks = [(at, index) for at, todo in enumerate(opened) for index in todo]
    run = _Run(tasks[::-1], {at: len(todo) for at, todo in enumerate(opened)})
    with _cluster(address) as ray:
        cpus = threads or (share(workers) if address == "local" else _few(ray, note))
        join = ray.remote(join_job).options(max_retries=RETRIES)
        try:
            while run.left or run.joining:
                _submit(ray, run, jobs, cpus)
                for at in [at for at, count in run.left.items() if not count]:
                    del run.left[at]
                    if at in run.failed:
                        yield jobs[at], not_made(jobs[at], run.failed[at])
                    elif overwrite is None:
                        yield jobs[at], None
                    else:
                        run.joining[join.remote(str(jobs[at].folder.absolute()), overwrite)] = at
                for reference in _ready(ray, run):
                    if reference in run.joining:
                        yield jobs[run.joining.pop(reference)], _join_result(ray, reference)
                        continue
                    at, index = run.running.pop(reference)
                    _settle(run, at, index, _result(ray, reference), _machines(ray))
        finally:
            for reference in [*run.running, *run.joining]:
                ray.cancel(reference, force=True)


def make_segment(folder: str, index: int, threads: int) -> dict[str, Any]:
    """Make a segment in a worker of Ray; the task itself.

    Returns:
        `machine`, and `refused` where it may not work at all, or `failed` where the segment cannot
        be made, each with the reason.
    """
    import ray

    machine = ray.get_runtime_context().get_node_id()
    try:
        worker = _worker(folder, threads)
    except AdcVsrError as error:
        return {"machine": machine, "refused": str(error)}
    try:
        make_one(worker, index)
    except AdcVsrError as error:
        return {"machine": machine, "failed": str(error)}
    return {"machine": machine}


def join_job(folder: str, overwrite: bool) -> Joined | str:
    """Join a job in a worker of Ray; the reason where it cannot be joined."""
    try:
        return join(Job(Path(folder)), overwrite=overwrite)
    except AdcVsrError as error:
        return str(error)


_kept: dict[tuple[str, int], SegmentWorker] = {}
"""The loaded network of this process, for the segments that come after: one at most."""


def _worker(folder: str, threads: int) -> SegmentWorker:
    key = (folder, threads)
    if key not in _kept:
        while _kept:
            _kept.popitem()[1].__exit__(None, None, None)
        _kept[key] = SegmentWorker(Job(Path(folder)), threads=threads).__enter__()
    return _kept[key]


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Be connected to a cluster, or to one of this machine alone that goes with the run."""
    with ExitStack() as ended:
        ended.enter_context(_environment(ENVIRONMENT))
        try:
            import ray
        except ImportError as error:
            raise missing_package("ray", "ray", "--ray") from error
        more: dict[str, Any] = {}
        if address == "local":
            # Without a token of this run's own Ray keeps one in ~/.ray.
            own = {**ALONE, "RAY_AUTH_TOKEN": _token()}
            ended.enter_context(_environment(own))
            folder = tempfile.mkdtemp(prefix="adcvsr-ray-")
            ended.callback(shutil.rmtree, folder, ignore_errors=True)
            more = {"num_cpus": usable_processors(), "_temp_dir": folder}
            more["include_dashboard"] = False
        ended.callback(ray.shutdown)
        try:
            _reach(address)
            ray.init(address=address, logging_level="ERROR", log_to_driver=False, **more)
        except Exception as error:  # a node that starts too late is a plain one
            if address == "local":
                raise BackendUnavailableError(
                    f"Ray did not start on this machine: {str(error).splitlines()[0]}; where it is "
                    "busy try again later, or take --workers N without --ray"
                ) from error
            raise BackendUnavailableError(
                f"no Ray cluster at '{shown(address)}': {str(error).splitlines()[0]}; 'local' "
                "takes this machine alone, 'auto' the cluster it is part of"
            ) from error
        yield ray


def _reach(address: str) -> None:
    """See whether a cluster's port answers: Ray itself tries on for a minute and more.

    Raises:
        OSError: It does not.
        ValueError: The address has no port that could be one.
    """
    place = urlsplit(address if "//" in address else f"//{address}")
    if place.hostname is not None and place.port is not None:
        socket.create_connection((place.hostname, place.port), timeout=REACH_S).close()


@cache
def _token() -> str:
    """What Ray on this machine asks of who connects; Ray reads it once a process."""
    return secrets.token_hex(32)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment that nobody has set, for as long as it lasts."""
    mine = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)


def _submit(ray: Any, run: _Run, jobs: Sequence[Job], cpus: int) -> None:
    task = ray.remote(make_segment)
    while run.todo and len(run.running) < WINDOW:
        at, index = run.todo.pop()
        job = jobs[at]
        gpu = job.plan.network.backend != "ort-cpu"
        away = {"ray.io/node-id": f"!in({','.join(run.refused)})"} if run.refused else None
        chosen = task.options(
            num_cpus=1 if gpu else cpus,
            num_gpus=int(gpu),
            max_retries=RETRIES,
            label_selector=away,
            name=f"{job.folder.name} segment {index}",
        )
        reference = chosen.remote(str(job.folder.absolute()), index, 0 if gpu else cpus)
        run.running[reference] = (at, index)


def _settle(run: _Run, at: int, index: int, result: dict[str, Any], machines: set[str]) -> None:
    """Take a task's result: done, failed for good, or to be made by another machine."""
    reason = result.get("failed")
    if "refused" in result:
        run.refused[result["machine"]] = result["refused"]
        if machines - set(run.refused):
            run.todo.append((at, index))
            return
        reason = result["refused"]
    if reason is not None:
        run.failed.setdefault(at, {})[index] = reason
    run.left[at] -= 1


def _result(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        found: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayError as error:
        return {"failed": _result_reason(ray, error)}
    return found


def _result_reason(ray: Any, error: Exception) -> str:
    """Why a task ended without a result."""
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = getattr(error, "cause", None)
        return fault_line(cause if isinstance(cause, Exception) else error)
    return (
        f"its worker was killed {RETRIES + 1} times (out of memory, or a fault in a library): "
        f"{str(error).strip().splitlines()[0]}"
    )


def _ready(ray: Any, run: _Run) -> list[Any]:
    """Tasks that have ended; waits for one."""
    waiting = [*run.joining, *run.running]
    if not waiting:
        return []
    ready: list[Any] = ray.wait(waiting, num_returns=1, timeout=POLL_S)[0]
    return ready


def _join_result(ray: Any, reference: Any) -> Joined | JobError:
    try:
        found: Joined | str = ray.get(reference)
    except ray.exceptions.RayError as error:
        return JobError(_result_reason(ray, error))
    return JobError(found) if isinstance(found, str) else found


def _machines(ray: Any) -> set[str]:
    return {each["NodeID"] for each in ray.nodes() if each["Alive"]}


def _few(ray: Any, note: Callable[[str], None]) -> int:
    """Processors of a segment on a cluster: no more than its smallest machine has."""
    counts = [int(each["Resources"].get("CPU", 0)) for each in ray.nodes() if each["Alive"]]
    cpus = max(min([CPUS, *(count for count in counts if count)]), 1)
    note(f"each segment takes {cpus} processor{'s' * (cpus > 1)} (--threads takes others)")
    return cpus
