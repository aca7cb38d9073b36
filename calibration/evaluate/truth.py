"""Frames with known truth: where they are found, how they are cut, and their low-resolution twins.

A degradation is any callable that turns the frames of one clip into their low-resolution twins, one
for one and in order; it may lag behind, as a codec does. Training's degradations fit: the caller
hands them in, so this package imports nothing of training.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from math import lcm
from pathlib import Path
from typing import Any

import av
import numpy as np

from ...arrays import Levels
from ...config import SCALE
from ...errors import InputNotFoundError, UnreadableVideoError
from ...given import refuse_address
from ...metrics import limit_size, resize_bicubic
from ...pictures.clips import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    ffmpeg_reason,
    find_media,
    media_url,
    read_clip,
    read_image,
)
from ...pictures.pyav import open_input
from .sequences import images_in, is_image, misplaced

TRUTH_MULTIPLE = 8
"""The truth is cut to it: x1/4 stays even, as a codec's 4:2:0 needs."""

LEAST_SIDE_PX = 24
"""The measures' smallest windows and the border must fit."""

Degrade = Callable[[Iterator[Levels], np.random.Generator], Iterator[Levels]]
"""Frames (H, W, 3) of one clip, H and W multiples of 8, to (H/4, W/4, 3) each; uint8 RGB."""

Pair = tuple[Levels, Levels]
"""A frame of the truth (4h, 4w, 3) and its low-resolution twin (h, w, 3)."""


