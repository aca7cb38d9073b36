"""Blur: the seven kernels of Real-ESRGAN, a defocused lens and a moving camera.

Every kernel sums to 1 and is symmetric about its centre, so that blurring shifts nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import ConfigError
from .draw import (
    Range,
    check_range,
    check_share,
    check_steps,
    check_weights,
    draw_kind,
    draw_walk,
)

Kernel = npt.NDArray[np.float64]

KERNEL_KINDS = (
    "iso",
    "aniso",
    "generalized_iso",
    "generalized_aniso",
    "plateau_iso",
    "plateau_aniso",
    "sinc",
    "disc",
    "motion",
)
"""The first seven as published (Real-ESRGAN, RealBasicVSR); `disc` and `motion` are a camera's."""

PUBLISHED_KINDS = {
    "iso": 0.405,
    "aniso": 0.225,
    "generalized_iso": 0.108,
    "generalized_aniso": 0.027,
    "plateau_iso": 0.108,
    "plateau_aniso": 0.027,
    "sinc": 0.1,
}
"""RealBasicVSR's `kernel_list` and `kernel_prob`."""

LARGE_KERNEL_PX = 13
"""From this size on Real-ESRGAN lets the sinc filter cut lower frequencies, pi/5 for pi/3."""

SUPERSAMPLING = 8
"""Points a pixel and axis by which the outlines of disc and line are smoothed."""


