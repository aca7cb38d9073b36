"""`adcvsr demo`: something to look at without a file of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from ._options import backend_option, json_option, model_option, variant_option
from ._progress import frame_progress
from ._say import done, print_json, run_notes, say


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
@variant_option
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier demo.")
@json_option
def command(
    output: Path, model: str, backend: str, variant: str | None, overwrite: bool, as_json: bool
) -> None:
    """Draw a moving clip, degrade it, upscale it, and lay the result beside bicubic.

    Writes input.mp4, upscaled.mp4, side_by_side.mp4 and side_by_side.png (left bicubic, right
    upscaled).
    """
    from ..runtime.demo import run_demo
    from ..runtime.upscaler import Upscaler

    say("drawing the clip ...")
    with (
        Upscaler(model, backend=backend, variant=variant) as upscaler,
        frame_progress("demo") as progress,
    ):
        result = run_demo(output, upscaler, overwrite=overwrite, progress=progress)
    if as_json:
        print_json(result.to_json())
        return
    run_notes(result.report.notes, result.report.backend_reasons)
    for path in result.files.values():
        done(str(path))
    done(
        f"{result.report.fps:.1f} fps; PSNR-Y to the drawn truth: "
        f"bicubic {result.psnr_bicubic:.2f} dB, {result.report.model} "
        f"{result.psnr_upscaled:.2f} dB"
    )
    done(f"Look at {result.files['picture']}: left bicubic, right {result.report.model}.")
