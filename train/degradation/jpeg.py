"""JPEG as libjpeg does it at a quality of 1 to 100, without the lossless part that changes nothing.

FFmpeg's Motion JPEG encoder has other tables and a scale of its own, so the published qualities
would mean nothing there. Colour conversion, 4:2:0, the cosine transform, Annex K's tables and
their scaling are JPEG's and libjpeg's; a test holds the result against libjpeg's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .draw import Range, check_range, check_share, check_steps, draw_walk

BLOCK = 8

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
"""ITU-T T.81, Annex K.1: steps at quality 50."""

YCBCR = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)
"""JFIF's full-range BT.601."""


@dataclass(frozen=True, kw_only=True)
class Jpeg:
    """JPEG between two stages; defaults of both of RealBasicVSR's rounds."""

    share: float = 1.0
    """Share of clips that are compressed."""

    quality: Range = (30.0, 95.0)
    """libjpeg's quality, 1 to 100."""

    quality_step: float = 3.0
    """Largest change of the quality from frame to frame."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("jpeg.share", self.share)
        check_range("jpeg.quality", self.quality, 1, 100)
        check_steps(quality_step=self.quality_step)


def jpeg_frames(frames: list[Tensor], jpeg: Jpeg, rng: np.random.Generator) -> list[Tensor]:
    """Compress each frame of a clip at a drifting quality.

    Args:
        frames: T planes (3, H, W) float32 RGB in levels of 255.
        jpeg: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes of whole levels.
    """
    if rng.random() >= jpeg.share:
        return frames
    qualities = draw_walk(rng, jpeg.quality, jpeg.quality_step, len(frames))
    return [
        compress_jpeg(frame, round(float(quality)))
        for frame, quality in zip(frames, qualities, strict=True)
    ]


def compress_jpeg(frame: Tensor, quality: int) -> Tensor:
    """Compress and decompress a picture as JPEG with 4:2:0 chroma.

    Args:
        frame: (3, H, W) float32 RGB in levels of 255, any size.
        quality: 1 to 100.

    Returns:
        (3, H, W) float32, whole levels.
    """
    height, width = frame.shape[-2:]
    levels = frame.round().clamp(0, 255)
    padding = (0, -width % (2 * BLOCK), 0, -height % (2 * BLOCK))
    matrix = torch.tensor(YCBCR)
    planes = torch.tensordot(matrix, F.pad(levels, padding, mode="replicate"), dims=1)
    luma = _quantise(planes[:1] - 128, _steps(LUMA_TABLE, quality)) + 128
    chroma = F.avg_pool2d(planes[None, 1:], 2)[0].round()
    chroma = _quantise(chroma, _steps(CHROMA_TABLE, quality))
    # libjpeg's "fancy" upsampling is the triangle filter, which is bilinear at a factor of two.
    chroma = F.interpolate(chroma[None], scale_factor=2, mode="bilinear")[0]
    joined = torch.cat([luma, chroma])[:, :height, :width]
    rgb: Tensor = torch.tensordot(torch.linalg.inv(matrix), joined, dims=1)
    return rgb.round().clamp(0, 255)


def _quantise(planes: Tensor, steps: Tensor) -> Tensor:
    """Quantise (C, H, W), H and W multiples of 8, in the space of the cosine transform."""
    count, height, width = planes.shape
    basis = _basis()
    blocks = planes.reshape(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    coefficients = torch.round(basis @ blocks @ basis.T / steps) * steps
    blocks = (basis.T @ coefficients @ basis).round()
    return blocks.transpose(2, 3).reshape(count, height, width)


def _steps(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Scale a table to a quality as libjpeg does (`jpeg_quality_scaling`)."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * percent + 50) // 100).clamp(1, 255).float()


@cache
def _basis() -> Tensor:
    """Orthonormal 8-point cosine transform, (frequency, sample)."""
    sample = torch.arange(BLOCK) + 0.5
    rows = torch.cos(math.pi / BLOCK * torch.arange(BLOCK)[:, None] * sample)
    rows[0] /= math.sqrt(2)
    return rows * math.sqrt(2 / BLOCK)
