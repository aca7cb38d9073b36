"""Where a job stands: what is finished, being made, open or damaged."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...errors import JobError
from .folder import Job
from .join import is_joined

State = Literal["done", "working", "open", "damaged"]


@dataclass(frozen=True)
class SegmentStatus:
    """Of one segment."""

    index: int
    start_seconds: float
    """Of its first frame."""
    frames: int
    state: State
    seconds: float | None
    """It took; None where it is not finished."""
    who: str
    """Host and process that made it or is making it; what is wrong where it is damaged."""


@dataclass(frozen=True)
class JobStatus:
    """Of a job."""

    folder: str
    source: str
    output: str
    frames: int
    done_frames: int
    counts: dict[str, int]
    """Segments by state."""
    left_seconds: float | None
    """Work of one worker for what is open, by the time of what is finished; None before that."""
    joined: bool
    segments: tuple[SegmentStatus, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def job_status(job: Job) -> JobStatus:
    """Look at a job; no bytes of segments are read."""
    base = job.plan.video.time_base
    found = []
    for segment in job.plan.segments:
        state, seconds, who = _of(job, segment.index)
        start = round(float(segment.pts * base), 3)
        found.append(SegmentStatus(segment.index, start, segment.frames, state, seconds, who))
    done = [each for each in found if each.state == "done"]
    frames = sum(each.frames for each in done)
    spent = sum(each.seconds or 0.0 for each in done)
    left = job.plan.frames - frames
    states = ("done", "working", "open", "damaged")
    return JobStatus(
        folder=str(job.folder),
        source=job.plan.settings.source,
        output=job.plan.settings.output,
        frames=job.plan.frames,
        done_frames=frames,
        counts={name: sum(each.state == name for each in found) for name in states},
        left_seconds=round(spent / frames * left, 1) if frames else None,
        joined=is_joined(job, thorough=False),
        segments=tuple(found),
    )


def _of(job: Job, index: int) -> tuple[State, float | None, str]:
    try:
        result = job.result(index)
    except JobError as error:
        return "damaged", None, str(error)
    if result is not None:
        return "done", result.seconds, f"{result.worker['host']} {result.worker['process']}"
    owner = job.lease(index).owner()
    if owner is None:
        return "open", None, ""
    return "working", None, f"{owner.get('host', '?')} {owner.get('pid', '?')}"
