"""`adcvsr upscale INPUT... OUTPUT`: video files, four times larger."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._job_runs import JobRun, upscale_jobs
from ._options import json_option, read_output_size, read_size
from ._say import keep_stdout, note
from ._students import AUTO, file_model, of_strength
from ._trace import open_trace, trace_option
from ._upscale_options import (
    NETWORK,
    READING,
    WRITING,
    job_options,
    job_settings,
    ray_option,
    threads_option,
    upscale_options,
)
from ._upscale_runs import report_all, upscale_all, upscale_one
from ._upscale_streams import has_stream, upscale_stream

if TYPE_CHECKING:
    from ..pictures.output_size import OutputSize
    from ..runtime.batch import Job

PLAIN = ("size", "pixel_format", "rate")
"""Options of pipes and pictures, under the names of `ReadOptions`."""

MOST_FPS = 1000


class Rate(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Frames a second: a number, or a fraction such as 30000/1001."""

    name = "FPS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Fraction:
        """Read it exactly."""
        try:
            rate = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
        if not 0 < rate <= MOST_FPS:
            self.fail(f"'{value}'; expected frames a second up to {MOST_FPS}", param, ctx)
        return rate


@click.command()
@click.argument("paths", metavar="INPUT... [OUTPUT]", nargs=-1, required=True)
@upscale_options
@click.option(
    "--size",
    type=read_size,
    metavar="WxH",
    help="INPUT - is raw frames of this size, without a header.",
)
@click.option(
    "--pixel-format", metavar="NAME", help="Format of raw frames, by FFmpeg's name [yuv420p]."
)
@click.option(
    "--rate",
    type=Rate(),
    help="Frames a second of raw frames and of numbered pictures [25].",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Also write a clip with bicubic and the network side by side.",
)
@threads_option
@click.option(
    "--skip-existing", is_flag=True, help="Leave out inputs whose output exists, to continue a run."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Work in segments, and go on with those an interrupted run left; a killed run loses the "
    "segment it was at.",
)
@click.option(
    "--job",
    "job_folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Keep the segments in DIR, with a certificate [default with --resume: OUTPUT.job, until "
    "OUTPUT is there].",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    help="Processes that make segments (with --ray local: segments at once), the processors shared "
    "out among them.",
)
@ray_option
@job_options
@click.option(
    "--strict",
    is_flag=True,
    help="Exit 1 where INPUT is damaged or ends early; OUTPUT is written anyway.",
)
@trace_option
@json_option
def command(
    paths: tuple[str, ...],
    model: str,
    compare: Path | None,
    skip_existing: bool,
    resume: bool,
    job_folder: Path | None,
    workers: int,
    ray: str | None,
    segment_seconds: float,
    equal_within: int,
    strict: bool,
    trace_path: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Upscale the video INPUT four times, or to another size, into OUTPUT.

    Every frame, its time, rotation, aspect and colours are kept; audio and text subtitles are
    carried over (docs/files.md). OUTPUT appears only when it is complete; its ending (mp4, mkv,
    mov, webm, avi, ts) chooses the container. With several inputs, a folder or a pattern such as
    'clips/*.mp4', OUTPUT is a folder (with one it may be); a file that fails does not end the run.
    Without OUTPUT, in.mp4 becomes in_x4.mp4 beside it, and a folder clips becomes clips_x4.

    INPUT may be - (y4m or another container on standard input; raw frames with --size), a picture,
    or numbered ones (frame_%05d.png); OUTPUT - (y4m, or raw frames with --encoder rawvideo), a png
    or jpg, or numbered ones. Either may be an address of 'adcvsr live' (gst:, rtsp://, hls: and
    others): every frame goes through, pictures alone.

    A network that is not causal runs in overlapping windows, as its bundle says; notes tell where
    windows or tiles are blended instead of exact (docs/windows-and-tiles.md).

    With --resume, --job, --workers or --ray files are made in segments, whose pictures are those of
    one run to the last bit (docs/jobs.md, docs/cluster.md).
    """
    from ..runtime.upscaler import Upscaler

    if has_stream(paths):
        upscale_stream(paths, click.get_current_context().params)
        return
    if paths[-1] == "-":
        keep_stdout()
        if as_json:
            raise click.UsageError("stdout cannot hold both: --json needs a file as OUTPUT")
    if skip_existing and options["overwrite"]:
        raise click.UsageError("--skip-existing leaves outputs, --overwrite replaces them: choose")
    size = read_output_size(options)
    model = of_strength(model, options["strength"])
    choices = _choices(options, size)
    inputs, output = _split_paths(
        paths, model if size is None else None, "" if size is None else size.label
    )
    work = _find_work(inputs, output, skip=skip_existing, overwrite=options["overwrite"])
    if work.many and compare is not None:
        raise click.UsageError("--compare is for a single input and a file as OUTPUT")
    if not work.todo:
        if as_json:
            report_all([], [], work.skipped)
        return
    in_job = resume or job_folder is not None or workers > 1 or ray is not None
    _check_without_job(work, choices, in_job=in_job)
    named = model != AUTO
    model = file_model(model, [str(each.source) for each in work.todo], options)
    if in_job:
        _refuse_in_job(compare, trace_path)
        _refuse_plain_in_job(inputs, options)
        planned = {"segment_seconds": segment_seconds, "equal_within": equal_within}
        how = JobRun(
            folder=job_folder,
            root=output if work.many else None,
            resume=resume,
            workers=workers,
            threads=options["threads"],
            ray=ray,
            overwrite=options["overwrite"],
            model_named=named,
            strict=strict,
            as_json=as_json,
        )
        wanted = [
            job_settings(each.source, each.output, model, options, size, **planned)
            for each in work.todo
        ]
        if (wrong := upscale_jobs(wanted, work.skipped, how)) is not None:
            raise wrong
        return
    with (
        open_trace(trace_path, overwrite=options["overwrite"]) as trace,
        Upscaler(model, trace=trace, **_network(options)) as upscaler,
    ):
        say: Any = {"strict": strict, "as_json": as_json}
        if work.many:
            wrong = upscale_all(upscaler, work.todo, work.skipped, choices, **say)
        else:
            wrong = upscale_one(upscaler, work.todo[0], compare, choices, **say)
    if wrong is not None:  # after the trace is written
        raise wrong


def _network(options: dict[str, Any]) -> dict[str, Any]:
    """What upscales and how, for `Upscaler`."""
    return {name: options[name] for name in (*NETWORK, "threads")}


def _refuse_in_job(compare: Path | None, trace_path: Path | None) -> None:
    """Refuse what a job does not do."""
    for name, value in (("--compare", compare), ("--trace", trace_path)):
        if value is not None:
            raise click.UsageError(
                f"{name} is not for segments: leave out --resume, --job, --workers and --ray, or "
                "leave it out"
            )


def _refuse_plain_in_job(inputs: tuple[str, ...], options: dict[str, Any]) -> None:
    """Refuse input that has no segments to come back to."""
    from ..runtime.video.places import is_pipe, is_sequence

    given = [f"--{name.replace('_', '-')}" for name in PLAIN if options[name] is not None]
    given += [text for text in inputs if is_pipe(Path(text)) or is_sequence(Path(text))]
    if given:
        raise click.UsageError(
            f"{given[0]} is not for segments, which are of files: leave out --resume, --job, "
            "--workers and --ray, or make a file of it first"
        )


def _refuse_without_job(context: click.Context) -> None:
    """Refuse what is said of segments where there are none."""
    for name in ("segment_seconds", "equal_within"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} is about segments: give --resume, --job, --workers or "
                "--ray too"
            )


def _choices(options: dict[str, Any], size: OutputSize | None) -> dict[str, Any]:
    """How files are read and written, for `Upscaler.upscale_file`."""
    from ..runtime.video.encoders import EncodeOptions
    from ..runtime.video.read_options import ReadOptions

    return {
        "cut_reset": options["cut_reset"],
        "pixels": options["pixels"],
        "options": EncodeOptions(
            **{name: options[name] for name in (*WRITING, "overwrite")}, size=size
        ),
        "read": ReadOptions(**{name: options[name] for name in (*READING, *PLAIN)}),
    }


@dataclass(frozen=True)
class _Work:
    """What a command is to do."""

    todo: list[Job]
    skipped: list[Job]
    """Those whose output is there, which stays."""

    many: bool
    """Whether the output is a folder."""


def _find_work(inputs: tuple[str, ...], output: Path, *, skip: bool, overwrite: bool) -> _Work:
    """Find the files to upscale, and say what is left out."""
    from ..runtime.batch import Job, is_batch, left_out, plan, split_existing

    many = is_batch(inputs, output)
    jobs = plan(inputs, output) if many else [Job(Path(inputs[0]), output)]
    for line in left_out(inputs, output) if many else ():
        note(line)
    if overwrite or not (skip or many):
        return _Work(jobs, [], many)
    todo, there = split_existing(jobs)
    if there and skip:
        note(f"{len(there)} of {len(jobs)} outputs exist and are left as they are")
    elif there:
        note(
            f"{len(there)} of {len(jobs)} outputs exist: --skip-existing leaves them out, "
            "--overwrite replaces them"
        )
    return _Work(todo, there, many) if skip else _Work(jobs, [], many)


def _check_without_job(work: _Work, choices: dict[str, Any], *, in_job: bool) -> None:
    """Refuse a job's options and an output that cannot be written, before anything is measured.

    An input that is not there is for the run to tell, and so is each of many. A job has its own
    rules.
    """
    from ..runtime.video.output_file import check_output

    if in_job:
        return
    _refuse_without_job(click.get_current_context())
    (job, *_) = work.todo
    if not work.many and job.source.is_file():
        check_output(job.output, choices["options"], job.source)


def _split_paths(
    paths: tuple[str, ...], model: str | None, label: str
) -> tuple[tuple[str, ...], Path]:
    """Inputs and output; the output has a default name where none was given, said in a note."""
    from ..given import refuse_address, refuse_parted
    from ..runtime.batch import default_output, is_nowhere

    for path in paths:
        refuse_address(path)
    refuse_parted(paths)
    if len(paths) > 1:
        return paths[:-1], Path(paths[-1])
    if model is not None:
        from ..bundle import open_bundle

        # Students of the package have one scale, whichever it will be.
        label = f"x{open_bundle('nano' if model == AUTO else model).scale}"
    output = default_output(paths[0], label)
    if not is_nowhere(paths[0]):
        note(f"no OUTPUT was named: it will be '{output}'")  # else there will be none
    return paths, output
