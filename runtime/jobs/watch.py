"""How far a job is, over all workers wherever they are: read from its folder, cheaply, as it grows.

What workers are at stands in their leases, which they rewrite every few seconds; what is finished
is looked at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .folder import LEASES, SEGMENTS, Job


@dataclass(frozen=True)
class Making:
    """A segment that somebody makes."""

    index: int
    done: int
    """Frames, as of the lease's last beat."""
    frames: int
    """In all."""
    who: str
    """Host and process."""


@dataclass(frozen=True)
class Snapshot:
    """A job at a moment."""

    segments_done: int
    segments: int
    frames_done: int
    """Those of segments being made included."""
    frames: int
    fps: float | None
    """Of all workers together since the watch began; None before anything was made."""
    left_seconds: float | None
    """Until all is made, at that speed."""
    making: tuple[Making, ...]

    @property
    def is_made(self) -> bool:
        """Whether every segment is finished."""
        return self.segments_done == self.segments

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


class JobWatch:
    """Looks at a job again and again; what it costs does not grow with what is finished.

    Args:
        job: Opened.
        clock: Seconds, steady.
    """

    def __init__(self, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        self.job = job
        self._clock = clock
        self._done: dict[int, int] = {}
        self._began: tuple[float, int] | None = None

    def look(self) -> Snapshot:
        """Look now."""
        job, plan = self.job, self.job.plan
        there = _numbers(job.folder / SEGMENTS)
        for index in set(self._done) - there:
            del self._done[index]  # it was damaged, and is made again
        for index in there - set(self._done):
            if index < len(plan.segments) and job.is_done(index):
                self._done[index] = plan.segments[index].frames
        making = tuple(
            self._making(index, owner)
            for index in sorted(_numbers(job.folder / LEASES) - set(self._done))
            if index < len(plan.segments) and (owner := job.lease(index).owner()) is not None
        )
        frames = sum(self._done.values()) + sum(each.done for each in making)
        fps, left = self._speed(frames)
        return Snapshot(len(self._done), len(plan.segments), frames, plan.frames, fps, left, making)

    def _making(self, index: int, owner: dict[str, Any]) -> Making:
        of = self.job.plan.segments[index].frames
        done = owner.get("frames")
        done = min(done, of) if isinstance(done, int) and done > 0 else 0
        return Making(index, done, of, f"{owner.get('host', '?')} {owner.get('pid', '?')}")

    def _speed(self, frames: int) -> tuple[float | None, float | None]:
        now = self._clock()
        if self._began is None:
            self._began = (now, frames)
        since, before = self._began
        if frames <= before or now <= since:
            return None, None
        fps = (frames - before) / (now - since)
        return round(fps, 3), round((self.job.plan.frames - frames) / fps, 1)


def _numbers(folder: Path) -> set[int]:
    """Of the files `00012.json` in a folder."""
    try:
        names = os.listdir(folder)
    except OSError:
        return set()
    return {int(name[:-5]) for name in names if name.endswith(".json") and name[:-5].isdigit()}
