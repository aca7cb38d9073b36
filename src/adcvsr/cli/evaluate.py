"""`adcvsr evaluate`: how close to the truth, and how steady."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ._files import check_ending, result_file_option
from ._options import backend_option, json_option, variants_option
from ._progress import frame_progress
from ._say import failed_files, note, print_json, say, say_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..calibration.evaluate.protocols import ProtocolClips
    from ..calibration.evaluate.truth import Degrade
    from ..metrics import UsableMetrics

BENCHMARKS = ("reds4", "vid4", "udm10", "spmcs", "videolq")
"""`calibration.evaluate.protocols.PROTOCOLS`, held here likewise."""

DEGRADATIONS = ("bicubic", "camera", "realbasicvsr", "web")
"""Those of training, by name; held here so that --help imports none of them."""


@click.command()
@click.argument(
    "paths", metavar="PATHS...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--model",
    "models",
    metavar="NAME|BUNDLE",
    multiple=True,
    default=("nano",),
    show_default=True,
    help="A name from 'adcvsr models' or a bundle's path; may be repeated.",
)
@backend_option
@variants_option("each of every bundle [default: the backend's].")
@click.option(
    "--metrics",
    "names",
    metavar="NAMES",
    default="default",
    show_default=True,
    help="psnr, psnr_rgb, ssim, ssim_rgb, ms_ssim, haarpsi, gmsd, ssimulacra2, flip, xpsnr, vmaf, "
    "vmaf_neg, vmaf_v1, cambi and contours (banding), delta_e (colour shift), clipped, frame_diff, "
    "warp, jitter, tof, with commas; "
    "'default' leaves out what is slow or needs more than numpy, 'all' takes all this machine has.",
)
@click.option(
    "--protocol",
    "benchmark",
    type=click.Choice(BENCHMARKS),
    help="PATHS is the folder of a benchmark: its clips, inputs, measures and borders as published "
    "(docs/benchmarks.md).",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    help="Frames of each clip [default: 50; with --protocol all].",
)
@click.option(
    "--sequences", is_flag=True, help="A folder of images is one clip, a frame each, by name."
)
@click.option(
    "--reset-every-frame",
    is_flag=True,
    help="Measure every bundle also with its state reset on each frame.",
)
@click.option(
    "--degradation",
    type=click.Choice(DEGRADATIONS),
    help="How low-resolution inputs are made of the truth, as in training [default: bicubic]; any "
    "other than bicubic needs torch.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the degradation.")
@click.option(
    "--draws",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Degrade and measure each file so many times, with seeds from --seed on: gains then come "
    "with their standard error.",
)
@click.option(
    "--lr",
    "low_folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of given low-resolution inputs, named as the truth (or NAMEx4).",
)
@click.option(
    "--no-reference",
    is_flag=True,
    help="PATHS are real low-quality clips, upscaled as they are: sharpness, blockiness, noise, "
    "flicker and delta_e beside bicubic, and what of --pyiqa needs no truth.",
)
@click.option(
    "--centre",
    type=click.IntRange(64),
    metavar="PX",
    help="Measure the middle of the truth alone; the paper's protocol is --frames 25 --centre 512.",
)
@click.option(
    "--dists",
    type=click.Path(path_type=Path, exists=True),
    help="Weights of DISTS, a folder with VGG16's and its own: measures it too; needs torch.",
)
@click.option(
    "--lpips",
    type=click.Path(path_type=Path, exists=True),
    help="Weights of LPIPS, a folder with VGG16's and its own: measures it too; needs torch.",
)
@click.option(
    "--pyiqa",
    metavar="NAMES",
    default="",
    help="Metrics of the package pyiqa, with commas: clipiqa, musiq, maniqa; it fetches their "
    "weights.",
)
@click.option(
    "--ffmpeg", metavar="PROGRAM", help="An ffmpeg with libvmaf [default: $ADCVSR_FFMPEG]."
)
@click.option(
    "--strip",
    "strip_path",
    metavar="FILE.png",
    type=click.Path(path_type=Path, dir_okay=False),
    callback=check_ending(".png"),
    help="Write a picture of each file's worst crop beside the truth.",
)
@result_file_option
@json_option
@click.option("--overwrite", is_flag=True, help="Replace existing files of --strip and -o.")
def command(
    paths: tuple[Path, ...],
    models: tuple[str, ...],
    backend: str,
    variants: tuple[str, ...],
    names: str,
    benchmark: str | None,
    frames: int | None,
    sequences: bool,
    reset_every_frame: bool,
    degradation: str | None,
    seed: int,
    draws: int,
    low_folder: Path | None,
    no_reference: bool,
    centre: int | None,
    dists: Path | None,
    lpips: Path | None,
    pyiqa: str,
    ffmpeg: str | None,
    strip_path: Path | None,
    file: Path | None,
    as_json: bool,
    overwrite: bool,
) -> None:
    """Measure bundles against bicubic and Lanczos on PATHS: images, clips, or folders of them.

    Each is reduced x1/4, brought back, and compared with the original, or with --no-reference
    upscaled as it is. docs/metrics.md says what
    each measure is and what it cannot tell. A file that cannot be measured does not end the run.
    """
    from ..calibration.evaluate.protocols import ALL_FRAMES, protocol_truth
    from ..calibration.evaluate.report import Request, run_request, write_json
    from ..calibration.evaluate.truth import TruthOptions, find_truth
    from ..files import check_new
    from ..metrics import usable_metrics, usable_without_truth
    from ._scores import clip_line, print_report

    if low_folder is not None and degradation is not None:
        raise click.UsageError("--lr gives the inputs, --degradation makes them: choose one")
    if no_reference and (low_folder is not None or degradation is not None):
        raise click.UsageError("--no-reference takes PATHS as inputs: no --lr, no --degradation")
    if benchmark is not None and (low_folder or degradation or sequences or len(paths) > 1):
        raise click.UsageError(
            "--protocol says how inputs are made and where they are: give one folder, and neither "
            "--lr, --degradation nor --sequences"
        )
    if benchmark is not None and (no_reference or centre):
        raise click.UsageError("--protocol says what is measured: no --no-reference, no --centre")
    if draws > 1 and degradation in (None, DEGRADATIONS[0]):
        raise click.UsageError(
            f"--draws {draws} needs a --degradation that draws; without one every draw is the same"
        )
    check_new(strip_path, file, overwrite=overwrite)
    if benchmark is not None:
        found = _benchmark_clips(benchmark, paths[0])
        files: Sequence[Path] = found.files
        truth = protocol_truth(found, frames=frames or ALL_FRAMES)
        if names == "default":
            names = ",".join(_measurable(found.protocol.metrics, ffmpeg))
    else:
        found, degradation = None, degradation or DEGRADATIONS[0]
        files = find_truth(paths, sequences=sequences)
        truth = TruthOptions(
            frames=frames or TruthOptions().frames,
            degradation=degradation,
            degrade=_degradation(degradation),
            seed=seed,
            draws=draws,
            low_folder=low_folder,
            centre_px=centre or 0,
            no_reference=no_reference,
        )
    request = Request(
        files=files,
        models=models,
        metrics=_with_networks(
            usable_without_truth(names) if no_reference else usable_metrics(names, ffmpeg),
            truth=not no_reference,
            dists=dists,
            lpips=lpips,
            pyiqa=[name.strip() for name in pyiqa.split(",") if name.strip()],
        ),
        truth=truth,
        protocol=found,
        backend=backend,
        variants=variants,
        reset_every_frame=reset_every_frame,
        strip=strip_path,
    )
    with frame_progress("evaluate") as progress:
        # A terminal shows the bar; a log gets a line a file.
        done = None if progress else lambda clip: say(clip_line(clip, request.metrics.metrics[0]))
        report = run_request(request, note=say, progress=progress, done=done, failed=say_error)
    if file is not None:
        write_json(file, report.to_json())
    if as_json:
        print_json(report.to_json())
    elif report.evaluation.clips:
        print_report(report)
    if report.failed:
        raise failed_files([each["file"] for each in report.failed], len(request.files))


def _with_networks(metrics: UsableMetrics, *, truth: bool, **asked: Any) -> UsableMetrics:
    """Add measures by trained networks; they are imported here, calibration may not.

    Raises:
        MissingPackageError: torch or pyiqa is not installed and a measure needs it.
        CheckpointError, ConfigError: Weights or names that cannot be used.
    """
    if not any(asked.values()):
        return metrics
    from ._torch import require_measures

    require_measures()
    from ..train.perceived import open_measures, with_measures

    return with_measures(metrics, open_measures(**asked), truth=truth)


def _benchmark_clips(name: str, root: Path) -> ProtocolClips:
    """Find a benchmark's clips, and say what they are and what is missing."""
    from ..calibration.evaluate.protocols import PROTOCOLS, find_protocol_clips

    found = find_protocol_clips(PROTOCOLS[name], root)
    protocol = found.protocol
    say(f"{name}: {len(found.files)} clips, inputs {found.inputs}; {protocol.source}")
    if protocol.note:
        note(protocol.note)
    if found.missing:
        note(f"not the whole benchmark: {', '.join(found.missing)} not found in '{root}'")
    if found.odd:
        note(f"not the benchmark's frames: {'; '.join(found.odd)}")
    return found


def _measurable(names: Sequence[str], ffmpeg: str | None) -> list[str]:
    """Of a benchmark's measures those this machine has; the others are named."""
    from ..metrics import usable_metrics

    found = usable_metrics("all", ffmpeg)
    usable = {metric.name for metric in found.metrics}
    for name in names:
        if name not in usable:
            note(f"{name} left out: {found.left_out.get(name, 'not measured here')}")
    return [name for name in names if name in usable]


def _degradation(name: str) -> Degrade:
    """Find what makes the inputs; what training has is imported here, calibration may not.

    Raises:
        MissingPackageError: torch is not installed and the degradation needs it.
    """
    from ..calibration.evaluate.truth import reduce_bicubic, whole_clip
    from ._torch import require_degradations

    if name == DEGRADATIONS[0]:
        return reduce_bicubic
    require_degradations()
    from ..train.degradation import PRESETS, degrade

    return whole_clip(lambda clip, rng: degrade(clip, PRESETS[name], rng))
