"""A whole job in one go: planned or gone on with, worked on, joined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...errors import AdcVsrError, JobError
from ..video.output_file import check_output
from .folder import Job
from .identity import require_source
from .join import Joined, is_joined, join
from .local_workers import run_workers
from .planning import make_plan
from .settings import JobSettings
from .work import SegmentWorker, work_on


def default_folder(output: Path) -> Path:
    """Where a job lies that was given no folder: beside its output."""
    return output.with_name(f"{output.name}.job")


def open_job(settings: JobSettings, folder: Path, *, resume: bool, overwrite: bool) -> Job:
    """Go on with the job in a folder, or plan one there.

    Args:
        settings: What is asked for.
        folder: The job's.
        resume: Whether a job that is there is gone on with.
        overwrite: Whether an existing output may be replaced.

    Raises:
        JobError: There is one and `resume` is off, or it is of other settings, or its source was
            changed.
        AdcVsrError: It cannot be planned.
    """
    if not Job.is_in(folder):
        Job.check_place(folder)
        plan = make_plan(settings, overwrite=overwrite)
        try:
            return Job.create(folder, plan)
        except JobError:
            if not (resume and Job.is_in(folder)):
                raise  # else another run planned it meanwhile
    if not resume:
        raise JobError(
            f"'{folder}' holds a job already: --resume continues it; remove the folder to begin "
            "again"
        )
    job = Job(folder)
    job.plan.settings.require_same(settings, folder)
    source = require_source(job.plan)
    mine = is_joined(job, thorough=True)
    options = settings.encode_options(None, overwrite=overwrite or mine)
    check_output(Path(settings.output), options, source)
    return job


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int = 1,
    threads: int = 0,
    ray: str | None = None,
    overwrite: bool = False,
    note: Callable[[str], None],
) -> Iterator[tuple[Job, Joined | AdcVsrError]]:
    """Make what is open of each job, and join it: one after another, or all at once on Ray.

    Args:
        jobs: Opened.
        workers: See `run_job`; on Ray of this machine segments at once.
        threads: See `run_job`; on Ray processors of a segment.
        ray: `local`, `auto` or a cluster's address; None works without Ray.
        overwrite: Whether existing outputs may be replaced.
        note: Called with lines worth telling the user.

    Yields:
        Each job with what came of it: the error where it could not be made or joined.

    Raises:
        MissingPackageError, BackendUnavailableError: Ray is not there.
    """
    if ray is None:
        for job in jobs:
            choices: Any = {"workers": workers, "threads": threads, "note": note}
            yield job, _or_error(partial(run_job, job, overwrite=overwrite, **choices))
        return
    from .ray_workers import run_on_ray

    for job in jobs:
        _look_at_segments(job, note)
    options: Any = {"workers": workers, "threads": threads, "note": note}
    for job, came in run_on_ray(jobs, ray, overwrite=overwrite, **options):
        assert came is not None
        yield job, came


def run_job(
    job: Job,
    *,
    workers: int = 1,
    threads: int = 0,
    overwrite: bool = False,
    note: Callable[[str], None],
) -> Joined:
    """Make what is open and join.

    Args:
        job: Opened.
        workers: Processes; 1 works in this one.
        threads: Of the network in this one; 0 for all processors.
        overwrite: Whether an existing output may be replaced.
        note: Called with lines worth telling the user.

    Raises:
        AdcVsrError: A segment or the join failed; finished segments stay.
    """
    left = _look_at_segments(job, note)
    if left and workers > 1:
        run_workers(job, workers)
    elif left:
        with SegmentWorker(job, threads=threads) as worker:
            work_on(worker, wait=True)
    return join(job, overwrite=overwrite)


def _look_at_segments(job: Job, note: Callable[[str], None]) -> list[int]:
    """Forget what is damaged, and say what is there; the segments that are open."""
    for line in job.discard_damaged():
        note(line)
    left = job.open_segments()
    if len(left) < len(job.plan.segments):
        note(f"{len(job.plan.segments) - len(left)} of {len(job.plan.segments)} segments are there")
    return left


def _or_error(run: Callable[[], Joined]) -> Joined | AdcVsrError:
    try:
        return run()
    except AdcVsrError as error:
        return error
