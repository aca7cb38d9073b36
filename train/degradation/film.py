"""What old film and weak light leave: grey or dark scenes, and grain.

Grey and dark are properties of the scene, so the truth gets them too; grain is the input's alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...arrays import Levels
from .draw import Range, check_range, check_share
from .jpeg import YCBCR
from .sensor import GAMMA, soften


@dataclass(frozen=True, kw_only=True)
class Tone:
    """Clips that are made grey or dark, truth and input alike."""

    grey_share: float = 0.15
    """Share of clips without colour: a network that never sees them adds coloured fringes."""

    dark_share: float = 0.2
    """Share of clips with less light."""

    dark_gain: Range = (0.15, 0.6)
    """What is left of the light in a dark clip, in linear light."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("tone.grey_share", self.grey_share)
        check_share("tone.dark_share", self.dark_share)
        check_range("tone.dark_gain", self.dark_gain, 1e-3, 1)


@dataclass(frozen=True, kw_only=True)
class Grain:
    """Film grain: grey, new in every frame, coarse, strongest in the middle tones."""

    share: float = 1.0
    """Share of clips that get it."""

    sigma: Range = (2.0, 14.0)
    """Standard deviation in the middle tones, levels of 255."""

    size_px: Range = (0.0, 0.9)
    """Gaussian blur of the grain, low-resolution pixels."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("grain.share", self.share)
        check_range("grain.sigma", self.sigma)
        check_range("grain.size_px", self.size_px)


def tone_clip(clip: Levels, tone: Tone, rng: np.random.Generator) -> Levels:
    """Take colour or light from a clip, or neither.

    Args:
        clip: (T, H, W, 3) uint8 RGB.
        tone: The shares.
        rng: Decides everything drawn.

    Returns:
        (T, H, W, 3) uint8 RGB.
    """
    grey, dark = rng.random(2) < (tone.grey_share, tone.dark_share)
    gain = rng.uniform(*tone.dark_gain)
    if dark:
        table = 255 * (np.arange(256) / 255) * gain ** (1 / GAMMA)
        clip = np.round(table).astype(np.uint8)[clip]
    if grey:
        luma = np.round(clip @ np.array(YCBCR[0], np.float32)).astype(np.uint8)
        clip = np.repeat(luma[..., None], 3, axis=-1)
    return clip


def is_grey(clip: Levels) -> bool:
    """Whether a clip has no colour at all."""
    return bool((clip[..., :1] == clip[..., 1:]).all())


def to_grey(frames: list[Tensor]) -> list[Tensor]:
    """Take the colour from T planes (3, H, W)."""
    weights = torch.tensor(YCBCR[0])
    return [torch.tensordot(weights, frame, dims=1).expand(3, -1, -1) for frame in frames]


def add_grain(frames: list[Tensor], grain: Grain, rng: np.random.Generator) -> list[Tensor]:
    """Add grain to a clip.

    Args:
        frames: T planes (3, H, W) float32 in levels of 255.
        grain: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes (3, H, W), within [0, 255].
    """
    if rng.random() >= grain.share:
        return frames
    sigma, size = rng.uniform(*grain.sigma), rng.uniform(*grain.size_px)
    return [_grained(frame, sigma, size, rng) for frame in frames]


def _grained(frame: Tensor, sigma: float, size_px: float, rng: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(rng.standard_normal((1, *frame.shape[1:]), dtype=np.float32))
    noise = soften(noise, size_px)
    noise = noise / noise.std().clamp(min=1e-6)
    tone = torch.tensordot(torch.tensor(YCBCR[0]), frame, dims=1).clamp(0, 255) / 255
    # Neither clear nor fully exposed film shows grain; a tenth stays for what scanning adds.
    strength = 0.1 + 0.9 * 4 * tone * (1 - tone)
    grained: Tensor = (frame + sigma * strength * noise).clamp(0, 255)
    return grained
