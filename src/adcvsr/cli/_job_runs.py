"""What `adcvsr upscale --resume`, `--job` and `--workers` run: one file as a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ._progress import frame_progress
from ._say import note
from ._upscale_runs import say_report

if TYPE_CHECKING:
    from ..errors import AdcVsrError
    from ..runtime.jobs.settings import JobSettings


def upscale_job(
    settings: JobSettings,
    folder: Path | None,
    *,
    resume: bool,
    workers: int,
    threads: int,
    overwrite: bool,
    strict: bool,
    as_json: bool,
) -> AdcVsrError | None:
    """Upscale one file in segments.

    Args:
        settings: What is asked for.
        folder: The job's; None for one beside the output, which goes when that is there.
        resume: Whether a job that is there is gone on with.
        workers: Processes.
        threads: Of the network, with one worker.
        overwrite: Whether an existing output may be replaced.
        strict: Whether a damaged input is an error in the end.
        as_json: Whether the report is printed as JSON.

    Returns:
        With `strict`, the error where the input is damaged or ends early: its output is written.
    """
    from ..runtime.jobs.local_workers import warn_of_workers
    from ..runtime.jobs.run import default_folder, open_job, remove_folder, run_job

    if line := warn_of_workers(workers, threads):
        note(line)
    output = Path(settings.output)
    with frame_progress(Path(settings.source).name) as progress:
        place = folder or default_folder(output)
        job = open_job(settings, place, resume=resume, overwrite=overwrite)
        joined = run_job(
            job,
            workers=workers,
            threads=threads,
            overwrite=overwrite,
            note=note,
            progress=progress,
        )
    if folder is None:
        remove_folder(job)
    return say_report(joined.report, strict=strict, as_json=as_json)
