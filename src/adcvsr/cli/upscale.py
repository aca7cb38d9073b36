"""`adcvsr upscale INPUT... OUTPUT`: video files, four times larger."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bundle_schema import COLOUR_MATCHES
from ._options import backend_option, cut_reset_option, json_option, model_option, variant_option
from ._progress import files_progress, frame_progress
from ._say import done, note, print_json, run_notes
from ._trace import open_trace, trace_option

if TYPE_CHECKING:
    from ..runtime.batch import Job
    from ..runtime.upscale_report import UpscaleReport
    from ..runtime.upscaler import Upscaler


class Seconds(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Seconds as a number, or [hours:]minutes:seconds."""

    name = "TIME"

    def convert(self, value: Any, param: Any, ctx: Any) -> Fraction:
        """Read it exactly, as a fraction."""
        try:
            total = Fraction(0)
            for part in str(value).split(":"):
                total = total * 60 + Fraction(part)
        except (ValueError, ZeroDivisionError):
            self.fail(f"'{value}' is no time; expected seconds or [h:]m:s", param, ctx)
        return total


@click.command()
@click.argument("paths", metavar="INPUT... [OUTPUT]", nargs=-1, required=True)
@model_option
@backend_option
@variant_option
@click.option(
    "--tile",
    type=click.IntRange(1),
    metavar="PX",
    help="Give the network at most PX x PX input pixels at once, to save memory: exact for "
    "networks without norms and attention, blended for others.",
)
@click.option(
    "--colour-match",
    type=click.Choice(COLOUR_MATCHES),
    help="Match mean and contrast to the input: not, each frame by itself, or averaged over the "
    "stream so that brightness does not pump [default: as the bundle says].",
)
@click.option("--start", type=Seconds(), default="0", help="Where to begin: seconds or [h:]m:s.")
@click.option("--duration", type=Seconds(), help="How much to upscale [default: to the end].")
@click.option("--video-stream", type=click.IntRange(0), metavar="N", help="Stream of INPUT.")
@click.option(
    "--deinterlace",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="Deinterlace interlaced frames (bwdif), or leave them combed.",
)
@click.option(
    "--decoder",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where INPUT is decoded.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Also write a clip with bicubic and the network side by side.",
)
@cut_reset_option
@click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: by OUTPUT's ending].")
@click.option("--preset", metavar="NAME", help="Encoder preset [default: veryfast].")
@click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20].")
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained.")
@trace_option
@json_option
def command(
    paths: tuple[str, ...],
    model: str,
    backend: str,
    variant: str | None,
    tile: int | None,
    colour_match: str | None,
    start: Fraction,
    duration: Fraction | None,
    video_stream: int | None,
    deinterlace: Any,
    decoder: Any,
    compare: Path | None,
    cut_reset: bool,
    encoder: str | None,
    preset: str | None,
    crf: int | None,
    threads: int,
    overwrite: bool,
    allow_untrained: bool,
    trace_path: Path | None,
    as_json: bool,
) -> None:
    """Upscale the video INPUT four times into OUTPUT.

    Every frame, its time, rotation, aspect and colours are kept; audio and text subtitles are
    carried over (docs/files.md). OUTPUT appears only when it is complete; its ending (mp4, mkv,
    mov, webm, avi, ts) chooses the container. With several inputs, a folder or a pattern such as
    'clips/*.mp4', OUTPUT is a folder (with one it may be); a file that fails does not end the run.
    Without OUTPUT, in.mp4 becomes in_x4.mp4 beside it, and a folder clips becomes clips_x4.

    A network that is not causal runs in overlapping windows, as its bundle says; notes tell where
    windows or tiles are blended instead of exact (docs/windows-and-tiles.md).
    """
    from ..given import refuse_address
    from ..runtime.batch import default_output, is_batch, plan
    from ..runtime.upscaler import Upscaler
    from ..runtime.video.encoders import EncodeOptions
    from ..runtime.video.read_options import ReadOptions

    choices: dict[str, Any] = {
        "cut_reset": cut_reset,
        "options": EncodeOptions(encoder=encoder, preset=preset, crf=crf, overwrite=overwrite),
        "read": ReadOptions(
            start=start,
            duration=duration,
            video_stream=video_stream,
            deinterlace=deinterlace,
            decoder=decoder,
        ),
    }
    for path in paths:
        refuse_address(path)
    named = len(paths) > 1
    inputs = paths[:-1] if named else paths
    output = Path(paths[-1]) if named else default_output(paths[0])
    if not named:
        note(f"no OUTPUT was named: it will be '{output}'")
    jobs = plan(inputs, output) if is_batch(inputs, output) else None
    if jobs is not None and compare is not None:
        raise click.UsageError("--compare is for a single input and a file as OUTPUT")
    with (
        open_trace(trace_path, overwrite=overwrite) as trace,
        Upscaler(
            model,
            backend=backend,
            variant=variant,
            tile=tile,
            colour_match=colour_match,
            threads=threads,
            allow_untrained=allow_untrained,
            trace=trace,
        ) as upscaler,
    ):
        if jobs is not None:
            _upscale_all(upscaler, jobs, choices, as_json=as_json)
            return
        source = Path(inputs[0])
        with frame_progress(source.name) as progress:
            report = upscaler.upscale_file(
                source, output, compare=compare, progress=progress, **choices
            )
    if as_json:
        print_json(report.to_json(), indent=None)
    else:
        _summary(report)


def _upscale_all(
    upscaler: Upscaler, jobs: list[Job], choices: dict[str, Any], *, as_json: bool
) -> None:
    """Upscale file after file; those that fail are named at the end.

    Raises:
        BatchError: Some failed.
    """
    from ..errors import AdcVsrError, BatchError, OutputNotWritableError

    finished, failed = [], []
    with files_progress(len(jobs)) as begin:
        for index, job in enumerate(jobs):
            try:
                job.output.parent.mkdir(parents=True, exist_ok=True)
                report = upscaler.upscale_file(
                    job.source,
                    job.output,
                    progress=begin(index, job.source.name),
                    **choices,
                )
            except OSError as error:
                if not isinstance(error, AdcVsrError):
                    error = OutputNotWritableError(f"'{job.output}': {error.strerror or error}")
                failed.append({"input": str(job.source), "error": str(error)})
            except AdcVsrError as error:
                failed.append({"input": str(job.source), "error": str(error)})
            else:
                finished.append(report.to_json())
                if not as_json:
                    _summary(report)
                continue
            click.echo(f"error: {failed[-1]['error']}", err=True)
    if as_json:
        print_json({"files": finished, "failed": failed}, indent=None)
    if failed:
        names = ", ".join(Path(each["input"]).name for each in failed)
        raise BatchError(f"{len(failed)} of {len(jobs)} files failed: {names}")


def _summary(report: UpscaleReport) -> None:
    """Print what was done, notes first."""
    run_notes(report.notes, report.backend_reasons)
    (w, h), (big_w, big_h) = report.input_size, report.output_size
    done(
        f"{report.output}: {report.frames} frames, {w}x{h} -> {big_w}x{big_h}, "
        f"{report.seconds:.1f} s, {report.fps:.1f} fps "
        f"({report.model} {report.variant} on {report.backend}, {report.encoder})"
    )
