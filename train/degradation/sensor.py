"""What a camera adds after its lens: noise, what its denoising leaves of it, and sharpening.

Noise depends on the light and is new in every frame; sharpening leaves a halo beside edges and
lifts what noise there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .blur import filter_planes, gaussian_kernel
from .draw import Range, check_range, check_share, check_steps, draw_walk
from .jpeg import YCBCR

GAMMA = 2.2
"""Exponent between levels and light; exposure and tone stay as they are."""

READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26
"""log(read variance) over log(shot variance): the line Brooks et al. (Unprocessing Images for
Learned Raw Denoising, 2019) fitted to the Darmstadt noise dataset, and its spread."""

WHITE_BALANCE = (2.1, 1.0, 1.7)
"""Gains of red, green and blue in daylight, the middle of Brooks et al.'s ranges: what makes the
noise of red and blue stronger."""

LUMINANCE = YCBCR[0]


@dataclass(frozen=True, kw_only=True)
class Sensor:
    """Noise of a small camera, at the resolution it delivers."""

    share: float = 1.0
    """Share of clips that pass through it."""

    shot_noise: Range = (1e-4, 1.2e-2)
    """Variance of the light counted, at white, of full scale 1; drawn by its logarithm, the read
    noise follows. Brooks et al.: 1e-4 to 1.2e-2, of raw stills; video averages several pixels."""

    shot_noise_step: float = 0.02
    """Largest change of the logarithm from frame to frame: automatic gain."""

    grain_sigma_px: Range = (0.0, 0.8)
    """Gaussian blur of the noise alone, low-resolution pixels: what a camera's denoising leaves is
    weaker and of larger grain."""

    chroma_sigma_px: Range = (0.0, 1.5)
    """Gaussian blur of the colour differences, low-resolution pixels: demosaicing and chroma
    denoising leave less detail in colour than in luma."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("sensor.share", self.share)
        check_range("sensor.shot_noise", self.shot_noise, 1e-9, 1)
        check_range("sensor.grain_sigma_px", self.grain_sigma_px)
        check_range("sensor.chroma_sigma_px", self.chroma_sigma_px)
        check_steps(shot_noise_step=self.shot_noise_step)


@dataclass(frozen=True, kw_only=True)
class Sharpen:
    """Unsharp masking, which lifts edges and leaves a halo beside them."""

    share: float = 1.0
    """Share of clips sharpened."""

    sigma_px: Range = (0.5, 1.2)
    """Radius of the mask, low-resolution pixels."""

    weight: Range = (0.0, 0.6)
    """How much of the difference from the blurred picture is added."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("sharpen.share", self.share)
        check_range("sharpen.sigma_px", self.sigma_px, 1e-3)
        check_range("sharpen.weight", self.weight)


def sense_frames(frames: list[Tensor], sensor: Sensor, rng: np.random.Generator) -> list[Tensor]:
    """Pass a clip through a sensor.

    Args:
        frames: T planes (3, H, W) float32 RGB in levels of 255.
        sensor: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes (3, H, W) in levels, within [0, 255].
    """
    if rng.random() >= sensor.share:
        return frames
    grain, chroma = rng.uniform(*sensor.grain_sigma_px), rng.uniform(*sensor.chroma_sigma_px)
    low, high = (math.log(value) for value in sensor.shot_noise)
    shots = draw_walk(rng, (low, high), sensor.shot_noise_step, len(frames))
    reads = READ_SLOPE * shots + READ_OFFSET + rng.normal(0, READ_SPREAD)
    sensed = []
    for frame, shot, read in zip(frames, np.exp(shots), np.exp(reads), strict=True):
        light = light_from_levels(frame)
        noise = _draw_noise(light, float(shot), float(read), rng)
        light = (light + soften(noise, grain)).clamp(min=0)
        sensed.append(_soften_chroma(levels_from_light(light), chroma))
    return sensed


def sharpen_frames(
    frames: list[Tensor], sharpen: Sharpen, rng: np.random.Generator
) -> list[Tensor]:
    """Sharpen a clip by one mask and weight.

    Args:
        frames: T planes (3, H, W) float32 in levels of 255.
        sharpen: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes (3, H, W), within [0, 255].
    """
    if rng.random() >= sharpen.share:
        return frames
    sigma, weight = rng.uniform(*sharpen.sigma_px), rng.uniform(*sharpen.weight)
    return [unsharp_mask(frame, sigma, weight) for frame in frames]


def unsharp_mask(planes: Tensor, sigma_px: float, weight: float, threshold: float = 0.0) -> Tensor:
    """Add `weight` times the difference from a blurred copy.

    Args:
        planes: (C, H, W) float32 in levels of 255.
        sigma_px: Standard deviation of the blur.
        weight: Factor on the difference.
        threshold: Differences up to this many levels are left alone, with soft borders, so that
            noise is not lifted (Real-ESRGAN's USM sharpening; 0 sharpens everywhere).

    Returns:
        (C, H, W), within [0, 255].
    """
    difference = planes - soften(planes, sigma_px)
    sharpened = (planes + weight * difference).clamp(0, 255)
    if not threshold:
        return sharpened
    mask = soften((difference.abs() > threshold).float(), sigma_px)
    return mask * sharpened + (1 - mask) * planes


def light_from_levels(levels: Tensor) -> Tensor:
    """Undo a camera's tone curve (smoothstep, as Brooks et al.) and gamma: light in [0, 1]."""
    toned = levels.clamp(0, 255) / 255
    return (0.5 - torch.sin(torch.asin(1 - 2 * toned) / 3)).clamp(0, 1) ** GAMMA


def levels_from_light(light: Tensor) -> Tensor:
    """Apply gamma and tone curve, which is flat at white and so hides the noise of highlights."""
    toned = light.clamp(0, 1) ** (1 / GAMMA)
    return 255 * (3 - 2 * toned) * toned**2


def _draw_noise(light: Tensor, shot: float, read: float, rng: np.random.Generator) -> Tensor:
    """Shot and read noise as they are after white balance, of the light's shape."""
    gains = torch.tensor(WHITE_BALANCE)[:, None, None]
    deviation = (gains * shot * light + gains**2 * read).sqrt()
    return deviation * torch.from_numpy(rng.standard_normal(light.shape, dtype=np.float32))


def _soften_chroma(levels: Tensor, sigma_px: float) -> Tensor:
    """Blur the colour and keep the luma."""
    luma: Tensor = torch.tensordot(torch.tensor(LUMINANCE), levels, dims=1)
    return (luma + soften(levels - luma, sigma_px)).clamp(0, 255)


def soften(planes: Tensor, sigma_px: float) -> Tensor:
    """Blur planes (C, H, W) by a Gaussian; a sigma of 0 is none."""
    if not sigma_px:
        return planes
    size = 2 * math.ceil(3 * sigma_px) + 1
    return filter_planes(planes, gaussian_kernel(size, sigma_px, sigma_px, 0.0))
