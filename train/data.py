"""Training pairs: clips and images decoded once, degraded anew every epoch, cropped a batch.

The pool keeps high-resolution clips in memory with their degraded low-resolution twins. The
compression sees whole frames, as in a real camera, and a batch costs no more than its crops. Every
batch is a function of (seed, step) alone, so a resumed run continues with the same pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_media, media_url, read_clip, read_image
from ..config import SCALE
from ..errors import TrainingDataError
from ..metrics import limit_size, resize_bicubic
from .degradation import Degradation, degrade

CROP_MULTIPLE = 8
"""High-resolution sizes are cut to this: x1/4 stays even, as H.264's 4:2:0 needs."""


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    """What the pool holds.

    One epoch's pool is drawn from the sources once and used for `steps_per_epoch` steps.
    """

    frames: int = 6
    """T, frames of every training clip."""

    patch_px: int = 48
    """Side of the low-resolution crops; smaller sources are skipped."""

    segments_per_clip: int = 12
    """Clips of `frames` cut from every video, spread over its length."""

    max_side_px: int = 960
    """Videos with a longer side are reduced to it: removes camera and codec blur from the truth."""

    image_scale: tuple[float, float] = (0.6, 1.0)
    """Range of the random reduction of each image, for variety of scale."""

    pan_px: int = 6
    """Largest shift a frame of the pan that makes a clip of an image, high-resolution pixels."""

    still_share: float = 0.15
    """Share of image clips that do not move at all."""

    @property
    def least_side_px(self) -> int:
        """Smallest usable side of a high-resolution image, room for the pan included."""
        return SCALE * self.patch_px + self.pan_px * self.frames + CROP_MULTIPLE


@dataclass(frozen=True)
class Pair:
    """A high-resolution clip (T, H, W, 3) and its low-resolution twin (T, H/4, W/4, 3), uint8."""

    high: npt.NDArray[np.uint8]
    low: npt.NDArray[np.uint8]


