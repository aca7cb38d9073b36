"""Options of `upscale` that `job plan` has too: what upscales, what is read, what is written."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..bundle.schema import COLOUR_MATCHES
from ._options import (
    auto_model_option,
    backend_option,
    bits_option,
    crop_option,
    cut_reset_option,
    hdr_option,
    output_size_options,
    pixels_option,
    variant_option,
)
from ._students import strength_option

if TYPE_CHECKING:
    from ..pictures.output_size import OutputSize
    from ..runtime.jobs.settings import JobSettings

NETWORK = ("backend", "variant", "tile", "colour_match", "allow_untrained")
READING = ("start", "duration", "video_stream", "deinterlace", "decoder", "crop", "hdr")
WRITING = ("encoder", "preset", "crf", "bits", "chroma", "audio")
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


NETWORK_OPTIONS = (
    auto_model_option,
    strength_option,
    backend_option,
    variant_option,
    click.option(
        "--tile",
        type=click.IntRange(1),
        metavar="PX",
        help="Give the network at most PX x PX input pixels at once, to save memory: exact for "
        "networks without norms and attention, blended for others.",
    ),
    click.option(
        "--colour-match",
        type=click.Choice(COLOUR_MATCHES),
        help="Match mean and contrast to the input: not, each frame by itself, or averaged over "
        "the stream so that brightness does not pump [default: as the bundle says].",
    ),
    cut_reset_option,
    pixels_option,
    click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained."),
)

READING_OPTIONS = (
    click.option(
        "--start", type=Seconds(), default="0", help="Where to begin: seconds or [h:]m:s."
    ),
    click.option("--duration", type=Seconds(), help="How much to upscale [default: to the end]."),
    crop_option,
    click.option("--video-stream", type=click.IntRange(0), metavar="N", help="Stream of INPUT."),
    click.option(
        "--deinterlace",
        type=click.Choice(["auto", "off"]),
        default="auto",
        show_default=True,
        help="Deinterlace interlaced frames (bwdif), or leave them combed.",
    ),
    click.option(
        "--decoder",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="Where INPUT is decoded.",
    ),
    hdr_option,
)

WRITING_OPTIONS = (
    output_size_options,
    click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: by OUTPUT's ending]."),
    click.option(
        "--preset",
        metavar="NAME",
        help="Encoder preset; auto is the slowest that keeps real time [default: veryfast].",
    ),
    click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20]."),
    bits_option,
    click.option(
        "--chroma",
        type=click.Choice(["auto", "420"]),
        default="auto",
        show_default=True,
        help="Keep INPUT's 4:2:2 or 4:4:4 where the encoder has it, or write 4:2:0.",
    ),
    click.option(
        "--audio",
        type=click.Choice(["auto", "copy", "none"]),
        default="auto",
        show_default=True,
        help="Copy sound, and encode again what OUTPUT's container cannot hold (auto), leave that "
        "out (copy), or leave out all (none).",
    ),
    click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists."),
)


threads_option = click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    help="Network threads, on Ray the processors of a segment [0: all, on a cluster 4].",
)
ray_option = click.option(
    "--ray",
    metavar="auto|local|ADDRESS",
    help="Have segments made by Ray: on the cluster this machine is part of, on this machine "
    "alone, or on a cluster at ADDRESS.",
)
JOB_OPTIONS = (
    click.option(
        "--segment-seconds",
        type=float,
        default=10.0,
        show_default=True,
        help="Length of a segment.",
    ),
    click.option(
        "--equal-within",
        type=click.IntRange(0, 255),
        default=0,
        show_default=True,
        metavar="LEVELS",
        help="Accept workers whose pictures differ by up to this many levels from the first one's.",
    ),
)
"""Of segments; under the names of `JobSettings`."""


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command what segments are planned with."""
    for option in reversed(JOB_OPTIONS):
        command = option(command)
    return command


def upscale_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command all of them."""
    for option in reversed((*NETWORK_OPTIONS, *READING_OPTIONS, *WRITING_OPTIONS)):
        command = option(command)
    return command


def job_settings(
    source: str | Path,
    output: Path,
    model: str,
    options: dict[str, Any],
    size: OutputSize | None,
    **more: Any,
) -> JobSettings:
    """What a job is asked for, by these options and `more` of its own."""
    from ..runtime.jobs.settings import JobSettings, size_settings
    from ..runtime.jobs.staging import is_stored

    path = Path(model)
    named = {name: options[name] for name in (*NETWORK, *READING, *WRITING, "cut_reset", "pixels")}
    named["start"] = str(named["start"])
    named["duration"] = None if named["duration"] is None else str(named["duration"])
    named["crop"] = None if named["crop"] is None else str(named["crop"])
    return JobSettings(
        source=str(source) if is_stored(str(source)) else str(Path(source).absolute()),
        output=str(output.absolute()),
        model=str(path.absolute()) if len(path.parts) > 1 else model,
        **named,
        **size_settings(size),
        **more,
    )
