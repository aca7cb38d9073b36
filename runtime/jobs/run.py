"""A whole job in one go: planned or gone on with, worked on, joined."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ...errors import JobError
from ...files import file_sha256
from ...reading import read_json
from ..video.output_file import check_output
from .folder import CERTIFICATE, Job
from .identity import require_source
from .join import Joined, join
from .local_workers import run_workers
from .planning import make_plan
from .settings import JobSettings
from .work import Progress, SegmentWorker, work_on


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
        return Job.create(folder, make_plan(settings, overwrite=overwrite))
    if not resume:
        raise JobError(
            f"'{folder}' holds a job already: --resume goes on with it; remove the folder to begin "
            "anew"
        )
    job = Job(folder)
    job.plan.settings.require_same(settings, folder)
    require_source(job.plan)
    options = settings.encode_options(None, overwrite=overwrite or _is_joined(job))
    check_output(Path(settings.output), options, Path(settings.source))
    return job


def run_job(
    job: Job,
    *,
    workers: int = 1,
    threads: int = 0,
    overwrite: bool = False,
    note: Callable[[str], None],
    progress: Callable[[int, int], None] | None = None,
) -> Joined:
    """Make what is open and join.

    Args:
        job: Opened.
        workers: Processes; 1 works in this one.
        threads: Of the network in this one; 0 for all processors.
        overwrite: Whether an existing output may be replaced.
        note: Called with lines worth telling the user.
        progress: Called with frames done and frames in all, in another thread.

    Raises:
        AdcVsrError: A segment or the join failed; finished segments stay.
    """
    for line in job.discard_damaged():
        note(line)
    left = job.open_segments()
    if len(left) < len(job.plan.segments):
        note(f"{len(job.plan.segments) - len(left)} of {len(job.plan.segments)} segments are there")
    if left and workers > 1:
        run_workers(job, workers, progress=progress)
    elif left:
        with SegmentWorker(job, threads=threads) as worker:
            work_on(worker, wait=True, progress=_of_all(job, progress))
    return join(job, overwrite=overwrite or _is_joined(job))


def remove_folder(job: Job) -> None:
    """Remove a job's folder; its output stays."""
    shutil.rmtree(job.folder, ignore_errors=True)


def _is_joined(job: Job) -> bool:
    """Whether the output is there and is this job's, to the last bit."""
    certificate, output = job.folder / CERTIFICATE, Path(job.plan.settings.output)
    if not certificate.is_file() or not output.is_file():
        return False
    found = read_json(certificate, error=JobError, advice="remove it and join again")
    return found["output"]["sha256"].text() == file_sha256(output)


def _of_all(
    job: Job, progress: Callable[[int, int], None] | None
) -> Callable[[Progress], None] | None:
    """Progress of a worker as that of the whole job."""
    if progress is None:
        return None
    finished = {each.index: each.frames for each in job.plan.segments if job.is_done(each.index)}

    def tell(one: Progress) -> None:
        finished[one.segment] = one.frames
        progress(sum(finished.values()), job.plan.frames)

    return tell
