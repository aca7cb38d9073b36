"""`adcvsr upscale INPUT OUTPUT`: a video file, four times larger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..bundle_schema import COLOUR_MATCHES
from ._options import backend_option, cut_reset_option, json_option, model_option, variant_option
from ._progress import frame_progress

if TYPE_CHECKING:
    from ..runtime.upscaler import UpscaleReport


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.argument("output", metavar="OUTPUT", type=click.Path(path_type=Path))
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
@cut_reset_option
@click.option("--encoder", metavar="NAME", help="FFmpeg encoder [default: by OUTPUT's ending].")
@click.option("--preset", metavar="NAME", help="Encoder preset [default: veryfast].")
@click.option("--crf", type=click.IntRange(0, 63), help="Constant rate factor [default: 20].")
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it exists.")
@click.option("--allow-untrained", is_flag=True, help="Run a bundle marked untrained.")
@json_option
def command(
    source: Path,
    output: Path,
    model: str,
    backend: str,
    variant: str | None,
    tile: int | None,
    colour_match: str | None,
    cut_reset: bool,
    encoder: str | None,
    preset: str | None,
    crf: int | None,
    threads: int,
    overwrite: bool,
    allow_untrained: bool,
    as_json: bool,
) -> None:
    """Upscale the video INPUT four times into OUTPUT.

    Every frame, its time, rotation, aspect and colours are kept; audio and text subtitles are
    carried over. OUTPUT appears only when it is complete; its ending (mp4, mkv, mov, webm, avi, ts)
    chooses the container.

    A network that is not causal runs in overlapping windows, as its bundle says; notes tell where
    windows or tiles are blended instead of exact (docs/windows-and-tiles.md).
    """
    from ..runtime.sink import EncodeOptions
    from ..runtime.upscaler import Upscaler

    options = EncodeOptions(encoder=encoder, preset=preset, crf=crf, overwrite=overwrite)
    with (
        Upscaler(
            model,
            backend=backend,
            variant=variant,
            tile=tile,
            colour_match=colour_match,
            threads=threads,
            allow_untrained=allow_untrained,
        ) as upscaler,
        frame_progress(source.name) as progress,
    ):
        report = upscaler.upscale_file(
            source, output, options=options, cut_reset=cut_reset, progress=progress
        )
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        _summary(report)


def _summary(report: UpscaleReport) -> None:
    """Print what was done, notes first."""
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    (w, h), (big_w, big_h) = report.input_size, report.output_size
    click.echo(
        f"{report.output}: {report.frames} frames, {w}x{h} -> {big_w}x{big_h}, "
        f"{report.seconds:.1f} s, {report.fps:.1f} fps "
        f"({report.model} {report.variant} on {report.backend}, {report.encoder})"
    )
