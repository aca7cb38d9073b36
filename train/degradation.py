"""From high-resolution clips to what a camera would have given: blur, x1/4, noise, compression.

A light pipeline for pretraining. Every range is a config value; a share of clips stays clean, so
that one network serves both clean and slightly degraded input.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..clips import read_clip, write_clip
from ..config import SCALE
from ..errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How far training input departs from clean bicubic x1/4.

    Ranges are (low, high), drawn uniformly, one draw a clip.
    """

    clean_share: float = 0.5
    """Share of clips with no degradation but the x1/4 reduction, in [0, 1]."""

    blur_sigma_px: tuple[float, float] = (0.0, 1.6)
    """Gaussian blur before the reduction, in high-resolution pixels; 0 is none."""

    noise_sigma: tuple[float, float] = (0.0, 4.0)
    """Gaussian sensor noise after the reduction, in levels of 255; 0 is none."""

    crf: tuple[int, int] = (16, 30)
    """H.264 constant rate factor of the low-resolution clip; higher is worse."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ConfigError: A share outside [0, 1] or a range upside down.
        """
        if not 0 <= self.clean_share <= 1:
            raise ConfigError(f"clean_share={self.clean_share}, expected a share in [0, 1]")
        for name in ("blur_sigma_px", "noise_sigma", "crf"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise ConfigError(f"{name}=({low}, {high}), expected 0 <= low <= high")


def degrade(
    clip: npt.NDArray[np.uint8], degradation: Degradation, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Make the low-resolution input of a clip.

    Args:
        clip: (T, H, W, 3) uint8 RGB; H and W multiples of 8 (H.264's 4:2:0 after the reduction).
        degradation: The ranges.
        rng: Decides everything drawn; equal states give equal results.

    Returns:
        (T, H/4, W/4, 3) uint8 RGB.
    """
    clean = rng.random() < degradation.clean_share
    blur = 0.0 if clean else rng.uniform(*degradation.blur_sigma_px)
    low = reduce_clip(clip, blur_sigma_px=blur)
    if clean:
        return low
    noise = rng.uniform(*degradation.noise_sigma)
    if noise:
        noisy = low + rng.normal(0.0, noise, low.shape).astype(np.float32)
        low = (noisy + 0.5).clip(0, 255).astype(np.uint8)
    return compress(low, crf=int(rng.integers(degradation.crf[0], degradation.crf[1] + 1)))


def reduce_clip(
    clip: npt.NDArray[np.uint8], *, blur_sigma_px: float = 0.0
) -> npt.NDArray[np.uint8]:
    """Reduce a clip x1/4 by antialiased bicubic, after an optional Gaussian blur.

    Args:
        clip: (T, H, W, 3) uint8, H and W multiples of 4.
        blur_sigma_px: In high-resolution pixels.

    Returns:
        (T, H/4, W/4, 3) uint8.
    """
    frames = []
    for image in clip:
        planes = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        if blur_sigma_px > 0.1:
            planes = _gaussian_blur(planes, blur_sigma_px)
        size = (image.shape[0] // SCALE, image.shape[1] // SCALE)
        small = F.interpolate(planes, size=size, mode="bicubic", antialias=True)
        frames.append((small[0].permute(1, 2, 0) + 0.5).clamp(0, 255).byte().numpy())
    return np.stack(frames)


def _gaussian_blur(planes: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian on (1, C, H, W), edges replicated."""
    radius = int(np.ceil(3 * sigma))
    x = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = F.pad(planes, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[:, None, None, :], groups=3)
    return F.conv2d(across, kernel[:, None, :, None], groups=3)


def compress(clip: npt.NDArray[np.uint8], *, crf: int) -> npt.NDArray[np.uint8]:
    """Encode a clip with H.264 in memory and decode it again.

    Args:
        clip: (T, H, W, 3) uint8 RGB, H and W even.
        crf: Constant rate factor.

    Returns:
        The decoded clip, same shape.
    """
    buffer = io.BytesIO()
    write_clip(buffer, clip, crf=crf)
    buffer.seek(0)
    return np.stack(list(read_clip(buffer)))