class PairPool:
    """The training pairs of one epoch, and crops from them.

    Args:
        clips: Folders of videos.
        images: Folders of images.
        options: What to hold.
        degradation: How the low-resolution twins are made.
        seed: With the epoch decides every draw.
        report: Called with one line for every file that could not be used.

    Raises:
        TrainingDataError: No usable file in any folder.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        images: Sequence[Path],
        options: PoolOptions,
        degradation: Degradation,
        *,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self.options = options
        self.degradation = degradation
        self.seed = seed
        self._segments = [
            segment
            for file in _files(clips, VIDEO_SUFFIXES)
            for segment in _read(file, report, self._read_segments)
        ]
        self._images = [
            image
            for file in _files(images, IMAGE_SUFFIXES)
            for image in _read(file, report, self._read_image)
        ]
        if not self._segments and not self._images:
            folders = ", ".join(f"'{folder}'" for folder in [*clips, *images]) or "none given"
            raise TrainingDataError(
                f"no usable video or image in the training folders ({folders}); expected files "
                f"ending in {', '.join(sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))}"
            )
        self._pairs: list[Pair] = []
        self._weights: npt.NDArray[np.float64] = np.zeros(0)

    def __len__(self) -> int:
        """Clips and images held."""
        return len(self._segments) + len(self._images)

    @property
    def bytes(self) -> int:
        """Memory of the high-resolution sources."""
        return sum(source.nbytes for source in [*self._segments, *self._images])

    def draw_epoch(self, epoch: int) -> None:
        """Degrade every clip anew; the same epoch always gives the same pairs."""
        sources: list[npt.NDArray[np.uint8]] = []
        rng = np.random.default_rng((self.seed, epoch, 0))
        sources.extend(self._segments)
        sources.extend(self._pan(image, rng) for image in self._images)
        self._pairs = [
            Pair(
                clip, degrade(clip, self.degradation, np.random.default_rng((self.seed, epoch, i)))
            )
            for i, clip in enumerate(sources, start=1)
        ]
        # Images show more detail a pixel than video frames: half of all crops come from them.
        count_clips, count_images = len(self._segments), len(self._images)
        both = bool(count_clips and count_images)
        share_clips = np.full(count_clips, (0.5 if both else 1.0) / max(count_clips, 1))
        share_images = np.full(count_images, (0.5 if both else 1.0) / max(count_images, 1))
        self._weights = np.concatenate([share_clips, share_images])

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor]:
        """Cut the crops of one step.

        Args:
            step: With the seed decides the crops.
            size: N.

        Returns:
            Low (N, T, 3, p, p) and high (N, T, 3, 4p, 4p), uint8.
        """
        rng = np.random.default_rng((self.seed, 1 << 32, step))
        chosen = rng.choice(len(self._pairs), size=size, p=self._weights)
        crops = [_crop(self._pairs[index], self.options.patch_px, rng) for index in chosen]
        low, high = (np.stack(side) for side in zip(*crops, strict=True))
        return torch.from_numpy(low), torch.from_numpy(high)

    def _pan(self, image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Make a clip of an image by moving a window over it (or not at all)."""
        least = self.options.least_side_px / min(image.shape[:2])
        scale = max(rng.uniform(*self.options.image_scale), least)
        image = resize_bicubic(image, int(image.shape[0] * scale), int(image.shape[1] * scale))
        frames, pan = self.options.frames, self.options.pan_px
        still = rng.random() < self.options.still_share
        velocity = np.zeros(2) if still else rng.uniform(-pan, pan, 2)
        path = np.round(np.arange(frames)[:, None] * velocity).astype(int)
        path -= path.min(0)
        height, width = (
            _cut(extent - reach) for extent, reach in zip(image.shape, path.max(0), strict=False)
        )
        return np.stack([image[y : y + height, x : x + width] for y, x in path])

    def _read_image(self, path: Path) -> list[npt.NDArray[np.uint8]]:
        image = read_image(path)
        if min(image.shape[:2]) < self.options.least_side_px:
            raise ValueError(
                f"{image.shape[1]}x{image.shape[0]} pixels, needs at least "
                f"{self.options.least_side_px} on each side"
            )
        return [image]

    def _read_segments(self, path: Path) -> list[npt.NDArray[np.uint8]]:
        """Decode clips of T consecutive frames, evenly spread over the video."""
        wanted, options = self.options.segments_per_clip, self.options
        with av.open(media_url(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise ValueError("no video stream")
            total = sum(1 for _ in container.demux(video=0)) - 1
        if total < options.frames:
            raise ValueError(f"{total} frames, needs at least {options.frames}")
        starts = np.linspace(0, max(total - options.frames, 0), wanted).astype(int)
        keep = {int(s) + offset for s in starts for offset in range(options.frames)}
        frames = {
            index: _truth_of(image, options.max_side_px)
            for index, image in enumerate(read_clip(path))
            if index in keep
        }
        if any(min(f.shape[:2]) < SCALE * options.patch_px for f in frames.values()):
            raise ValueError(f"smaller than the crop of {SCALE * options.patch_px} pixels")
        return [
            np.stack([frames[s + offset] for offset in range(options.frames)])
            for s in sorted({int(s) for s in starts})
            if all(s + offset in frames for offset in range(options.frames))
        ]


def _read(
    path: Path,
    report: Callable[[str], None],
    reader: Callable[[Path], list[npt.NDArray[np.uint8]]],
) -> list[npt.NDArray[np.uint8]]:
    """Read one file; a broken one is reported and gives nothing."""
    try:
        return reader(path)
    except (av.FFmpegError, ValueError) as error:
        report(f"skipped '{path}': {error or type(error).__name__}")
        return []


def _files(folders: Sequence[Path], suffixes: frozenset[str]) -> list[Path]:
    """All files of the given kinds below the folders, in a stable order.

    Raises:
        TrainingDataError: A folder does not exist.
    """
    found: list[Path] = []
    for folder in folders:
        if not folder.is_dir():
            raise TrainingDataError(f"training folder '{folder}' is not a directory")
        found += find_media(folder, suffixes)
    return found


def _truth_of(image: npt.NDArray[np.uint8], max_side_px: int) -> npt.NDArray[np.uint8]:
    """Reduce an image to the longest side allowed and cut it to the crop multiple."""
    image = limit_size(image, max_side_px)
    return image[: _cut(image.shape[0]), : _cut(image.shape[1])]


def _cut(extent: int) -> int:
    return extent // CROP_MULTIPLE * CROP_MULTIPLE


def _crop(
    pair: Pair, patch_px: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Cut one crop, flipped, turned, reversed at random: (T, 3, p, p) and (T, 3, 4p, 4p)."""
    _, height, width, _ = pair.low.shape
    y, x = (int(rng.integers(0, max(extent - patch_px, 0) + 1)) for extent in (height, width))
    low = pair.low[:, y : y + patch_px, x : x + patch_px]
    p, y, x = patch_px * SCALE, y * SCALE, x * SCALE
    high = pair.high[:, y : y + p, x : x + p]
    flip_t, flip_y, flip_x, turn = rng.random(4) < 0.5
    out = []
    for clip in (low, high):
        flipped = clip[:: -1 if flip_t else 1, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
        out.append(flipped.transpose((0, 3, 2, 1) if turn else (0, 3, 1, 2)))
    return out[0], out[1]
