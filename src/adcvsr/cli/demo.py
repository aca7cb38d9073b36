"""`adcvsr demo`: something to look at without a file of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import backend_option, model_option
from ._progress import frame_progress


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("adcvsr-demo"),
    show_default=True,
    help="Folder to write.",
)
@model_option
@backend_option
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo.")
def command(output: Path, model: str, backend: str, overwrite: bool) -> None:
    """Draw a moving clip, degrade it, upscale it, and lay the result beside bicubic.

    Writes input.mp4, upscaled.mp4, side_by_side.mp4 and side_by_side.png (left bicubic, right
    upscaled).
    """
    from ..runtime.demo import run_demo
    from ..runtime.upscaler import Upscaler

    click.echo("drawing the clip ...", err=True)
    with (
        Upscaler(model, backend=backend) as upscaler,
        frame_progress("demo") as progress,
    ):
        result = run_demo(output, upscaler, overwrite=overwrite, progress=progress)
    for path in result.files.values():
        click.echo(str(path))
    click.echo(
        f"{result.report.fps:.1f} fps; PSNR-Y to the drawn truth: "
        f"bicubic {result.psnr_bicubic:.2f} dB, {result.report.model} "
        f"{result.psnr_upscaled:.2f} dB"
    )
    click.echo(f"Look at {result.files['picture']}: left bicubic, right {result.report.model}.")
