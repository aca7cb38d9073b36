"""The files of the data folders, and high-resolution clips from them.

Files are listed, not opened: a folder of a million videos costs its listing. Each is opened when a
clip of it is due; one that cannot be used is named once, whichever process met it, and its
neighbour in the list takes its place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from ...arrays import Levels
from ...errors import TrainingDataError
from ...pictures.clips import IMAGE_SUFFIXES, VIDEO_SUFFIXES, ffmpeg_reason, find_media, read_image
from ..degradation.sensor import unsharp_mask
from .decode import Stretch, read_stretches, resize_levels
from .file_lists import LISTS, read_list
from .options import CROP_MULTIPLE, DataOptions
from .order import shuffle

KEPT, IMAGES = 0x6B657074, 0x696D6773
"""Words that keep draws for placed segments and for the order of images apart from all others."""

UNSHARP_SIGMA_PX, UNSHARP_THRESHOLD = 8.0, 10.0
"""RealBasicVSR's: OpenCV's sigma for a kernel of 51 pixels, and its threshold in levels."""

MOST_FOLDERS = 50
"""Folders that a checkpoint names as its origin."""

MOST_TRIES = 1000
"""Unusable files in a row after which something else must be wrong."""


@dataclass(frozen=True)
class Source:
    """Where a degraded clip of an epoch comes from."""

    video: bool
    """Video or image."""

    file: int
    """Which of the videos (or images)."""

    segment: int = 0
    """Which part of the video, of `segments_per_clip`."""


class Sources:
    """Videos and images, and high-resolution clips from them.

    Args:
        clips: Folders of videos, searched with all below them.
        images: Folders of images.
        options: How clips are made.
        seed: Decides, with the epoch, every draw.
        report: Called with a line for every file that could not be used, and about memory.

    Raises:
        TrainingDataError: A folder is missing or holds no file of its kind, or none can be used.
    """

    def __init__(
        self,
        clips: Sequence[Path],
        images: Sequence[Path],
        options: DataOptions,
        *,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        if not clips and not images:
            raise TrainingDataError("no data folder given; name folders of videos or of images")
        self.options, self._seed, self._report = options, seed, report
        self.videos = _files(clips, VIDEO_SUFFIXES, "video")
        self.images = _files(images, IMAGE_SUFFIXES, "image")
        # Shared between processes, so that each file is named once whoever meets it.
        flags = torch.zeros(len(self.videos) + len(self.images), dtype=torch.uint8)
        self._unusable: Tensor = flags.share_memory_()  # type: ignore[no-untyped-call]
        self._kept: dict[Source, Levels] = {}
        self._try_one(video=True)
        self._try_one(video=False)
        if options.keep_decoded:
            self._keep()

    @property
    def unusable(self) -> int:
        """Files met so far that cannot be used."""
        return int(self._unusable.sum())

    @property
    def kept_bytes(self) -> int:
        """Memory of the sources kept decoded."""
        return sum(source.nbytes for source in self._kept.values())

    def trained_on(self) -> dict[str, int]:
        """Files by the name of the folder they lie in: what a checkpoint says of its origin.

        Names alone, not paths, which are a machine's own; of more than `MOST_FOLDERS` folders the
        fullest, and the files of the others together.
        """
        counts = Counter(path.parent.name for path in (*self.videos, *self.images))
        named = dict(counts.most_common(MOST_FOLDERS))
        others = counts.total() - sum(named.values())
        return named | ({"in further folders": others} if others else {})

    def epoch_size(self) -> tuple[int, int]:
        """Degraded clips an epoch takes from videos and from images."""
        videos = len(self.videos) * self.options.segments_per_clip
        share = self.options.image_share
        if videos and self.images:
            return videos, max(round(videos * share / (1 - share)), 1 if share else 0)
        return videos, len(self.images)

    def choose(self, epoch: int, clip: int) -> Source:
        """Name the source of a degraded clip of an epoch; images take turns over the epochs."""
        videos, images = self.epoch_size()
        if clip < videos:
            segment, file = divmod(clip, len(self.videos))
            return Source(True, file, segment)
        turn, place = divmod(epoch * images + clip - videos, len(self.images))
        order = shuffle(len(self.images), (self._seed, turn, IMAGES))
        return Source(False, int(order[place]))

    def path(self, source: Source) -> Path:
        """The file of a source."""
        return (self.videos if source.video else self.images)[source.file]

    def read(self, source: Source, rng: np.random.Generator) -> tuple[Source, Levels]:
        """Make the high-resolution clip of a source, or of the next usable file.

        Args:
            source: From `choose`.
            rng: Decides what is drawn: place, stride, window, pan.

        Returns:
            What it was taken from, and (T, H, W, 3) uint8 RGB, H and W multiples of 8.

        Raises:
            TrainingDataError: No file of that kind can be used.
        """
        draws = rng.integers(0, 2**63, 4)
        for candidate in self._candidates(source):
            # The same draws whichever file is met, so that a sample depends on nothing else.
            frames = self._try(candidate, np.random.default_rng(draws))
            if frames is not None:
                return candidate, self._finish(frames, np.random.default_rng(draws[::-1].copy()))
        kind = "video" if source.video else "image"
        raise TrainingDataError(
            f"no usable {kind} among {len(self.videos if source.video else self.images)} files "
            f"from '{self.path(source)}' on; the lines above say why each was skipped"
        )

    def _flag(self, source: Source) -> int:
        return source.file if source.video else len(self.videos) + source.file

    def _candidates(self, source: Source) -> Iterator[Source]:
        """The source, then its neighbours in the list; also those that failed before.

        A damaged video can be read up to its damage, so what was met before must not decide.
        """
        count = len(self.videos if source.video else self.images)
        for step in range(min(count, MOST_TRIES)):
            yield Source(source.video, (source.file + step) % count, source.segment)

    def _try(self, source: Source, rng: np.random.Generator) -> Levels | None:
        """Read a source; one that cannot be used is named once and gives nothing."""
        try:
            return self._pan(source, rng) if not source.video else self._read_video(source, rng)
        except (av.FFmpegError, ValueError, OSError) as error:
            reason = ffmpeg_reason(error) if isinstance(error, av.FFmpegError) else str(error)
            flag = self._flag(source)
            if not self._unusable[flag]:
                self._unusable[flag] = 1
                self._report(f"skipped '{self.path(source)}': {reason or type(error).__name__}")
            return None

    def _try_one(self, *, video: bool) -> None:
        """Fail before training begins where not one file of a kind can be used."""
        if self.videos if video else self.images:
            self.read(Source(video, 0), np.random.default_rng(0))

    def _read_video(self, source: Source, rng: np.random.Generator) -> Levels:
        kept = self._kept.get(source)
        if kept is not None:
            return kept
        if self.options.keep_decoded:
            rng = self._placing_rng(source)
        stretch = self._draw_stretch(source, rng)
        return self._read_stretches(self.videos[source.file], [stretch])[0]

    def _placing_rng(self, source: Source) -> np.random.Generator:
        return np.random.default_rng((self._seed, source.file, source.segment, KEPT))

    def _draw_stretch(self, source: Source, rng: np.random.Generator) -> Stretch:
        """Place a stretch in its segment: somewhere in the segment's own part of the video."""
        at = (source.segment + rng.random()) / self.options.segments_per_clip
        return Stretch(at, self.options.frames, int(rng.choice(self.options.strides)))

    def _read_stretches(self, path: Path, stretches: list[Stretch]) -> list[Levels]:
        """Read stretches; those that cuts or the end left incomplete are sought from the start."""
        options = self.options
        limits = {"max_side_px": options.max_side_px, "cut_threshold": options.cut_threshold}
        read_stretches(path, stretches, **limits)  # type: ignore[arg-type]
        for index, stretch in enumerate(stretches):
            for stride in (stretch.stride, min(options.strides)):
                if not stretches[index].complete:
                    stretches[index] = Stretch(0.0, options.frames, stride)
                    read_stretches(path, [stretches[index]], **limits)  # type: ignore[arg-type]
            if not stretches[index].complete:
                raise ValueError(
                    f"no {options.frames} frames of one scene in a row "
                    f"(stride {min(options.strides)})"
                )
        for stretch in stretches:
            _check_size(stretch.found[0], options.least_px)
        return [np.stack(stretch.found) for stretch in stretches]

    def _read_image(self, source: Source) -> Levels:
        kept = self._kept.get(source)
        if kept is not None:
            return kept
        image = read_image(self.images[source.file])
        _check_size(image, self._least_side)
        return image

    @property
    def _least_side(self) -> int:
        """Smallest usable side of an image, room for the pan included."""
        return self.options.least_px + self.options.reach_px

    def _pan(self, source: Source, rng: np.random.Generator) -> Levels:
        """Make a clip of an image by moving a window over it, or not at all."""
        image, options = self._read_image(source), self.options
        least = self._least_side / min(image.shape[:2])
        scale = max(rng.uniform(*options.image_scale), min(least, 1.0))
        wanted = options.side_px + options.reach_px
        image = _cut_out(image, rng, math.ceil(wanted / scale))
        if scale < 1:
            # Rounded up, so that a window as large as the crops loses no pixel of them.
            size = (math.ceil(round(extent * scale, 6)) for extent in image.shape[:2])
            image = resize_levels(image, *size)
        still = rng.random() < options.still_share
        speed = np.zeros(2) if still else rng.uniform(-options.pan_px, options.pan_px, 2)
        path = np.round(np.arange(options.frames)[:, None] * speed).astype(int)
        path -= path.min(0)
        height, width = np.array(image.shape[:2]) - path.max(0)
        return np.stack([image[y : y + height, x : x + width] for y, x in path])

    def _finish(self, clip: Levels, rng: np.random.Generator) -> Levels:
        """Cut the window that is degraded, and sharpen the truth where that is wanted."""
        clip = _cut_out(clip, rng, self.options.side_px, CROP_MULTIPLE)
        if not self.options.sharpen:
            return clip
        planes = torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous().float()
        sharp = [
            unsharp_mask(frame, UNSHARP_SIGMA_PX, self.options.sharpen, UNSHARP_THRESHOLD)
            for frame in planes
        ]
        return torch.stack(sharp).round().byte().permute(0, 2, 3, 1).contiguous().numpy()

    def _keep(self) -> None:
        """Decode images and placed segments once, as far as the memory goes, and say how far."""
        room = self.options.memory_gib * 2**30 - self.options.held_bytes
        wanted = 0
        for file in range(len(self.images)):
            wanted += self._keep_some([Source(False, file)], room)
        for file in range(len(self.videos)):
            segments = range(self.options.segments_per_clip)
            wanted += self._keep_some([Source(True, file, segment) for segment in segments], room)
        self._report(
            f"{len(self._kept)} of {wanted} segments and images kept decoded "
            f"({self.kept_bytes / 2**30:.2f} GiB)"
            + (
                ""
                if len(self._kept) == wanted
                else "; the others are decoded when due: raise "
                f"memory_gib ({self.options.memory_gib:g}) to keep them"
            )
        )

    def _keep_some(self, sources: list[Source], room: float) -> int:
        """Keep the sources of one file while there is room; return how many it has."""
        if self.kept_bytes >= room:
            return len(sources)
        try:
            if not sources[0].video:
                self._kept[sources[0]] = self._read_image(sources[0])
                return 1
            stretches = [self._draw_stretch(s, self._placing_rng(s)) for s in sources]
            clips = self._read_stretches(self.path(sources[0]), stretches)
        except (av.FFmpegError, ValueError, OSError):
            self._try(sources[0], np.random.default_rng(0))  # names the file
            return 0
        self._kept.update(zip(sources, clips, strict=True))
        return len(sources)


