"""What `adcvsr upscale` runs: one file, or many of which each may fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..counted import counted
from ._progress import files_progress, frame_progress
from ._say import detail, done, failed_files, pixels_line, print_json, run_notes, say_error

if TYPE_CHECKING:
    from ..errors import AdcVsrError
    from ..runtime.batch import Job
    from ..runtime.upscale_report import UpscaleReport
    from ..runtime.upscaler import Upscaler


def upscale_one(
    upscaler: Upscaler,
    job: Job,
    compare: Path | None,
    choices: dict[str, Any],
    *,
    strict: bool,
    as_json: bool,
) -> AdcVsrError | None:
    """Upscale one file.

    Returns:
        With `strict`, the error where it is damaged or ends early: its output is written.
    """
    with frame_progress(job.source.name) as progress:
        report = upscaler.upscale_file(
            job.source, job.output, compare=compare, progress=progress, **choices
        )
    return say_report(report, strict=strict, as_json=as_json)


def say_report(report: UpscaleReport, *, strict: bool, as_json: bool) -> AdcVsrError | None:
    """Print what was done to one file.

    Returns:
        With `strict`, the error where it is damaged or ends early: its output is written.
    """
    from ..errors import IncompleteVideoError

    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        _summary(report)
    if strict and not report.whole:
        return IncompleteVideoError(
            f"'{report.input}' is damaged or ends early (--strict); '{report.output}' holds what "
            "came"
        )
    return None


def upscale_all(
    upscaler: Upscaler,
    jobs: Sequence[Job],
    skipped: Sequence[Job],
    choices: dict[str, Any],
    *,
    strict: bool,
    as_json: bool,
) -> AdcVsrError | None:
    """Upscale file after file.

    Returns:
        The error that names those that failed or, with `strict`, are damaged or end early.
    """
    batch = Batch(len(jobs), skipped, strict=strict, as_json=as_json)
    with files_progress(len(jobs)) as begin:
        for index, job in enumerate(jobs):
            report = _try_one(upscaler, job, begin(index, job.source.name), choices)
            if isinstance(report, str):
                batch.failed_at(str(job.source), report)
            else:
                batch.made(report)
    return batch.end()


class Batch:
    """What becomes of many files, said as it comes.

    Args:
        count: All files.
        skipped: Those that were left out.
        strict: Whether a damaged input is an error in the end.
        as_json: Whether all is printed as JSON in the end.
    """

    def __init__(self, count: int, skipped: Sequence[Job], *, strict: bool, as_json: bool) -> None:
        self.count, self.skipped = count, skipped
        self.strict, self.as_json = strict, as_json
        self._finished: list[dict[str, Any]] = []
        self._failed: list[dict[str, str]] = []
        self._torn: list[str] = []

    def made(self, report: UpscaleReport) -> None:
        """Count a file that was upscaled."""
        self._finished.append(report.to_json())
        if not report.whole:
            self._torn.append(Path(report.input).name)
        if not self.as_json:
            _summary(report)

    def failed_at(self, source: str, reason: str) -> None:
        """Count a file that failed."""
        self._failed.append({"input": source, "error": reason})
        say_error(reason)

    def end(self) -> AdcVsrError | None:
        """Print the JSON; the error that names those that failed or, with `strict`, are torn."""
        from ..errors import IncompleteVideoError

        if self.as_json:
            report_all(self._finished, self._failed, self.skipped)
        if self._failed:
            return failed_files([each["input"] for each in self._failed], self.count)
        if self.strict and self._torn:
            return IncompleteVideoError(
                f"{len(self._torn)} of {self.count} files are damaged or end early (--strict), "
                f"their outputs hold what came: {', '.join(self._torn)}"
            )
        return None


def _try_one(
    upscaler: Upscaler, job: Job, progress: Any, choices: dict[str, Any]
) -> UpscaleReport | str:
    """Upscale one file of many; where that fails, the reason."""
    from ..errors import AdcVsrError
    from ..fault import fault_line
    from ..system_errors import system_message

    try:
        job.output.parent.mkdir(parents=True, exist_ok=True)
        return upscaler.upscale_file(job.source, job.output, progress=progress, **choices)
    except AdcVsrError as error:
        return str(error)
    except OSError as error:
        return system_message(error, job.output)
    except Exception as error:  # a fault met in one file says nothing about the others
        return fault_line(error)


def report_all(
    finished: list[dict[str, Any]], failed: list[dict[str, str]], skipped: Sequence[Job]
) -> None:
    """Print the JSON of a run over many files."""
    left = [{"input": str(job.source), "output": str(job.output)} for job in skipped]
    print_json({"files": finished, "failed": failed, "skipped": left}, indent=None)


def _summary(report: UpscaleReport) -> None:
    """Print what was done, notes first."""
    run_notes(report.notes, report.backend_reasons)
    detail(
        pixels_line(
            report.pixels,
            report.pixels_reason,
            (report.copies["in"], report.copies["out"]),
            report.gpu_copies,
        )
    )
    (w, h), (big_w, big_h) = report.input_size, report.output_size
    done(
        f"{report.output}: {counted(report.frames, 'frame')}, {w}x{h} -> {big_w}x{big_h}, "
        f"{report.seconds:.1f} s{f', {report.fps:.1f} fps' if report.frames > 1 else ''} "
        f"({report.model} {report.variant} on {report.backend}, {report.encoder})"
    )
