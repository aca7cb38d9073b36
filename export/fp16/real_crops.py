"""Short real clips that show FP16 conversion which values a network meets.

clips = read_crops([Path("street.mp4")], edge_px=64, multiple=16)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import av
import numpy as np

from ...arrays import Levels
from ...errors import ConfigError, InputNotFoundError, UnreadableVideoError
from ...pictures.clips import ffmpeg_reason, read_clip

FRAMES = 4
"""Consecutive frames of each clip: values in the state settle within a few."""

LEAST_FRAMES = 2

FLAT_LEVELS = 2.0
"""Standard deviation below which a frame shows nothing; many clips begin with black."""


def read_crops(paths: Sequence[Path], *, edge_px: int, multiple: int) -> list[Levels]:
    """Read the middle of the first frames that show something, of each clip.

    Args:
        paths: Video files, of the size and kind the network will be used on.
        edge_px: Longest height and width taken.
        multiple: Height and width are multiples of this.

    Returns:
        A (T, H, W, 3) uint8 array for each file.

    Raises:
        ConfigError: A clip is too short, too small or flat all over.
        InputNotFoundError: A file is not there.
        UnreadableVideoError: A file is no video.
    """
    return [_read_crop(path, edge_px, multiple) for path in paths]


def _read_crop(path: Path, edge_px: int, multiple: int) -> Levels:
    if not path.is_file():
        raise InputNotFoundError(f"no calibration clip at '{path}'")
    try:
        frames = list(islice(_showing(read_clip(path)), FRAMES))
    except (av.FFmpegError, UnicodeDecodeError, ValueError, OSError) as error:
        raise UnreadableVideoError(
            f"calibration clip '{path}' cannot be read: {ffmpeg_reason(error)}"
        ) from error
    if len(frames) < LEAST_FRAMES:
        raise ConfigError(
            f"calibration clip '{path}' has {len(frames)} frames that show anything; expected "
            f"{LEAST_FRAMES} or more"
        )
    height, width = (min(side, edge_px) // multiple * multiple for side in frames[0].shape[:2])
    if not height or not width:
        raise ConfigError(
            f"calibration clip '{path}' is {frames[0].shape[1]}x{frames[0].shape[0]}; expected "
            f"{multiple}x{multiple} or more"
        )
    return np.stack([_centre(frame, height, width) for frame in frames])


def _showing(frames: Iterator[Levels]) -> Iterator[Levels]:
    """Leave out flat frames at the beginning."""
    begun = False
    for frame in frames:
        begun = begun or float(frame.std()) >= FLAT_LEVELS
        if begun:
            yield frame


def _centre(frame: Levels, height: int, width: int) -> Levels:
    top, left = (frame.shape[0] - height) // 2, (frame.shape[1] - width) // 2
    return frame[top : top + height, left : left + width]