def _files(folders: Sequence[Path], suffixes: frozenset[str], kind: str) -> list[Path]:
    """All files of a kind below the folders, in a stable order, and those that lists name.

    Raises:
        TrainingDataError: A folder or list does not exist, or holds none.
    """
    found: list[Path] = []
    for folder in folders:
        if folder.suffix.lower() in LISTS and not folder.is_dir():
            found += read_list(folder, suffixes, kind)
            continue
        if not folder.is_dir():
            raise TrainingDataError(
                f"training folder '{folder}' is not a directory, nor a list of files (ending in "
                f"{', '.join(sorted(LISTS))})"
            )
        inside = find_media(folder, suffixes)
        if not inside:
            raise TrainingDataError(
                f"no {kind} in the training folder '{folder}'; expected files ending in "
                f"{', '.join(sorted(suffixes))}, in it or in folders below it"
            )
        found += inside
    return found


def _check_size(image: Levels, least: int) -> None:
    if min(image.shape[:2]) < least:
        height, width = image.shape[:2]
        raise ValueError(f"{width}x{height} pixels, needs at least {least} on each side")


def _cut_out(image: Levels, rng: np.random.Generator, side: int, multiple: int = 1) -> Levels:
    """Cut a part of at most `side` pixels each way from (..., H, W, 3), placed at random."""
    inside = []
    for extent in image.shape[-3:-1]:
        size = min(extent, side) // multiple * multiple
        start = int(rng.integers(0, extent - size + 1))
        inside.append(slice(start, start + size))
    return image[..., inside[0], inside[1], :]