def whole_clip(degrade: Callable[[Levels, np.random.Generator], Levels]) -> Degrade:
    """Adapt a degradation of whole clips, (T, H, W, 3) to (T, H/4, W/4, 3), as training has them.

    It holds all frames of a clip: at most `TruthOptions.frames`.
    """

    def stream(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
        yield from degrade(np.stack(list(frames)), rng)

    return stream


def reduce_bicubic(
    frames: Iterator[Levels], rng: np.random.Generator, scale: int = SCALE
) -> Iterator[Levels]:
    """Reduce by antialiased bicubic, the field's common protocol; draws nothing."""
    for image in frames:
        yield resize_bicubic(image, image.shape[0] // scale, image.shape[1] // scale)


@dataclass(frozen=True, kw_only=True)
class TruthOptions:
    """How truth is read and reduced."""

    frames: int = 50
    """Most frames of a clip."""

    max_side_px: int = 960
    """Videos with a longer side are reduced to it: removes camera and codec blur from the truth."""

    degradation: str = "bicubic"
    """Name of what makes the low-resolution input, for the report."""

    degrade: Degrade = reduce_bicubic
    """Makes the low-resolution input."""

    scale: int = SCALE
    """Of the networks: truth over input. Degradations other than `reduce_bicubic` make 4 alone."""

    seed: int = 0
    """With the file's name decides what a degradation draws."""

    draws: int = 1
    """Times every file is degraded and measured: with `seed` and those after it."""

    low_folder: Path | None = None
    """Low-resolution inputs of the same names; then nothing is cut, reduced or degraded."""

    lows: Mapping[Path, Path] = field(default_factory=dict)
    """The same by file of truth; before `low_folder`."""

    centre_px: int = 0
    """Side of the part in the middle of the truth that is measured; 0 for all of it. 25 frames of
    512 are the paper's."""

    no_reference: bool = False
    """The files are themselves the input, and bicubic interpolation of them stands in the truth's
    place. Nothing is reduced or degraded."""

    enlarge: Callable[[Levels], Levels] | None = None
    """The same by a benchmark's rules, of frames as they are: makes (4H, 4W, 3) of (H, W, 3)."""

    multiple: int = TRUTH_MULTIPLE
    """The truth's sides are cut to multiples of it, pixels."""

    border_px: int = 4
    """Left out of every measure on each side, pixels: there every method lacks context."""

    ends: int = 0
    """Frames left out of the figures at the start and at the end of every clip."""

    only: Sequence[int] = ()
    """Only these frames are measured; none for all."""

    def is_measured(self, index: int, count: int) -> bool:
        """Whether a frame counts.

        Args:
            index: Of the frame in its clip, from 0.
            count: Frames of the clip.
        """
        return self.ends <= index < count - self.ends and (not self.only or index in self.only)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, for the report."""
        centre = {"centre_px": self.centre_px} if self.centre_px else {}
        if self.no_reference:
            return {"frames": self.frames, "no_reference": True, **centre}
        if self.low_folder is not None:
            return {"frames": self.frames, "lr": str(self.low_folder), **centre}
        return {
            **centre,
            "frames": self.frames,
            "max_side_px": self.max_side_px,
            "degradation": self.degradation,
            "seed": self.seed,
            **({"draws": self.draws} if self.draws > 1 else {}),
        }


def find_truth(paths: Sequence[Path], *, sequences: bool = False) -> list[Path]:
    """Images and videos among the paths, those in folders included.

    Args:
        paths: Files and folders.
        sequences: A folder that holds images is itself one clip, its frames in order of their
            names.

    Raises:
        InputNotFoundError: A path does not exist, or there is nothing to evaluate on.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = find_media(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
            clips = (file.parent if sequences and is_image(file) else file for file in found)
            files += dict.fromkeys(clips)
        elif path.is_file():
            files.append(path)
        else:
            refuse_address(path)
            raise InputNotFoundError(f"no file or folder '{path}'")
    if not files:
        folders = ", ".join(f"'{path}'" for path in paths)
        raise InputNotFoundError(f"no image or video in {folders}")
    return files


def count_frames(file: Path, limit: int) -> int:
    """Frames to expect of a file, for progress: what its header says, at most `limit`."""
    if is_image(file):
        return 1
    if file.is_dir():
        return min(len(images_in(file)), limit)
    try:
        with open_input(media_url(file)) as container:
            return min(container.streams.video[0].frames or limit, limit)
    except (av.FFmpegError, IndexError, OSError):
        return 0  # reading it will say why


def read_pairs(file: Path, options: TruthOptions) -> Iterator[Pair]:
    """Frames of a file with their low-resolution twins; holds what the degradation lags behind.

    Raises:
        UnreadableVideoError: The file or its low-resolution twin cannot be read, is too small,
            changes its size, or the two do not belong together.
    """
    try:
        if options.no_reference:
            yield from _real_pairs(file, options)
        elif options.enlarge is not None:
            for image in _steady(_frames(file, options.frames)):
                yield options.enlarge(image), image
        elif (low := options.lows.get(file)) is not None:
            yield from _given_pairs(file, low, options)
        elif options.low_folder is not None:
            yield from _given_pairs(
                file, find_low(file, options.low_folder, options.scale), options
            )
        else:
            rng = np.random.default_rng((options.seed, zlib.crc32(file.name.encode())))
            yield from _made_pairs(_truth(file, options), options, rng)
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = ffmpeg_reason(error)
        raise UnreadableVideoError(f"cannot evaluate on '{file}': {reason}") from error


def find_low(file: Path, folder: Path, scale: int = SCALE) -> Path:
    """The low-resolution twin of a file of truth: `NAME` or `NAMEx4`, by its scale.

    The twin of an image sequence is a folder.

    Raises:
        ValueError: There is none, or more than one.
    """
    if file.is_dir():
        name, found = file.name, sorted(p for p in folder.rglob("*") if p.is_dir())
        found = [p for p in found if p.name in {name, f"{name}x{scale}"}]
    else:
        name, found = file.stem, find_media(folder, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
        found = [p for p in found if p.stem in {name, f"{name}x{scale}"}]
    if len(found) != 1:
        listed = ", ".join(f"'{path}'" for path in found) or "nothing"
        raise ValueError(f"expected one input named {name} in '{folder}', found {listed}")
    return found[0]


def _frames(file: Path, limit: int) -> Iterator[Levels]:
    if file.is_dir():
        return (read_image(path) for path in images_in(file)[:limit])
    return iter([read_image(file)]) if is_image(file) else islice(read_clip(file), limit)


def _truth(file: Path, options: TruthOptions) -> Iterator[Levels]:
    """Frames of the truth, reduced if they are a large video's, cut to the multiple."""
    video = file.is_file() and not is_image(file)
    for image in _steady(_frames(file, options.frames)):
        if video:
            image = limit_size(image, options.max_side_px)  # noqa: PLW2901
        _check_size(image)
        multiple = lcm(options.multiple, options.scale)
        yield _centre(image, options.centre_px, multiple)


def _centre(image: Levels, side_px: int, multiple: int) -> Levels:
    """The middle of a picture, or all of it for 0; begins and ends at multiples."""
    parts = []
    for extent in image.shape[:2]:
        side = min(side_px or extent, extent) // multiple * multiple
        first = (extent - side) // 2 // multiple * multiple if side_px else 0
        parts.append(slice(first, first + side))
    part: Levels = image[parts[0], parts[1]]
    return part


def _real_pairs(file: Path, options: TruthOptions) -> Iterator[Pair]:
    """A real clip's frames beside their interpolation; blocks of the codec stay at its edges."""
    side = options.centre_px // options.scale
    for image in _steady(_frames(file, options.frames)):
        _check_size(image)
        low = np.ascontiguousarray(_centre(image, side, TRUTH_MULTIPLE))
        yield resize_bicubic(low, *(extent * options.scale for extent in low.shape[:2])), low


def _made_pairs(
    truth: Iterator[Levels], options: TruthOptions, rng: np.random.Generator
) -> Iterator[Pair]:
    waiting: deque[Levels] = deque()
    degrade, scale = options.degrade, options.scale
    if degrade is reduce_bicubic:
        degrade = partial(reduce_bicubic, scale=scale)

    def watched() -> Iterator[Levels]:
        for image in truth:
            waiting.append(image)
            yield image

    for low in degrade(watched(), rng):
        image = waiting.popleft()
        if (low.shape[0] * scale, low.shape[1] * scale) != image.shape[:2]:
            raise ValueError(f"the degradation made {_size(low)} pixels of {_size(image)}")
        yield image, low
    if waiting:
        raise ValueError(f"the degradation lost {len(waiting)} frames")


def _given_pairs(file: Path, low_file: Path, options: TruthOptions) -> Iterator[Pair]:
    limit, scale = options.frames, options.scale
    if file.is_dir() and low_file.is_dir() and (why := misplaced(file, low_file)):
        raise ValueError(f"frames do not belong together: {why}")
    lows, count = _steady(_frames(low_file, limit)), 0
    for index, truth in enumerate(_steady(_frames(file, limit))):
        count = index + 1
        _check_size(truth)
        low = next(lows, None)
        if low is None:
            raise ValueError(
                f"'{low_file}' ends before frame {index}, which the truth has; give an input of as "
                "many frames, or fewer with --frames"
            )
        expected = (low.shape[0] * scale, low.shape[1] * scale)
        if truth.shape[:2] != expected:
            raise ValueError(
                f"{_size(truth)} pixels, but '{low_file}' of {_size(low)} would become "
                f"{expected[1]}x{expected[0]} by x{scale}; give an input of that part of the truth"
            )
        if options.centre_px:
            low = np.ascontiguousarray(_centre(low, options.centre_px // scale, 1))
            truth = _centre(truth, options.centre_px // scale * scale, scale)  # noqa: PLW2901
        yield truth, low
    if next(lows, None) is not None:
        raise ValueError(
            f"'{low_file}' has more frames than the truth, which has {count}; give an input of as "
            "many frames, or fewer with --frames"
        )


def _steady(frames: Iterable[Levels]) -> Iterator[Levels]:
    """Pass frames on as long as their size stays."""
    first: tuple[int, ...] | None = None
    for index, image in enumerate(frames):
        if first is not None and image.shape != first:
            raise ValueError(
                f"frame {index} is {_size(image)} pixels, those before it {first[1]}x{first[0]}"
            )
        first = image.shape
        yield image
    if first is None:
        raise ValueError("no frames")


def _check_size(image: Levels) -> None:
    if min(image.shape[:2]) < LEAST_SIDE_PX:
        raise ValueError(f"{_size(image)} pixels, needs at least {LEAST_SIDE_PX} a side")


def _size(image: Levels) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
