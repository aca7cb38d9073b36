"""Segments made again, and held against those that are stored."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ...errors import JobError
from ...leftovers import part_folder
from ...pictures.clips import media_url
from ...pictures.pyav import open_input
from ..deep import EIGHT_BITS
from .folder import Job
from .work import Progress, SegmentWorker, check_index


@dataclass(frozen=True)
class Comparison:
    """Of one segment."""

    index: int
    pictures_equal: bool
    """Whether the network's pictures are the same to the last bit."""
    file_equal: bool
    """Whether the encoded bytes are."""
    level_difference: int
    """Largest difference of the encoded pictures in levels; 0 where the bytes are equal."""

    @property
    def equal(self) -> bool:
        """Whether everything is."""
        return self.pictures_equal and self.file_equal

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def choose_sample(job: Job, count: int, seed: int) -> list[int]:
    """Draw finished segments.

    Args:
        job: Opened.
        count: How many; all of them where there are fewer.
        seed: Of the draw.

    Raises:
        JobError: None is finished.
    """
    done = [each.index for each in job.plan.segments if job.is_done(each.index)]
    if not done:
        raise JobError(f"'{job.folder}' has no finished segment to verify")
    return sorted(random.Random(seed).sample(done, min(count, len(done))))


def verify(
    worker: SegmentWorker,
    sample: list[int],
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[Comparison]:
    """Make segments again, beside the job, and compare; the job is not changed.

    Args:
        worker: Opened.
        sample: Numbers of finished segments.
        progress: Called after every frame, in another thread.

    Raises:
        JobError: A stored one is damaged or gone.
    """
    job = worker.job
    for index in sample:
        check_index(job, index)
        stored = job.verified(index)
        if stored is None:
            raise JobError(f"segment {index} of '{job.folder}' is not finished")
        with part_folder(job.folder) as folder:
            again = worker.make_at(index, folder / "again.mp4", progress)
            same = again.sha256 == stored.sha256
            gap = 0 if same else _difference(job.video_of(index), folder / "again.mp4")
        yield Comparison(index, again.pictures == stored.pictures, same, gap)


def _difference(one: Path, other: Path) -> int:
    """Largest difference of two files' pictures in levels of their planes; 255 for other sizes."""
    worst = 0
    with open_input(media_url(one)) as first, open_input(media_url(other)) as second:
        pairs = zip(first.decode(video=0), second.decode(video=0), strict=True)
        for a, b in pairs:
            if (a.format.name, a.width, a.height) != (b.format.name, b.width, b.height):
                return 255
            for here, there in zip(_planes(a), _planes(b), strict=True):
                worst = max(worst, int(np.abs(here - there).max(initial=0)))
    return worst


def _planes(frame: av.VideoFrame) -> Iterator[npt.NDArray[np.int32]]:
    """Levels of each plane, (height, width), whatever the format's bits."""
    kind: Any = np.uint8 if frame.format.components[0].bits <= EIGHT_BITS else np.uint16
    planes: Any = frame.planes
    for plane in planes:
        levels = np.frombuffer(plane, kind).reshape(plane.height, -1)
        yield levels[:, : plane.width].astype(np.int32)
