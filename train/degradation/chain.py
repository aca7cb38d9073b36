"""From high-resolution clips to what a camera or a website would have given.

The order is RealBasicVSR's: two rounds of blur, resize, noise and JPEG, then, in a drawn order, a
video codec and the reduction to a quarter with a last sinc filter. A camera's sensor and sharpening
come between the reduction and the codec, as do film grain, remains of interlacing and an earlier
upload. Every range is a value of `Degradation`.

    low = degrade(clip, PRESETS["camera"], rng)
"""

from __future__ import annotations

import dataclasses

import numpy as np
from torch import Tensor

from ...arrays import Levels
from ...config import SCALE
from .blur import blur_frames
from .codec import (
    compress_frames,
    levels_from_planes,
    planes_from_levels,
)
from .draw import draw_kind
from .film import add_grain, is_grey, to_grey, tone_clip
from .jpeg import jpeg_frames
from .noise import add_noise
from .presets import PRESETS
from .resize import resize_frames, resize_planes
from .sensor import sense_frames, sharpen_frames
from .stages import CLEAN_FILTER, Degradation, Round
from .upload import interlace_frames, upload_frames


def tone_truth(clip: Levels, degradation: Degradation, rng: np.random.Generator) -> Levels:
    """Give a clip the tone that truth and input share; most degradations have none.

    Args:
        clip: (T, H, W, 3) uint8 RGB.
        degradation: The ranges.
        rng: Decides everything drawn.

    Returns:
        (T, H, W, 3) uint8 RGB: the truth, and what is to be degraded.
    """
    return tone_clip(clip, degradation.tone, rng) if degradation.tone else clip


def degrade(clip: Levels, degradation: Degradation, rng: np.random.Generator) -> Levels:
    """Make the low-resolution input of a clip.

    Args:
        clip: (T, H, W, 3) uint8 RGB; H and W multiples of 4.
        degradation: The ranges.
        rng: Decides everything drawn; equal states give equal results.

    Returns:
        (T, H/4, W/4, 3) uint8 RGB, aligned with the clip: no stage shifts the picture.
    """
    if rng.random() < degradation.clean_share:
        return reduce_clip(clip)
    if other := _draw_other(degradation, rng):
        return degrade(clip, other, rng)
    frames, height, width = planes_from_levels(clip), *clip.shape[1:3]
    for stage in (degradation.first, degradation.second):
        if stage:
            frames = _run_round(frames, stage, rng)
    codec, codec_last = degradation.codec, rng.random() < degradation.codec_last_share
    if codec and not codec_last:
        frames = compress_frames(frames, codec, rng, truth_px=height * width)
    method = draw_kind(rng, degradation.reduction)
    size = (height // SCALE, width // SCALE)
    frames = [resize_planes(frame, size, method) for frame in frames]
    frames = _run_camera(frames, degradation, rng)
    if degradation.tone and is_grey(clip):
        frames = to_grey(frames)
    frames = _run_web(frames, degradation, rng, truth_px=height * width)
    if codec and codec_last:
        frames = compress_frames(frames, codec, rng, truth_px=height * width)
    return levels_from_planes(frames)


def reduce_clip(clip: Levels) -> Levels:
    """Reduce a clip x1/4 by antialiased bicubic, the field's clean input.

    Args:
        clip: (T, H, W, 3) uint8 RGB; H and W multiples of 4.

    Returns:
        (T, H/4, W/4, 3) uint8 RGB.
    """
    size = (clip.shape[1] // SCALE, clip.shape[2] // SCALE)
    planes = planes_from_levels(clip)
    return levels_from_planes([resize_planes(frame, size, CLEAN_FILTER) for frame in planes])


def _run_round(frames: list[Tensor], stage: Round, rng: np.random.Generator) -> list[Tensor]:
    if stage.blur:
        frames = blur_frames(frames, stage.blur, rng)
    if stage.resize:
        frames = resize_frames(frames, stage.resize, rng)
    if stage.noise:
        frames = add_noise(frames, stage.noise, rng)
    if stage.jpeg:
        frames = jpeg_frames(frames, stage.jpeg, rng)
    return frames


def _run_camera(
    frames: list[Tensor], degradation: Degradation, rng: np.random.Generator
) -> list[Tensor]:
    if degradation.sinc:
        frames = blur_frames(frames, degradation.sinc, rng)
    if degradation.sensor:
        frames = sense_frames(frames, degradation.sensor, rng)
    return frames


def _run_web(
    frames: list[Tensor], degradation: Degradation, rng: np.random.Generator, *, truth_px: int
) -> list[Tensor]:
    if degradation.grain:
        frames = add_grain(frames, degradation.grain, rng)
    if degradation.interlace:
        frames = interlace_frames(frames, degradation.interlace, rng)
    if degradation.upload:
        frames = upload_frames(frames, degradation.upload, rng, truth_px=truth_px)
    if degradation.sharpen:
        frames = sharpen_frames(frames, degradation.sharpen, rng)
    return frames


def _draw_other(degradation: Degradation, rng: np.random.Generator) -> Degradation | None:
    """Draw the named degradation that makes this clip instead; None for this one.

    The tone is this one's: a clip that it made grey stays so in the other.
    """
    if not degradation.others:
        return None
    own = 1 - sum(degradation.others.values())
    name = draw_kind(rng, {**degradation.others, "": max(own, 0.0)})
    return dataclasses.replace(PRESETS[name], tone=degradation.tone) if name else None
