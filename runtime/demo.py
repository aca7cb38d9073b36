"""The demo: a drawn clip, degraded, upscaled and laid beside bicubic; needs no file of yours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..clips import read_clip, write_clip, write_png
from ..config import SCALE
from ..metrics import psnr_y, resize_bicubic
from ..synthetic import draw_clip
from .sink import EncodeOptions
from .upscaler import Upscaler, UpscaleReport

FRAMES = 50
LOW_SIZE = (96, 160)
"""Height and width of the degraded clip."""

INPUT_CRF = 23
"""H.264 quality of the degraded clip: what a decent camera stream looks like."""

NOISE_SIGMA = 1.5
"""Sensor noise of the degraded clip, in levels."""

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class DemoReport:
    """What the demo wrote, and how far each picture is from the drawn truth."""

    report: UpscaleReport
    files: dict[str, Path]
    psnr_bicubic: float
    """dB on luma, mean over frames."""
    psnr_upscaled: float
    """dB on luma, mean over frames."""


def run_demo(
    folder: Path,
    upscaler: Upscaler,
    *,
    overwrite: bool,
    progress: Callable[[int, int], None] | None = None,
) -> DemoReport:
    """Draw, degrade, upscale and compare.

    Args:
        folder: Where to write; created.
        upscaler: The network to show.
        overwrite: Replace files of an earlier demo.
        progress: See `Upscaler.upscale_file`.

    Returns:
        The files written and the distances.

    Raises:
        OutputExistsError: The upscaled clip exists and `overwrite` is off.
        OutputNotWritableError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        "input": "input.mp4",
        "upscaled": "upscaled.mp4",
        "side_by_side": "side_by_side.mp4",
        "picture": "side_by_side.png",
    }
    files = {key: folder / name for key, name in names.items()}
    height, width = LOW_SIZE
    truth = draw_clip(FRAMES, height * SCALE, width * SCALE)
    rng = np.random.default_rng(0)
    write_clip(files["input"], (_degrade(image, rng) for image in truth), crf=INPUT_CRF)
    report = upscaler.upscale_file(
        files["input"],
        files["upscaled"],
        options=EncodeOptions(crf=12, overwrite=overwrite),
        progress=progress,
    )
    pairs = list(_pairs(files["input"], files["upscaled"]))
    bicubic, upscaled = (
        float(
            np.mean([psnr_y(pair[side], image) for pair, image in zip(pairs, truth, strict=True)])
        )
        for side in (0, 1)
    )
    write_clip(files["side_by_side"], (np.hstack(pair) for pair in pairs), crf=14)
    write_png(files["picture"], np.hstack(pairs[len(pairs) // 2]))
    assert math.isfinite(bicubic)
    return DemoReport(report, files, round(bicubic, 2), round(upscaled, 2))


def _degrade(image: Levels, rng: np.random.Generator) -> Levels:
    small = resize_bicubic(image, *LOW_SIZE).astype(np.float32)
    noisy = small + rng.normal(0, NOISE_SIGMA, small.shape)
    return (noisy + 0.5).clip(0, 255).astype(np.uint8)


def _pairs(low: Path, upscaled: Path) -> Iterator[tuple[Levels, Levels]]:
    """Bicubic and upscaled frames, side by side."""
    for small, big in zip(read_clip(low), read_clip(upscaled), strict=True):
        yield resize_bicubic(small, *big.shape[:2]), big
