"""The variant `fp16-trt`: weights, state and most arithmetic in FP16, held against FP32.

Norm statistics, softmax and sums stay in FP32, and so does every node that met large values in
real clips (see `autocast`).

    variant = write_half(fp32_files, state, clips, report=print)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Levels
from ...bundle.schema import StateSpec
from ...errors import ParityError
from ...metrics import finite_db, psnr
from ...variants import REFERENCE
from ..graphs.ranges import measure_ranges
from ..graphs.replay import replay
from ..graphs.variant_files import VariantFiles
from .autocast import PEAK_LIMIT, cast_graph
from .real_crops import read_crops

FP16 = "fp16-trt"

EDGE_PX = {"stream": 128, "clip": 64}
"""Crop of the calibration clips; attention in clip networks costs the fourth power of it."""

LEAST_PSNR_DB = 40.0
"""Of the FP16 picture against the FP32 picture, worst frame."""


@dataclass(frozen=True)
class HalfReport:
    """How far the FP16 graphs are from the FP32 graphs, both in ONNX Runtime on the CPU.

    There every operator rounds to FP16 what it gives but computes inside as it likes; an engine on
    a GPU may differ by as much again.
    """

    psnr_db: float
    """Of the worst frame."""

    last_psnr_db: float
    """Of the worst last frame of a clip: clearly less than `psnr_db` of all others tells drift."""

    level_error: int
    """Largest difference, in levels."""

    frames: int
    """Frames compared."""

    against: str = REFERENCE


def read_half_clips(paths: Sequence[Path], kind: str, multiple: int) -> list[Levels]:
    """Calibration crops for a bundle's kind; see `read_crops`."""
    edge = max(EDGE_PX[kind] // multiple, 1) * multiple
    return read_crops(paths, edge_px=edge, multiple=multiple)


def write_half(
    files: VariantFiles, state: Sequence[StateSpec], clips: Sequence[Levels]
) -> tuple[VariantFiles, HalfReport, dict[str, Any]]:
    """Write FP16 graphs beside the FP32 ones and compare them over the same clips.

    Args:
        files: The FP32 graphs.
        state: Their carried state.
        clips: Real frames, see `read_half_clips`.

    Returns:
        The files, the distance to FP32, and for the manifest what was kept in FP32 and why.

    Raises:
        GraphError: AutoCast failed.
        MissingPackageError: ModelOpt is not installed.
        ParityError: The pictures differ too much.
    """
    half = VariantFiles(files.folder, FP16, files.kind)
    kept: list[str] = []
    ranges = measure_ranges(files, state, clips)
    for source, target, peaks in zip(files.graphs, half.graphs, ranges, strict=True):
        kept += cast_graph(source, target, peaks)
    report = _compare(files, half, state, clips)
    conversion = {
        "calibration": {"frames": sum(map(len, clips)), "sizes": [c.shape[1:3] for c in clips]},
        "peak_limit": PEAK_LIMIT,
        "largest_peak": max(max(peaks.values()) for peaks in ranges),
        "kept_fp32_for_range": kept,
    }
    return half, report, conversion


def half_entry(report: HalfReport, conversion: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says of the variant beside its files."""
    return {"parity": {**asdict(report), "least_psnr_db": LEAST_PSNR_DB}, "conversion": conversion}


def _compare(
    files: VariantFiles, half: VariantFiles, state: Sequence[StateSpec], clips: Sequence[Levels]
) -> HalfReport:
    pairs = [
        (full.picture, cast.picture)
        for full, cast in zip(replay(files, state, clips), replay(half, state, clips), strict=True)
    ]
    by_clip = [[finite_db(psnr(b, a)) for a, b in zip(*pair, strict=True)] for pair in pairs]
    report = HalfReport(
        psnr_db=round(min(map(min, by_clip)), 2),
        last_psnr_db=round(min(each[-1] for each in by_clip), 2),
        level_error=max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs),
        frames=sum(map(len, clips)),
    )
    if report.psnr_db < LEAST_PSNR_DB:
        raise ParityError(
            f"the FP16 picture is {report.psnr_db} dB from the FP32 picture at its worst over "
            f"{report.frames} frames, at least {LEAST_PSNR_DB:g} dB is expected; nothing was "
            "written"
        )
    return report
