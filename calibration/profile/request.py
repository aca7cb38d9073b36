"""What to profile, and the clips as the network gets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av

from ...arrays import Levels
from ...bundle import Bundle
from ...counted import counted
from ...errors import InputNotFoundError, UnreadableVideoError
from ...metrics import UsableMetrics, limit_size
from ...pictures.clips import ffmpeg_reason, read_clip
from ..evaluate.sequences import is_image
from ..evaluate.truth import TruthOptions, find_truth, read_pairs

LEAST_FRAMES = 8
"""A clip shorter than this shows nothing over time, and is left out."""

MOST_CLIPS = 12
"""More would not fit on a page; the rest is left out with a line."""


@dataclass(frozen=True, kw_only=True)
class ProfileRequest:
    """What to measure."""

    bundle: Bundle

    clips: Sequence[Path]
    """Videos, folders of videos, or folders of images where `sequences`."""

    metrics: UsableMetrics

    variants: Sequence[str] = ()
    """Ids or precisions; none for all the backend runs. The first is the reference."""

    backend: str = "auto"

    truth: bool = False
    """The clips are ground truth: reduce them by the scale for the input and compare with them."""

    frames: int = 100
    """Most frames of each clip."""

    max_side_px: int = 160
    """Inputs with a longer side are reduced to it."""

    drift_frames: int = 1000
    """Frames of the run that shows drift; 0 for none."""

    beside: Sequence[str | Path] = ()
    """Other bundles, compared with the truth: quality and speed alone."""

    statement: bool = False
    """Test in how many frames variants stay within limits, on runs drawn from the clips."""

    bench_seconds: float = 10.0
    """Of the variants' race."""

    threads: int = 0


@dataclass(frozen=True)
class Clip:
    """Frames of one file."""

    name: str
    frames: list[Levels]
    """Inputs, (H, W, 3) uint8 RGB."""

    truth: list[Levels] | None
    """(sH, sW, 3) each, where the clips are ground truth."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the input in pixels."""
        return self.frames[0].shape[1], self.frames[0].shape[0]


def find_clips(request: ProfileRequest, note: Callable[[str], None]) -> list[Path]:
    """Videos among the request's paths.

    Raises:
        InputNotFoundError: None is there.
    """
    found = find_truth(request.clips)
    images = [path for path in found if is_image(path)]
    if images:
        note(f"{counted(len(images), 'image')} left out: a profile is about time, and needs clips")
    videos = [path for path in found if path not in images]
    if not videos:
        raise InputNotFoundError("no clip among the inputs: a profile needs at least one video")
    for path in videos[MOST_CLIPS:]:
        note(f"'{path.name}' left out: {MOST_CLIPS} clips are what a page holds")
    return videos[:MOST_CLIPS]


def read_clip_frames(path: Path, request: ProfileRequest) -> Clip:
    """Read one clip.

    Raises:
        UnreadableVideoError: It cannot be read, or changes its size.
    """
    if request.truth:
        scale = request.bundle.scale
        options = TruthOptions(
            frames=request.frames, max_side_px=scale * request.max_side_px, scale=scale
        )
        pairs = list(read_pairs(path, options))
        return Clip(path.name, [low for _, low in pairs], [truth for truth, _ in pairs])
    try:
        frames = [
            limit_size(image, request.max_side_px)
            for image in islice(read_clip(path), request.frames)
        ]
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UnreadableVideoError(f"cannot read '{path}': {ffmpeg_reason(error)}") from error
    if not frames:
        raise UnreadableVideoError(f"'{path}' holds no frames")
    if len({frame.shape for frame in frames}) > 1:
        raise UnreadableVideoError(f"'{path}' changes its size on the way; cut it there first")
    return Clip(path.name, frames, None)


def read_clips(request: ProfileRequest, note: Callable[[str], None]) -> list[Clip]:
    """Read all clips that are long enough; those that cannot be read are left out with a note.

    Raises:
        UnreadableVideoError: The only one cannot be read, or none is long enough.
    """
    clips = []
    paths = find_clips(request, note)
    for path in paths:
        try:
            clip = read_clip_frames(path, request)
        except UnreadableVideoError as error:
            if len(paths) == 1:
                raise
            note(f"'{path.name}' left out: {error}")
            continue
        if len(clip.frames) < LEAST_FRAMES:
            note(f"'{path.name}' left out: {len(clip.frames)} frames, needs {LEAST_FRAMES}")
            continue
        clips.append(clip)
    if not clips:
        raise UnreadableVideoError(f"no clip has the {LEAST_FRAMES} frames a profile needs")
    sizes = {clip.size for clip in clips}
    if len(sizes) > 1:
        listed = ", ".join(f"{w}x{h}" for w, h in sorted(sizes))
        note(f"clips of different sizes ({listed}): speed is that at the first's")
    return clips
