"""Noise as RealBasicVSR adds it: Gaussian or Poisson, coloured or grey, new in every frame."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .draw import (
    Range,
    check_range,
    check_share,
    check_steps,
    check_weights,
    draw_kind,
    draw_walk,
)

NOISE_KINDS = ("gaussian", "poisson")

PEAK = 255.0

NORMAL_FROM = 20.0
"""Counts from which a Poisson draw is taken from the normal distribution: ten times faster, and
its skewness, 1 / sqrt(count), is below what rounding to levels leaves."""

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""BT.601 luma of RGB, OpenCV's grey."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise between two stages; defaults of RealBasicVSR's first round."""

    share: float = 1.0
    """Share of clips that get noise."""

    kinds: Mapping[str, float] = field(default_factory=lambda: {"gaussian": 0.5, "poisson": 0.5})
    """Weight of each of `NOISE_KINDS`."""

    gaussian_sigma: Range = (1.0, 30.0)
    """Standard deviation in levels of 255; second round: 1 to 25."""

    poisson_scale: Range = (0.05, 3.0)
    """Factor on the noise of a picture counted in as many photons as it has levels (rounded up to
    a power of two): 1 gives white 16 levels. Second round: 0.05 to 2.5."""

    grey_share: float = 0.4
    """Share of noisy clips whose noise is the same in all three colours."""

    gaussian_sigma_step: float = 0.1
    """Largest change of sigma from frame to frame."""

    poisson_scale_step: float = 0.005
    """Largest change of the Poisson factor."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("noise.share", self.share)
        check_share("noise.grey_share", self.grey_share)
        check_weights("noise.kinds", self.kinds, NOISE_KINDS)
        check_range("noise.gaussian_sigma", self.gaussian_sigma)
        check_range("noise.poisson_scale", self.poisson_scale)
        check_steps(
            gaussian_sigma_step=self.gaussian_sigma_step,
            poisson_scale_step=self.poisson_scale_step,
        )


def add_noise(frames: list[Tensor], noise: Noise, rng: np.random.Generator) -> list[Tensor]:
    """Add noise to a clip.

    Args:
        frames: T planes (3, H, W) float32 in levels of 255; their sizes may differ.
        noise: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes of the same sizes, not clipped.
    """
    if rng.random() >= noise.share:
        return frames
    gaussian = draw_kind(rng, noise.kinds) == "gaussian"
    grey = rng.random() < noise.grey_share
    limits = noise.gaussian_sigma if gaussian else noise.poisson_scale
    step = noise.gaussian_sigma_step if gaussian else noise.poisson_scale_step
    strengths = draw_walk(rng, limits, step, len(frames))
    draw = _gaussian if gaussian else _poisson
    return [
        frame + float(strength) * draw(frame, grey, rng)
        for frame, strength in zip(frames, strengths, strict=True)
    ]


def _gaussian(frame: Tensor, grey: bool, rng: np.random.Generator) -> Tensor:
    """Unit normal noise, (1 or 3, H, W)."""
    shape = (1 if grey else 3, *frame.shape[-2:])
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def _poisson(frame: Tensor, grey: bool, rng: np.random.Generator) -> Tensor:
    """Noise of counting photons, in levels, (1 or 3, H, W)."""
    if grey:
        frame = torch.tensordot(torch.tensor(GREY_WEIGHTS), frame, dims=1)[None]
    levels = frame.round().clamp(0, PEAK).numpy()
    shades = np.count_nonzero(np.bincount(levels.astype(np.uint8).ravel(), minlength=256))
    photons = 2.0 ** math.ceil(math.log2(max(int(shades), 2)))
    expected = levels * np.float32(photons / PEAK)
    counted = expected + np.sqrt(expected) * rng.standard_normal(expected.shape, dtype=np.float32)
    few = expected < NORMAL_FROM
    counted[few] = rng.poisson(expected[few])
    return torch.from_numpy((counted - expected) * np.float32(PEAK / photons))
