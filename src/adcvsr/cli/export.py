"""`adcvsr export CHECKPOINT -o BUNDLE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._options import bundle_output_option, json_option
from ._say import done, print_json, say

if TYPE_CHECKING:
    from ..config import AdcVsrConfig
    from ..export.manifest import BundleSettings

# Held beside adcvsr.bundle.schema by a test; importing it here costs start time.
COLOUR_MATCHES = ("none", "frame", "ema")


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path), required=False)
@bundle_output_option
@click.option("--name", help="The bundle's name [default: the network's].")
@click.option(
    "--card",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Model card (Markdown) to include.",
)
@click.option(
    "--window",
    type=click.IntRange(min=1),
    metavar="FRAMES",
    help="Frames a network that is not causal sees at once [default: 25].",
)
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    metavar="FRAMES",
    help="Frames that neighbouring windows share [default: a third of the window].",
)
@click.option(
    "--colour-match",
    type=click.Choice(COLOUR_MATCHES),
    default="none",
    show_default=True,
    help="Match each frame's colours to the input's: by itself, or averaged over the stream.",
)
@click.option(
    "--colour-half-life",
    type=float,
    metavar="FRAMES",
    help="With 'ema': frames after which a frame's weight has halved [default: 15].",
)
@click.option("--fp16", is_flag=True, help="Add the variant fp16-trt; needs --clips.")
@click.option(
    "--clips",
    "calibration",
    metavar="CLIP",
    multiple=True,
    type=click.Path(path_type=Path),
    help="With --fp16: a real clip like those to be upscaled; may be repeated.",
)
@click.option(
    "--untrained",
    metavar="PRESET",
    help="Instead of a checkpoint: a preset with made-up weights, for measuring speed and building "
    "engines.",
)
@click.option("--causal", is_flag=True, help="With --untrained: the preset's streamable twin.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="With --untrained: seed of its weights."
)
@click.option("--overwrite", is_flag=True, help="Replace BUNDLE if it exists.")
@json_option
def command(
    checkpoint: Path | None,
    output: Path,
    untrained: str | None,
    causal: bool,
    seed: int,
    as_json: bool,
    **settings: Any,
) -> None:
    """Export a checkpoint to a bundle.

    CHECKPOINT is a file, or the name of one of the package (nano, nano-camera, nano-restore, small,
    small-restore).

    Graphs take and give uint8 frames at any size: of a causal network one frame with its state, of
    any other a clip. Torch and the graphs are compared over clips; a difference fails the export.
    """
    from ._torch import require_export, require_quantize

    if (checkpoint is None) == (untrained is None):
        raise click.UsageError("give either CHECKPOINT or --untrained PRESET")
    if causal and untrained is None:
        raise click.UsageError("--causal goes with --untrained; a checkpoint says it itself")
    require_export()
    if settings["fp16"]:
        require_quantize()  # said now rather than after minutes of tracing
    from ..bundle import describe
    from ..export.bundle_writer import check_bundle_output, export_bundle, export_untrained

    report = say if as_json else done

    if checkpoint is not None:
        from ..train.initial_weights import find_start

        check_bundle_output(output, overwrite=settings["overwrite"])
        bundle = export_bundle(find_start(checkpoint), output, _settings(**settings), report=report)
    else:
        config = _config(str(untrained), causal)
        bundle = export_untrained(config, output, _settings(**settings), seed=seed, report=report)
    if as_json:
        print_json(describe(bundle))
        return
    done(
        f"{bundle.path}: {bundle.name}, {bundle.parameters:,} parameters, "
        f"{', '.join(bundle.variants)}{'' if bundle.trained else ', untrained'}"
    )


def _config(name: str, causal: bool) -> AdcVsrConfig:
    from ..config import preset

    config = preset(name)
    return dataclasses.replace(config, causal=True) if causal else config


def _settings(
    *,
    name: str | None,
    card: Path | None,
    window: int | None,
    overlap: int | None,
    colour_match: str,
    colour_half_life: float | None,
    fp16: bool,
    calibration: tuple[Path, ...],
    overwrite: bool,
) -> BundleSettings:
    from ..bundle.schema import ColourMatch, Window
    from ..export.manifest import DEFAULT_WINDOW, BundleSettings

    match = ColourMatch(colour_match)
    if colour_half_life is not None:
        if colour_match != "ema":
            raise click.UsageError("--colour-half-life goes with --colour-match ema")
        match = ColourMatch(colour_match, colour_half_life)
    walk = None
    if window is not None or overlap is not None:
        frames = window or DEFAULT_WINDOW.frames
        walk = Window(frames, frames // 3 if overlap is None else overlap)
    if calibration and not fp16:
        raise click.UsageError("--clips goes with --fp16")
    return BundleSettings(
        name=name,
        card=card,
        window=walk,
        colour_match=match,
        fp16=fp16,
        calibration=calibration,
        overwrite=overwrite,
    )
