"""Training samples: a low-resolution clip and its truth, each a function of seed, epoch and index.

pairs = ClipPairs([clips], [images], DataOptions(), PRESETS["camera"], seed=0, report=print)
pair = pairs.pair(epoch=0, index=17)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...arrays import Levels
from ...config import SCALE
from ..degradation import Degradation, degrade, tone_truth
from ..degradation.presets import check_can_encode
from .lines import Lines
from .options import DataOptions
from .order import Place, find_place
from .sources import Source, Sources

KEY_CHARACTERS = 16
"""64 bits: among a million clips two share a key with a chance of 3 in 10^8."""


@dataclass(frozen=True)
class ClipPair:
    """One training sample."""

    low: Tensor
    """(T, 3, h, w) uint8 RGB, the network's input."""

    high: Tensor
    """(T, 3, 4h, 4w) uint8 RGB, its truth."""

    key: str
    """First 16 hex digits of the SHA-256 of `low`'s bytes: the clip's name in a teacher cache."""

    teacher: Tensor | None = None
    """(T, 3, 4h, 4w) uint8 RGB, where the pair comes from a teacher cache."""


@dataclass(frozen=True)
class DegradedClip:
    """A high-resolution clip and what one draw of the degradation made of it."""

    name: tuple[int, int]
    """Epoch, and which of its clips."""

    source: Source
    """Where it was taken from."""

    high: Levels
    """(T, 3, H, W) uint8 RGB."""

    low: Levels
    """(T, 3, H/4, W/4) uint8 RGB."""


class ClipPairs:
    """Every sample of the data folders; a pure function of (seed, epoch, index).

    Whatever the process, the batch and the samples drawn before, the same sample is the same
    bytes, on one kind of processor with one set of package versions. Indices that follow one
    another belong to different degraded clips; one degraded clip a lane is held in memory.

    Args:
        clips: Folders of videos, searched with all below them.
        images: Folders of images.
        options: How clips are made.
        degradation: How low-resolution clips are made of them.
        seed: Decides, with epoch and index, everything drawn.
        report: Called with one line for every file that cannot be used, whichever process meets it
            first; in this process only.

    Raises:
        TrainingDataError: A folder is missing or holds no file of its kind, or none can be used.
        ConfigError: This PyAV lacks an encoder of the degradation.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        images: Sequence[Path],
        options: DataOptions,
        degradation: Degradation,
        *,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        check_can_encode(degradation)
        self.lines = Lines(report)
        with _one_thread():
            self.sources = Sources(clips, images, options, seed=seed, report=self.lines)
        self.options, self.degradation, self._seed = options, degradation, seed
        self._held: dict[int, DegradedClip] = {}

    def __len__(self) -> int:
        """Samples of an epoch."""
        return self._clips * self.options.crops_per_clip

    @property
    def _clips(self) -> int:
        return sum(self.sources.epoch_size())

    def pair(self, epoch: int, index: int) -> ClipPair:
        """Make a sample.

        Args:
            epoch: From 0.
            index: 0 to `len(self)` - 1.

        Raises:
            TrainingDataError: No file can be used any more.
        """
        place = self._place(epoch, index)
        clip = self.degraded(epoch, index)
        rng = np.random.default_rng((self._seed, epoch, place.clip, 1 + place.crop))
        low, high = _crop(clip, self.options.patch_px, rng)
        key = hashlib.sha256(low.numpy().tobytes()).hexdigest()[:KEY_CHARACTERS]
        return ClipPair(low, high, key)

    def lane(self, index: int) -> int:
        """Name the samples that share degraded clips: one process had better make all of them."""
        return self._place(0, index).lane if self.options.crops_per_clip > 1 else index

    def clip_of(self, epoch: int, index: int) -> int:
        """Which of an epoch's degraded clips a sample is cut from."""
        return self._place(epoch, index).clip

    def degraded(self, epoch: int, index: int) -> DegradedClip:
        """Make the whole degraded clip a sample is cut from, or take it from memory."""
        place = self._place(epoch, index)
        held = self._held.get(place.lane)
        if held is None or held.name != (epoch, place.clip):
            with _one_thread():
                held = self.whole(epoch, place.clip)
            self._held[place.lane] = held
        return held

    def summary(self) -> str:
        """Say in a line what there is to train on."""
        return (
            f"{len(self.sources.videos):,} videos and {len(self.sources.images):,} images; an "
            f"epoch is {len(self):,} samples of {self._clips:,} degraded clips, of which up to "
            f"{self.options.held_bytes / 2**30:.1f} GiB are in memory at a time"
        )

    def count_skipped(self) -> str:
        """Say in a line how many files could not be used so far; empty where all could."""
        skipped, files = self.sources.unusable, len(self.sources.videos) + len(self.sources.images)
        if not skipped:
            return ""
        return f"{skipped:,} of {files:,} files could not be used; each was named above"

    def describe(self, epoch: int, index: int) -> str:
        """Say in a line where a sample comes from."""
        clip = self.degraded(epoch, index)
        height, width = clip.high.shape[2:]
        name = self.sources.path(clip.source).name
        return f"{name}, {len(clip.high)} frames of {width}x{height}"

    def _place(self, epoch: int, index: int) -> Place:
        return find_place(
            index,
            clips=self._clips,
            crops=self.options.crops_per_clip,
            lanes=self.options.lanes,
            key=(self._seed, epoch),
        )

    def whole(self, epoch: int, clip: int) -> DegradedClip:
        """Make an epoch's degraded clip of that number anew."""
        rng = np.random.default_rng((self._seed, epoch, clip, 0))
        source, high = self.sources.read(self.sources.choose(epoch, clip), rng)
        high = tone_truth(high, self.degradation, rng)
        low = degrade(high, self.degradation, rng)
        return DegradedClip((epoch, clip), source, _planar(high), _planar(low))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, as the loader's workers do: sums then add up in the same order."""
    threads = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if threads > 1:
            torch.set_num_threads(threads)


def _planar(clip: Levels) -> Levels:
    """(T, H, W, 3) to (T, 3, H, W): the crops, many a clip, are then copied in longer runs."""
    return np.ascontiguousarray(clip.transpose(0, 3, 1, 2))


def _crop(clip: DegradedClip, patch_px: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Cut one crop, flipped, turned, reversed at random: (T, 3, p, p) and (T, 3, 4p, 4p)."""
    y, x = (int(rng.integers(0, extent - patch_px + 1)) for extent in clip.low.shape[2:])
    flip_t, flip_y, flip_x, turn = rng.random(4) < 0.5
    crops = []
    for frames, scale in ((clip.low, 1), (clip.high, SCALE)):
        side, top, left = patch_px * scale, y * scale, x * scale
        crop = frames[:: -1 if flip_t else 1, :, top : top + side, left : left + side]
        crop = crop[:, :, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
        crop = crop.transpose(0, 1, 3, 2) if turn else crop
        crops.append(tensor_of(crop))
    return crops[0], crops[1]


def tensor_of(clip: Levels) -> Tensor:
    """Copy an array that may run backwards into a tensor of its own.

    Not `ascontiguousarray`: an axis of one element counts as contiguous in either direction, and
    torch takes no array with a negative stride.
    """
    return torch.from_numpy(clip.copy(order="C"))
