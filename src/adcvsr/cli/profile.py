"""`adcvsr profile BUNDLE --clips CLIPS...`: what a narrower precision costs."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._options import backend_option, json_option, variants_option
from ._progress import frame_progress
from ._say import done, keep_stdout, note, print_json, say
from ._trace import open_trace, trace_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..bundle import Bundle
    from ..calibration.profile.run import Profile
    from ..calibration.statement.statement import Statement
    from ..metrics import UsableMetrics

METRICS = ("psnr", "psnr_rgb", "ssim", "haarpsi", "vmaf", "frame_diff", "warp")
"""Measured where nothing else is asked for, as far as this machine can."""


@click.command()
@click.argument("bundle", metavar="BUNDLE")
@click.argument("more", metavar="", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--clips",
    metavar="CLIPS...",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Videos, or folders of them.",
)
@variants_option("the first is what others are compared with [default: all the backend runs].")
@backend_option
@click.option("--truth", is_flag=True, help="CLIPS are ground truth: reduce x1/4, compare with it.")
@click.option(
    "--frames",
    type=click.IntRange(8),
    default=100,
    show_default=True,
    help="Most frames of each clip.",
)
@click.option(
    "--max-side",
    type=click.IntRange(16),
    default=160,
    show_default=True,
    help="Reduce inputs with a longer side to it, in pixels.",
)
@click.option(
    "--drift-frames",
    type=click.IntRange(0),
    default=1000,
    show_default=True,
    help="Frames of the run that shows drift; 0 for none.",
)
@click.option(
    "--beside",
    "networks",
    metavar="NAME|BUNDLE",
    multiple=True,
    help="Another bundle for the plot of quality against speed, with --truth; may be repeated.",
)
@click.option(
    "--statement/--no-statement",
    default=True,
    show_default=True,
    help="Test in how many frames variants stay within limits, with what confidence.",
)
@click.option(
    "--store", is_flag=True, help="Keep statements in BUNDLE, for 'adcvsr verify' and 'live'."
)
@click.option("--metrics", "names", metavar="NAMES", help="Measures, as for 'adcvsr evaluate'.")
@click.option(
    "--ffmpeg", metavar="PROGRAM", help="An ffmpeg with libvmaf [default: $ADCVSR_FFMPEG]."
)
@click.option(
    "--duration",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds of measuring speed, all variants together.",
)
@click.option("--threads", type=click.IntRange(0), default=0, help="Network threads [0: all].")
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("profile.html"),
    show_default=True,
    help="The page; the same as JSON is written beside it.",
)
@trace_option
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@json_option
def command(
    bundle: str,
    more: tuple[Path, ...],
    clips: tuple[Path, ...],
    variants: tuple[str, ...],
    backend: str,
    truth: bool,
    frames: int,
    max_side: int,
    drift_frames: int,
    networks: tuple[str, ...],
    statement: bool,
    store: bool,
    names: str | None,
    ffmpeg: str | None,
    duration: float,
    threads: int,
    output: Path,
    trace_path: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Compare BUNDLE's variants on CLIPS and write one page to decide by.

    Which to ship and why, as a statement with its confidence; speed beside loss; layers by damage
    for each millisecond saved; the worst frames; drift over a thousand frames. docs/profile.md
    explains every part.
    """
    from ..bundle import open_bundle
    from ..calibration.evaluate.report import write_json
    from ..calibration.profile.request import ProfileRequest
    from ..calibration.profile.run import run_profile
    from ..files import check_new

    if output.suffix.lower() not in (".html", ".htm"):
        raise click.BadParameter(f"expected a file ending in .html, got '{output}'")
    beside = output.with_suffix(".json")
    check_new(output, beside, overwrite=overwrite)
    if store and not statement:
        raise click.UsageError("--store keeps statements: leave --no-statement out")
    opened = open_bundle(bundle)
    if store:
        _require_own(opened)
    request = ProfileRequest(
        bundle=opened,
        clips=(*clips, *more),
        metrics=_metrics(names, ffmpeg),
        variants=variants,
        backend=backend,
        truth=truth,
        frames=frames,
        max_side_px=max_side,
        drift_frames=drift_frames,
        beside=networks,
        statement=statement,
        bench_seconds=duration,
        threads=threads,
    )
    with (
        open_trace(trace_path, overwrite=overwrite) as trace,
        frame_progress("profile") as progress,
    ):
        profile = run_profile(
            request,
            note=note,
            stage=lambda line: None if progress else say(line),
            progress=progress,
            trace=trace,
        )
    # What took minutes is said before anything can fail, and a full disk costs one file alone.
    if as_json:
        keep_stdout()
        print_json(profile.to_json())
    else:
        for each in profile.statements:
            click.echo(f"{each.line()} {each.meaning}" if each.meaning else each.line())
        for line in profile.facts["verdict"]["lines"]:
            click.echo(line)
    with ExitStack() as ends:
        if store:
            ends.callback(_store, opened, profile.statements)
        ends.callback(_write_page, output, beside, profile)
        write_json(beside, profile.to_json())


def _write_page(output: Path, beside: Path, profile: Profile) -> None:
    """Write the page, and say what was written."""
    from ..calibration.profile.page import write_page

    size = write_page(output, profile)
    large = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    done(f"{output} ({large}), {beside}")


def _store(bundle: Bundle, statements: Sequence[Statement]) -> None:
    """Keep what was shown, and say what was not."""
    from ..export.statements import store_statements

    store_statements(bundle.path, statements)
    kept = [each.variant for each in statements if each.shown]
    refused = [each.variant for each in statements if each.refusal is not None]
    others = [each.variant for each in statements if each.variant not in {*kept, *refused}]
    if kept:
        done(f"statements of {', '.join(kept)} kept in {bundle.path}")
    if refused:
        done(f"refusals of {', '.join(refused)} kept in {bundle.path}: adcvsr verify says them")
    if others or not statements:
        note(f"no statement kept of {', '.join(others) or 'any variant'}: nothing was decided")


def _require_own(bundle: Bundle) -> None:
    """Refuse to change a bundle of the package, or one that cannot be replaced, before any work.

    Raises:
        OutputNotWritableError: It is one.
    """
    from ..bundle import PACKAGED
    from ..errors import OutputNotWritableError
    from ..files import check_folder

    if bundle.path.parent == PACKAGED:
        raise OutputNotWritableError(
            f"'{bundle.name}' comes with the package and is not changed; copy its folder "
            f"('{bundle.path}') and give the copy, ./{bundle.path.name}"
        )
    check_folder(bundle.path.resolve().parent)  # the new one is made beside it


def _metrics(names: str | None, ffmpeg: str | None) -> UsableMetrics:
    """Those asked for, or of `METRICS` what this machine can measure."""
    from dataclasses import replace

    from ..metrics import usable_metrics

    if names is not None:
        return usable_metrics(names, ffmpeg)
    found = usable_metrics("all", ffmpeg)
    return replace(
        found,
        metrics=tuple(metric for metric in found.metrics if metric.name in METRICS),
        left_out={name: why for name, why in found.left_out.items() if name in METRICS},
    )
