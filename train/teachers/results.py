"""Find and read what foreign programs wrote: videos, or folders of numbered pictures."""

from __future__ import annotations

import re
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ...errors import TeacherCacheError
from ...pictures.clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ffmpeg_reason, media_url, read_image
from ...pictures.colour import CHROMA_LEFT, MATRIX_BT601, MATRIX_UNSPECIFIED, is_rgb, rgb_from_frame
from ...pictures.pyav import open_input
from .sample import Clip


class ResultError(Exception):
    """One result does not fit; collected and told together."""


def find_results(folder: Path) -> dict[str, Path]:
    """Videos and folders of pictures anywhere below a folder, by their name without ending.

    Raises:
        TeacherCacheError: No such folder, or two results of one name.
    """
    if not folder.is_dir():
        raise TeacherCacheError(f"no folder of results at '{folder}'")
    results: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            name = path.stem
        elif path.is_dir() and any(p.suffix.lower() in IMAGE_SUFFIXES for p in path.iterdir()):
            name = path.name
        else:
            continue
        if name in results:
            raise TeacherCacheError(
                f"two results of the name '{name}': '{results[name]}' and '{path}'; keep one"
            )
        results[name] = path
    return results


def read_result(path: Path, *, expected: tuple[int, ...], first: int) -> tuple[Clip, bool]:
    """Read a result.

    Args:
        path: A video or a folder of pictures.
        expected: Frames, height and width it must have.
        first: Number of the first picture, where that tells which frames are missing; else 0.

    Returns:
        (T, 3, H, W) uint8, and whether it came as subsampled video.

    Raises:
        ResultError: Another number of frames, size or numbering, or unreadable.
    """
    try:
        if path.is_dir():
            images, lossy = [read_image(p) for p in _numbered(path, first, expected[0])], False
        else:
            images, lossy = _read_video(path)
    except (av.FFmpegError, ValueError) as error:
        raise ResultError(f"cannot be read: {ffmpeg_reason(error)}") from error
    found = (len(images), *images[0].shape[:2]) if images else (0, 0, 0)
    if found != expected or len({image.shape for image in images}) > 1:
        raise ResultError(
            f"{found[0]} frames of {found[2]}x{found[1]}, expected {expected[0]} of "
            f"{expected[2]}x{expected[1]}"
        )
    return np.stack(images).transpose(0, 3, 1, 2), lossy


def _numbered(folder: Path, first: int, count: int) -> list[Path]:
    """Pictures of a folder in the order of their numbers, which must have no gap."""
    numbers: dict[int, Path] = {}
    for path in folder.iterdir():
        digits = re.findall(r"\d+", path.stem)
        if path.suffix.lower() in IMAGE_SUFFIXES and digits:
            numbers[int(digits[-1])] = path
    # A program that leaves out the first frame counts on from it; others count from 0 or 1.
    start = first or min(numbers, default=0)
    missing = [n for n in range(start, start + count) if n not in numbers]
    if missing or len(numbers) != count:
        gap = f", number {missing[0]} is missing" if missing else ""
        raise ResultError(f"{len(numbers)} pictures, expected {count}{gap}")
    return [numbers[n] for n in sorted(numbers)]


def _read_video(path: Path) -> tuple[list[npt.NDArray[np.uint8]], bool]:
    """Read a video's frames, (H, W, 3), and tell whether their colour is subsampled."""
    images, lossy = [], False
    reformatter = VideoReformatter()
    with open_input(media_url(path)) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        container.streams.video[0].codec_context.options = dict(CHROMA_LEFT)
        for frame in container.decode(video=0):
            if not is_rgb(frame):
                lossy = True
                # ffmpeg turns RGB into BT.601 of any size and does not say so; broadcast practice,
                # which holds elsewhere, would read large untagged frames as BT.709.
                if frame.colorspace == MATRIX_UNSPECIFIED:
                    frame.colorspace = MATRIX_BT601
            images.append(rgb_from_frame(frame, reformatter))
    return images, lossy
