"""`adcvsr evaluate`: how much better than bicubic."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._options import backend_option, json_option, model_option, variant_option

if TYPE_CHECKING:
    from ..calibration.evaluate import Score


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@model_option
@backend_option
@variant_option
@click.option(
    "--frames", type=click.IntRange(1), default=50, show_default=True, help="Frames of each clip."
)
@json_option
def command(
    paths: tuple[Path, ...],
    model: str,
    backend: str,
    variant: str | None,
    frames: int,
    as_json: bool,
) -> None:
    """Measure a bundle against bicubic on PATHS: images, clips, or folders of them.

    Each is reduced x1/4, brought back, and compared with the original on luma.
    """
    from ..bundle import open_bundle
    from ..calibration.evaluate import evaluate, find_truth, mean_score
    from ..runtime.backends import create_processor, create_session

    files = find_truth(paths)
    show = None if as_json else _row
    with create_session(open_bundle(model), backend=backend, variant=variant) as session:
        scores = evaluate(create_processor(session), files, max_frames=frames, progress=show)
    mean = mean_score(scores)
    if as_json:
        rows = [_finite(score) for score in scores]
        click.echo(json.dumps({"scores": rows, "mean": _finite(mean)}, indent=1, allow_nan=False))
    else:
        _row(mean)


def _finite(score: Score) -> dict[str, object]:
    """JSON has no infinity: a PSNR without error is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in dataclasses.asdict(score).items()
    }


def _row(score: Score) -> None:
    click.echo(
        f"{score.name:40} {score.frames:4} frames  PSNR-Y {score.psnr_y:6.2f} dB "
        f"(bicubic {score.psnr_y_bicubic:6.2f}, {score.gain_db:+.2f})  SSIM-Y {score.ssim_y:.4f} "
        f"(bicubic {score.ssim_y_bicubic:.4f})"
    )
