"""`adcvsr upscale INPUT... OUTPUT`: video files, four times larger."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bundle.schema import COLOUR_MATCHES
from ._options import (
    backend_option,
    crop_option,
    cut_reset_option,
    json_option,
    model_option,
    output_size_options,
    read_output_size,
    variant_option,
)
from ._say import note
from ._trace import open_trace, trace_option
from ._upscale_runs import report_all, upscale_all, upscale_one

if TYPE_CHECKING:
    from ..pictures.output_size import OutputSize
    from ..runtime.batch import Job

NETWORK = ("backend", "variant", "tile", "colour_match", "threads", "allow_untrained")
READING = ("start", "duration", "video_stream", "deinterlace", "decoder", "crop")
WRITING = ("encoder", "preset", "crf", "bits", "chroma", "audio", "overwrite")
"""Options by what they are for, under the names of `Upscaler`, `ReadOptions`, `EncodeOptions`."""


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
@crop_option
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
@output_size_options
@click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: by OUTPUT's ending].")
@click.option(
    "--preset",
    metavar="NAME",
    help="Encoder preset; auto is the slowest that keeps real time [default: veryfast].",
)
@click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20].")
@click.option(
    "--bits",
    type=click.Choice(["auto", "8", "10"]),
    default="auto",
    show_default=True,
    callback=lambda _context, _option, value: None if value == "auto" else int(value),
    help="Bits of OUTPUT's levels: INPUT's where the encoder has them (auto), or as many.",
)
@click.option(
    "--chroma",
    type=click.Choice(["auto", "420"]),
    default="auto",
    show_default=True,
    help="Keep INPUT's 4:2:2 or 4:4:4 where the encoder has it, or write 4:2:0.",
)
@click.option(
    "--audio",
    type=click.Choice(["auto", "copy", "none"]),
    default="auto",
    show_default=True,
    help="Copy sound, and encode anew what OUTPUT's container cannot hold (auto), leave that out "
    "(copy), or leave out all (none).",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option(
    "--skip-existing", is_flag=True, help="Leave inputs out whose output exists: a run goes on."
)
@click.option(
    "--strict",
    is_flag=True,
    help="Exit 1 where INPUT is damaged or ends early; OUTPUT is written all the same.",
)
@click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained.")
@trace_option
@json_option
def command(
    paths: tuple[str, ...],
    model: str,
    compare: Path | None,
    skip_existing: bool,
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

    A network that is not causal runs in overlapping windows, as its bundle says; notes tell where
    windows or tiles are blended instead of exact (docs/windows-and-tiles.md).
    """
    from ..runtime.upscaler import Upscaler

    if skip_existing and options["overwrite"]:
        raise click.UsageError("--skip-existing leaves outputs, --overwrite replaces them: choose")
    size = read_output_size(options)
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
    with (
        open_trace(trace_path, overwrite=options["overwrite"]) as trace,
        Upscaler(model, trace=trace, **{name: options[name] for name in NETWORK}) as upscaler,
    ):
        how: Any = {"strict": strict, "as_json": as_json}
        if work.many:
            wrong = upscale_all(upscaler, work.todo, work.skipped, choices, **how)
        else:
            wrong = upscale_one(upscaler, work.todo[0], compare, choices, **how)
    if wrong is not None:  # after the trace is written
        raise wrong


def _choices(options: dict[str, Any], size: OutputSize | None) -> dict[str, Any]:
    """How files are read and written, for `Upscaler.upscale_file`."""
    from ..runtime.video.encoders import EncodeOptions
    from ..runtime.video.read_options import ReadOptions

    return {
        "cut_reset": options["cut_reset"],
        "options": EncodeOptions(**{name: options[name] for name in WRITING}, size=size),
        "read": ReadOptions(**{name: options[name] for name in READING}),
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


def _split_paths(
    paths: tuple[str, ...], model: str | None, label: str
) -> tuple[tuple[str, ...], Path]:
    """Inputs and output; the output has a default name where none was given, said in a note."""
    from ..given import refuse_address
    from ..runtime.batch import default_output

    for path in paths:
        refuse_address(path)
    if len(paths) > 1:
        return paths[:-1], Path(paths[-1])
    if model is not None:
        from ..bundle import open_bundle

        label = f"x{open_bundle(model).scale}"
    output = default_output(paths[0], label)
    note(f"no OUTPUT was named: it will be '{output}'")
    return paths, output
