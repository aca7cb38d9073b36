"""What the frames of a video are like: where scenes end, how bright, moving and noisy they are.

One pass over a clip that holds no frame; calibration chooses its runs by it.

    scenes = survey_clip(path, max_frames=300)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import av
import numpy as np

from ...arrays import Levels
from ...metrics import luma, resize_bicubic
from ...pictures.content import estimate_compression, estimate_noise
from ...pictures.scene_cuts import Small, score_cut, small_luma
from ...runtime.video.source import FileSource, SourceFrame

CUT_THRESHOLD = 0.25
"""Score of `scene_cuts.score_cut` that is a cut; steady scenes stay below 0.19, cuts start at 0.30
in the clips it was set on."""


@dataclass(frozen=True)
class FrameTraits:
    """One frame in three figures."""

    luminance: float
    """Mean luma, 16 to 235 levels."""

    motion: float
    """Mean absolute change of a 64x36 luma picture since the frame before, levels; 0 after a
    cut."""

    noise: float
    """Standard deviation of noise in flat areas, levels (Immerkaer 1996, flattest blocks)."""

    contrast: float
    """Standard deviation of luma, levels."""

    compression: float = 0.0
    """How visible a codec's blocks are, see `pictures.content`."""


@dataclass
class ClipSurvey:
    """Traits of the frames of one clip."""

    path: Path
    """The clip."""

    height: int
    """Of its frames, pixels."""

    width: int
    """Likewise."""

    frames: list[FrameTraits] = field(default_factory=list)
    """In order."""

    cuts: list[int] = field(default_factory=list)
    """Indices of frames that begin another scene; 0 is not among them."""


def survey_clip(path: Path, *, max_frames: int, reduce: int = 1) -> ClipSurvey:
    """Look at the frames of a video.

    Args:
        path: The video.
        max_frames: Frames after this many are not looked at.
        reduce: See `frames_of`.

    Raises:
        InputNotFoundError, UnreadableVideoError, UnsupportedVideoError: See `FileSource`.
    """
    before: Small | None = None
    with FileSource(path) as source:
        survey = ClipSurvey(path, source.info.height // reduce, source.info.width // reduce)
        for image in islice(frames_of(source, reduce), max_frames):
            small = small_luma(av.VideoFrame.from_ndarray(image, format="rgb24"))
            if before is not None and score_cut(before, small, CUT_THRESHOLD) >= CUT_THRESHOLD:
                survey.cuts.append(len(survey.frames))
                before = None
            survey.frames.append(_traits(image, small, before))
            before = small
    return survey


def frames_of(source: FileSource, reduce: int = 1) -> Iterator[Levels]:
    """Yield the pictures of a source, (H, W, 3) uint8.

    Args:
        source: Opened.
        reduce: Divide both sides by it, bicubic: footage of high resolution becomes the kind of
            input a network for low resolution meets.
    """
    for item in source:
        if isinstance(item, SourceFrame):
            height, width = (side // reduce for side in item.rgb.shape[:2])
            yield item.rgb if reduce == 1 else resize_bicubic(item.rgb, height, width)


def _traits(image: Levels, small: Small, before: Small | None) -> FrameTraits:
    plane = luma(image)
    return FrameTraits(
        luminance=float(plane.mean()),
        motion=0.0 if before is None else float(np.abs(small - before).mean()),
        noise=estimate_noise(plane),
        contrast=float(plane.std()),
        compression=estimate_compression(plane),
    )
