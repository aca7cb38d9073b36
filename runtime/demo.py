"""The demo: a drawn clip, degraded, upscaled and laid beside bicubic; needs no file of yours."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..arrays import Levels
from ..errors import AdcVsrError, OutputExistsError, OutputNotWritableError
from ..leftovers import part_folder
from ..metrics import psnr_y, resize_bicubic
from ..pictures.clips import ffmpeg_reason, read_clip, write_clip, write_png
from ..pictures.synthetic import draw_clip
from .upscale_report import UpscaleReport
from .upscaler import Upscaler
from .video.encoders import EncodeOptions

FILE_NAMES = {
    "input": "input.mp4",
    "upscaled": "upscaled.mp4",
    "side_by_side": "side_by_side.mp4",
    "picture": "side_by_side.png",
}

FRAMES = 50
LOW_SIZE = (96, 160)
"""Height and width of the degraded clip."""

INPUT_CRF = 23
"""H.264 quality of the degraded clip: what a decent camera stream looks like."""

NOISE_SIGMA = 1.5
"""Sensor noise of the degraded clip, in levels."""


@dataclass(frozen=True)
class DemoReport:
    """What the demo wrote, and how far each picture is from the drawn truth."""

    report: UpscaleReport
    files: dict[str, Path]
    psnr_bicubic: float
    """dB on luma, mean over frames."""
    psnr_upscaled: float
    """dB on luma, mean over frames."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, as `adcvsr demo --json` prints them."""
        files = {name: str(path) for name, path in self.files.items()}
        return {**asdict(self), "files": files}


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
        OutputExistsError: One of the files exists and `overwrite` is off; none is touched.
        OutputNotWritableError: The folder cannot be written.
    """
    files = {key: folder / name for key, name in FILE_NAMES.items()}
    there = [path.name for path in files.values() if path.exists()]
    if there and not overwrite:
        raise OutputExistsError(
            f"'{folder}' holds {', '.join(there)}; pass --overwrite to replace, or choose "
            "another folder with --output"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with part_folder(folder) as part:
            made = {key: part / name for key, name in FILE_NAMES.items()}
            result = _make(made, files, upscaler, progress)
            for key, path in made.items():
                os.replace(path, files[key])
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, AdcVsrError):
            raise
        raise OutputNotWritableError(
            f"the demo cannot be written to '{folder}': {ffmpeg_reason(error)}"
        ) from error
    return result


def _make(
    made: dict[str, Path],
    files: dict[str, Path],
    upscaler: Upscaler,
    progress: Callable[[int, int], None] | None,
) -> DemoReport:
    """Write all files under their temporary names."""
    scale = upscaler.bundle.scale
    height, width = LOW_SIZE
    truth = draw_clip(FRAMES, height * scale, width * scale)
    rng = np.random.default_rng(0)
    write_clip(made["input"], (_degrade(image, rng) for image in truth), crf=INPUT_CRF)
    report = upscaler.upscale_file(
        made["input"], made["upscaled"], options=EncodeOptions(crf=12), progress=progress
    )
    pairs = list(_pairs(made["input"], made["upscaled"]))
    distances = [
        [psnr_y(picture, image) for picture in pair]
        for pair, image in zip(pairs, truth, strict=True)
    ]
    bicubic, upscaled = np.mean(distances, axis=0).tolist()
    write_clip(made["side_by_side"], (np.hstack(pair) for pair in pairs), crf=14)
    write_png(made["picture"], np.hstack(pairs[len(pairs) // 2]))
    return DemoReport(report, files, round(bicubic, 2), round(upscaled, 2))


def _degrade(image: Levels, rng: np.random.Generator) -> Levels:
    small = resize_bicubic(image, *LOW_SIZE).astype(np.float32)
    noisy = small + rng.normal(0, NOISE_SIGMA, small.shape)
    return (noisy + 0.5).clip(0, 255).astype(np.uint8)


def _pairs(low: Path, upscaled: Path) -> Iterator[tuple[Levels, Levels]]:
    """Bicubic and upscaled frames, side by side."""
    for small, big in zip(read_clip(low), read_clip(upscaled), strict=True):
        yield resize_bicubic(small, *big.shape[:2]), big
