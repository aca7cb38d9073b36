"""What `adcvsr upscale --resume`, `--job`, `--workers` and `--ray` run: files as jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ._job_display import jobs_progress
from ._say import note
from ._upscale_runs import Batch, say_report

if TYPE_CHECKING:
    from ..errors import AdcVsrError
    from ..runtime.batch import Job as BatchJob
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.join import Joined
    from ..runtime.jobs.settings import JobSettings


@dataclass(frozen=True, kw_only=True)
class JobRun:
    """How jobs are run."""

    folder: Path | None
    """Of the job, or of those of many; None for one beside each output, which goes when that is
    there."""

    root: Path | None
    """The output folder of many files; None for a single one."""

    resume: bool
    """Whether a job that is there is gone on with."""

    workers: int
    """Processes, or segments at once of Ray on this machine."""

    threads: int
    """Of the network, with one worker, or of a segment on Ray."""

    ray: str | None
    """Where segments are made by Ray; None without."""

    overwrite: bool
    model_named: bool
    """Whether the model was asked for; else that of a job that is there is kept."""

    strict: bool
    """Whether a damaged input is an error in the end."""

    as_json: bool


def upscale_jobs(
    wanted: Sequence[JobSettings], skipped: Sequence[BatchJob], how: JobRun
) -> AdcVsrError | None:
    """Upscale files in segments.

    Returns:
        With `strict`, the error where one is damaged or ends early; of many, the error that names
        those that failed. What could be written is.
    """
    from ..runtime.jobs.local_workers import warn_of_workers

    if how.ray is None and (line := warn_of_workers(how.workers, how.threads)):
        note(line)
    if how.root is None:
        return _one(wanted[0], how)
    return _many(wanted, skipped, how)


def _one(settings: JobSettings, how: JobRun) -> AdcVsrError | None:
    from ..errors import AdcVsrError

    job = _open(settings, how)
    ((_, came),) = _run([job], how)
    if isinstance(came, AdcVsrError):
        raise came
    if how.folder is None:
        job.remove()
    return say_report(came.report, strict=how.strict, as_json=how.as_json)


def _many(
    wanted: Sequence[JobSettings], skipped: Sequence[BatchJob], how: JobRun
) -> AdcVsrError | None:
    from ..errors import AdcVsrError
    from ..system_errors import system_message

    batch = Batch(len(wanted), skipped, strict=how.strict, as_json=how.as_json)
    opened: list[Job] = []
    for settings in wanted:
        try:
            Path(settings.output).parent.mkdir(parents=True, exist_ok=True)
            opened.append(_open(settings, how))
        except AdcVsrError as error:
            batch.failed_at(settings.source, str(error))
        except OSError as error:
            batch.failed_at(settings.source, system_message(error, settings.output))
    for job, came in _run(opened, how):
        if isinstance(came, AdcVsrError):
            batch.failed_at(job.plan.settings.source, str(came))
            continue
        batch.made(came.report)
        if how.folder is None:
            job.remove()
    return batch.end()


def _open(settings: JobSettings, how: JobRun) -> Job:
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.run import default_folder, open_job

    output = Path(settings.output)
    place = how.folder or default_folder(output)
    if how.folder is not None and how.root is not None:
        place = default_folder(how.folder / output.relative_to(how.root.absolute()))
    if how.resume and not how.model_named and Job.is_in(place):
        planned = Job(place).plan.settings.model
        if planned != settings.model:
            note(f"'{place}' was planned with the model {planned}, which goes on")
            settings = replace(settings, model=planned)
    return open_job(settings, place, resume=how.resume, overwrite=how.overwrite)


def _run(jobs: Sequence[Job], how: JobRun) -> Iterator[tuple[Job, Joined | AdcVsrError]]:
    from ..runtime.jobs.run import run_jobs

    with jobs_progress(jobs):
        yield from run_jobs(
            jobs,
            workers=how.workers,
            threads=how.threads,
            ray=how.ray,
            overwrite=how.overwrite,
            note=note,
        )