@dataclass(frozen=True, kw_only=True)
class Blur:
    """How a clip is blurred; one kind and size a clip, its shape drifting from frame to frame.

    The defaults are those of the first round in RealBasicVSR's published config
    (`realbasicvsr_wogan_c64b20_2x30x8_lr1e-4_300k_reds`), in pixels of the picture blurred.
    """

    share: float = 1.0
    """Share of clips that are blurred, in [0, 1]; RealBasicVSR's second round: 0.8."""

    kinds: Mapping[str, float] = field(default_factory=lambda: dict(PUBLISHED_KINDS))
    """Weight of each of `KERNEL_KINDS` in the draw; those left out are never drawn."""

    sizes_px: tuple[int, ...] = (7, 9, 11, 13, 15, 17, 19, 21)
    """Sides of the kernels, odd; `disc` and `motion` are as large as their shape needs."""

    sigma_px: Range = (0.2, 3.0)
    """Standard deviation along each axis; second round: 0.2 to 1.5."""

    angle: Range = (-math.pi, math.pi)
    """Rotation of anisotropic kernels and lines, radians."""

    beta_gaussian: Range = (0.5, 4.0)
    """Exponent of the generalized Gaussian; 1 is the Gaussian."""

    beta_plateau: Range = (1.0, 2.0)
    """Exponent of the plateau kernel; larger is flatter with steeper edges."""

    omega: Range | None = None
    """Cutoff of the sinc filter in radians a pixel, pi is none; None draws as Real-ESRGAN does,
    from pi/3 for kernels below 13 pixels and from pi/5 above."""

    radius_px: Range = (0.5, 2.0)
    """Radius of the `disc`, the image of a point out of focus."""

    length_px: Range = (1.0, 6.0)
    """Length of the `motion` line, the path of a point while the shutter is open."""

    sigma_step: float = 0.02
    """Largest change of the standard deviations from frame to frame."""

    angle_step: float = 0.31416
    """Largest change of the angle."""

    beta_gaussian_step: float = 0.05
    """Largest change of the generalized Gaussian's exponent."""

    beta_plateau_step: float = 0.1
    """Largest change of the plateau's exponent."""

    omega_step: float = 0.0628
    """Largest change of the cutoff."""

    camera_step: float = 0.1
    """Largest change of the disc's radius and of the line's length."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("blur.share", self.share)
        check_weights("blur.kinds", self.kinds, KERNEL_KINDS)
        if not self.sizes_px or any(size % 2 == 0 or size < 1 for size in self.sizes_px):
            raise ConfigError(f"blur.sizes_px={list(self.sizes_px)}, expected odd numbers")
        for name in ("sigma_px", "beta_gaussian", "beta_plateau", "radius_px", "length_px"):
            check_range(f"blur.{name}", getattr(self, name), 1e-3)
        check_range("blur.angle", self.angle, -math.pi, math.pi)
        if self.omega is not None:
            check_range("blur.omega", self.omega, 1e-3, math.pi)
        check_steps(
            sigma_step=self.sigma_step,
            angle_step=self.angle_step,
            beta_gaussian_step=self.beta_gaussian_step,
            beta_plateau_step=self.beta_plateau_step,
            omega_step=self.omega_step,
            camera_step=self.camera_step,
        )


def blur_frames(frames: list[Tensor], blur: Blur, rng: np.random.Generator) -> list[Tensor]:
    """Blur a clip, or leave it as it is in the share of clips that stay sharp.

    Args:
        frames: T planes (3, H, W) float32; their sizes may differ.
        blur: The ranges.
        rng: Decides everything drawn.

    Returns:
        T planes of the same sizes.
    """
    if rng.random() >= blur.share:
        return frames
    kernels = draw_kernels(blur, rng, len(frames))
    return [filter_planes(frame, kernel) for frame, kernel in zip(frames, kernels, strict=True)]


def draw_kernels(blur: Blur, rng: np.random.Generator, frames: int) -> list[Kernel]:
    """Draw one kernel for each frame: same kind and size, drifting shape."""
    kind = draw_kind(rng, blur.kinds)
    size = int(rng.choice(blur.sizes_px))
    lowest = math.pi / (3 if size < LARGE_KERNEL_PX else 5)
    angle = draw_walk(rng, blur.angle, blur.angle_step, frames)
    if kind == "sinc":
        cutoff = draw_walk(rng, blur.omega or (lowest, math.pi), blur.omega_step, frames)
        return [sinc_kernel(size, omega) for omega in cutoff]
    if kind == "disc":
        radius = draw_walk(rng, blur.radius_px, blur.camera_step, frames)
        return [disc_kernel(value) for value in radius]
    if kind == "motion":
        length = draw_walk(rng, blur.length_px, blur.camera_step, frames)
        return [motion_kernel(*values) for values in zip(length, angle, strict=True)]
    sigma_x = draw_walk(rng, blur.sigma_px, blur.sigma_step, frames)
    sigma_y = draw_walk(rng, blur.sigma_px, blur.sigma_step, frames)
    if kind.endswith("_iso") or kind == "iso":
        sigma_y = sigma_x
    shapes = zip(sigma_x, sigma_y, angle, _draw_betas(kind, blur, rng, frames), strict=True)
    shape = plateau_kernel if kind.startswith("plateau") else gaussian_kernel
    return [shape(size, *values) for values in shapes]


def gaussian_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float = 1.0
) -> Kernel:
    """Generalized Gaussian exp(-q^beta / 2), q the squared distance in standard deviations."""
    return _normalise(np.exp(-0.5 * _squared_distance(size, sigma_x, sigma_y, angle) ** beta))


def plateau_kernel(
    size: int, sigma_x: float, sigma_y: float, angle: float, beta: float = 1.0
) -> Kernel:
    """Plateau 1 / (1 + q^beta), q the squared distance in standard deviations."""
    return _normalise(1 / (1 + _squared_distance(size, sigma_x, sigma_y, angle) ** beta))


def sinc_kernel(size: int, omega: float) -> Kernel:
    """Circular low-pass filter omega J1(omega r) / (2 pi r): ringing, as of sharpening and codecs.

    Args:
        size: Side, odd.
        omega: Cutoff in radians a pixel, up to pi.
    """
    x, y = _offsets(size)
    radius = np.hypot(x, y)
    radius[size // 2, size // 2] = 1.0
    bessel = torch.special.bessel_j1(torch.from_numpy(omega * radius)).numpy()
    kernel = omega * bessel / (2 * math.pi * radius)
    kernel[size // 2, size // 2] = omega**2 / (4 * math.pi)
    return _normalise(kernel)


def disc_kernel(radius: float) -> Kernel:
    """A disc of equal weight, its outline smoothed: a point out of focus."""
    size = 2 * math.ceil(radius) + 1
    x, y = _offsets(size * SUPERSAMPLING)
    inside = np.hypot(x, y) <= radius * SUPERSAMPLING
    return _normalise(_average(inside.astype(np.float64), size))


def motion_kernel(length: float, angle: float) -> Kernel:
    """A line of equal weight one pixel wide: a point that moved while the shutter was open."""
    size = 2 * math.ceil(length / 2) + 1
    x, y = _offsets(size * SUPERSAMPLING)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    half = SUPERSAMPLING / 2
    inside = (np.abs(along) <= max(length, 1) * half) & (np.abs(across) <= half)
    return _normalise(_average(inside.astype(np.float64), size))


def filter_planes(planes: Tensor, kernel: Kernel) -> Tensor:
    """Filter planes with a kernel, edges replicated; in frequency space, so any size costs alike.

    Args:
        planes: (C, H, W) float32.
        kernel: (K, K), K odd.

    Returns:
        (C, H, W) float32.
    """
    size, (height, width) = len(kernel), planes.shape[-2:]
    padded = F.pad(planes, (size // 2,) * 4, mode="replicate")
    shape = [_fast_length(extent) for extent in padded.shape[-2:]]
    weights = torch.from_numpy(kernel).to(planes.dtype)
    spectrum = torch.fft.rfft2(padded, s=shape) * torch.fft.rfft2(weights, s=shape)
    filtered: Tensor = torch.fft.irfft2(spectrum, s=shape)
    return filtered[:, size - 1 : size - 1 + height, size - 1 : size - 1 + width]


@cache
def _fast_length(extent: int) -> int:
    """Smallest length from `extent` on without a prime factor above 5.

    A Fourier transform of a length with a large one takes several times as long.
    """
    while True:
        rest = extent
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return extent
        extent += 1


def _draw_betas(
    kind: str, blur: Blur, rng: np.random.Generator, frames: int
) -> npt.NDArray[np.float64]:
    if kind.startswith("generalized"):
        return draw_walk(rng, blur.beta_gaussian, blur.beta_gaussian_step, frames)
    if kind.startswith("plateau"):
        return draw_walk(rng, blur.beta_plateau, blur.beta_plateau_step, frames)
    return np.ones(frames)


def _squared_distance(size: int, sigma_x: float, sigma_y: float, angle: float) -> Kernel:
    """Squared distance from the centre, in standard deviations along the turned axes."""
    x, y = _offsets(size)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    squared: Kernel = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    return squared


def _offsets(size: int) -> tuple[Kernel, Kernel]:
    """Offsets of each cell of a square grid from its middle, x and y."""
    line = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(line, line)
    return x, y


def _average(fine: Kernel, size: int) -> Kernel:
    averaged: Kernel = fine.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean((1, 3))
    return averaged


def _normalise(kernel: Kernel) -> Kernel:
    normalised: Kernel = kernel / kernel.sum()
    return normalised
