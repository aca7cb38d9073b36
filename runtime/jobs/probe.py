"""A few pictures that every worker makes before its first segment: equal bits, or no work.

Processors and GPUs differ in the instructions they have, and engines in what they choose. The first
worker of a job stores what it made; each later one makes the same and compares.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...archives import ARCHIVE_ERRORS
from ...arrays import Levels
from ...errors import JobError, OutputNotWritableError
from ...leftovers import part_beside, publish
from ...pictures.crop import Crop
from ...pictures.yuv_picture import AnyPicture, YuvPicture, planes_of
from ..processing.processor import FrameProcessor
from ..sessions.ort_cpu import DEEP
from ..video.source import SourceFrame
from .folder import PROBE, Job, sync_file
from .segment_io import SegmentSource

FRAMES = 4
"""More than a shipped network looks back."""

SIDE = 512
"""Of the middle of each picture that is stored, to tell by how much others differ."""


@dataclass(frozen=True)
class Probe:
    """What a worker made."""

    checksum: int
    """CRC-32 over all pixels of all pictures."""
    middles: Levels
    """(frames, H, W, 3): the middle of each; of YUV (frames, 3H/2, W), luma above chroma."""

    def differs_by(self, other: Probe) -> int:
        """Largest difference in levels; at least 1 where any pixel differs; 0 for equal ones."""
        mine, its = self.middles, other.middles
        if (mine.shape, mine.dtype) != (its.shape, its.dtype):
            return 255
        gap = np.abs(mine.astype(np.int32) - its.astype(np.int32))
        levels: int = math.ceil(gap.max(initial=0) / (1 if mine.dtype == np.uint8 else DEEP))
        return max(levels, int(self.checksum != other.checksum))


def compare_probe(job: Job, path: Path, processor: FrameProcessor) -> int:
    """Make the probe, and hold it against the first worker's or become that.

    Args:
        job: Opened.
        path: The input.
        processor: Of an opened session.

    Returns:
        Levels by which this worker's pictures differ, at most the plan's `equal_within`.

    Raises:
        JobError: They differ by more.
    """
    mine = _make(job, path, processor)
    stored = job.folder / PROBE
    if not stored.exists():
        _store(stored, mine)
    differs = mine.differs_by(_load(stored))
    within = job.plan.settings.equal_within
    if differs > within:
        raise JobError(
            f"this worker's pictures are not those of the job's first worker: they differ by up to "
            f"{differs} level{'s' * (differs > 1)} in its first {len(mine.middles)} frames, "
            f"{'none' if not within else f'at most {within}'} allowed. Work on a machine of the "
            f"same processor or GPU, or plan the job with --equal-within {differs}"
        )
    return differs


def _make(job: Job, path: Path, processor: FrameProcessor) -> Probe:
    first = job.plan.segments[0]
    pictures: list[AnyPicture] = []
    with SegmentSource(path, job.plan, first, job.plan.settings.read_options()) as source:
        source.keep(deep=job.plan.network.deep, yuv=job.plan.network.yuv)
        processor.reset()
        try:
            for item in source:
                if isinstance(item, SourceFrame):
                    pictures += processor.push(item.picture)
                if len(pictures) >= FRAMES:
                    break
            else:
                pictures += processor.finish()  # of a network that looks ahead
        finally:
            processor.reset()
    checksum = 0
    for picture in pictures:
        for plane in planes_of(picture):
            checksum = zlib.crc32(plane.data, checksum)
    smallest = [min(each.shape[axis] for each in pictures) for axis in (0, 1)]
    height, width = (min(side, SIDE) for side in smallest)
    middles = [_middle(each, height, width) for each in pictures]
    return Probe(checksum, np.stack(middles))


def _middle(picture: AnyPicture, height: int, width: int) -> Levels:
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    if not isinstance(picture, YuvPicture):
        return picture[top : top + height, left : left + width]
    even = Crop(*(side // 2 * 2 for side in (width, height, left, top)))
    part = picture.part(even)
    return np.concatenate([part.luma, part.chroma.reshape(-1, even.width)])


def _store(path: Path, probe: Probe) -> None:
    part = part_beside(path)
    try:
        with part.open("wb") as file:
            np.savez(file, middles=probe.middles, checksum=np.int64(probe.checksum))
        sync_file(part)
        publish(part, path)
    except FileExistsError:
        pass  # another worker was first
    except OSError as error:
        raise OutputNotWritableError(f"cannot write '{path}': {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _load(path: Path) -> Probe:
    try:
        # Opened here: numpy leaves a file open that is half an archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return Probe(int(found["checksum"]), found["middles"])
    except ARCHIVE_ERRORS as error:
        raise JobError(
            f"'{path}' is damaged: {error}; remove it and work again: the next worker makes one"
        ) from error
