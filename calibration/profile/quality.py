"""All variants over all clips: figures against the reference and the truth, and what to look at.

Every variant carries its own state. Frames are measured as they come; pictures are kept only where
a variant is furthest from the reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Levels
from ...metrics import METRICS, Metric, StreamMeter, TruthStream, UsableMetrics, luma, open_meter
from ...metrics.quantization import flicker, patch_errors, rms_error
from ...runtime.processing.backends import create_processor
from ...runtime.sessions.session import Session
from ...runtime.trace import Trace
from ..evaluate.evaluate import BORDER_PX
from .request import Clip

SLICE_STEP_PX = 8
"""Rows kept for temporal slices: every eighth, until it is known which one shows most."""

HISTOGRAM_BINS = 64

Step = Callable[[], None]
Figures = dict[str, "float | None"]


@dataclass
class Worst:
    """The frame of a clip on which a variant is furthest from the reference."""

    frame: int
    rms: float
    pictures: dict[str, Levels]
    """All variants' pictures of it, and `input` and `truth`."""


@dataclass
class ClipQuality:
    """What came of one clip."""

    clip: Clip
    to_reference: dict[str, Figures] = field(default_factory=dict)
    """By variant, means over frames."""

    to_truth: dict[str, Figures] = field(default_factory=dict)
    """Likewise; empty without truth."""

    rms: dict[str, list[float]] = field(default_factory=dict)
    """Error to the reference of every frame, in levels."""

    frame_ms: dict[str, list[float]] = field(default_factory=dict)
    """Wall milliseconds of every frame."""

    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    """What the processors worked meanwhile, all of this process's threads together."""

    patches: dict[str, list[npt.NDArray[np.float64]]] = field(default_factory=dict)
    histograms: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Counts of luma, by variant."""

    rows: dict[str, list[Levels]] = field(default_factory=dict)
    """Every eighth row of every frame, (rows, W, 3)."""

    worst: dict[str, Worst] = field(default_factory=dict)
    """By variant."""

    reasons: dict[str, str] = field(default_factory=dict)
    """Why a measure has no value."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, pictures left out."""
        return {
            "name": self.clip.name,
            "frames": len(self.clip.frames),
            "size": list(self.clip.size),
            "to_reference": self.to_reference,
            "to_truth": self.to_truth,
            "rms": {name: [round(v, 5) for v in values] for name, values in self.rms.items()},
            "frame_ms": {name: [round(v, 3) for v in e] for name, e in self.frame_ms.items()},
            "flicker": {name: flicker(p).to_json() for name, p in self.patches.items()},
            "histograms": {name: [int(n) for n in h] for name, h in self.histograms.items()},
            "worst": {
                name: {"frame": w.frame, "rms": round(w.rms, 4)} for name, w in self.worst.items()
            },
            "reasons": self.reasons,
        }


def measure_clip(
    clip: Clip,
    sessions: Sequence[Session],
    metrics: UsableMetrics,
    step: Step,
    trace: Trace | None = None,
) -> ClipQuality:
    """Run every variant over a clip.

    Args:
        clip: Its frames.
        sessions: Opened; the first is the reference.
        metrics: What to measure beside the error in levels.
        step: Called after every frame.
        trace: Collects every variant's frames.
    """
    result = ClipQuality(clip)
    names = [session.variant.id for session in sessions]
    scale = sessions[0].bundle.scale
    possible = _possible(clip, scale, metrics.metrics, result.reasons)
    reference, truth = TruthStream(BORDER_PX), TruthStream(BORDER_PX)
    runs = [_timed_run(session, clip, result, step, trace) for session in sessions]
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:

        def meter() -> StreamMeter:
            height, width = (scale * side - 2 * BORDER_PX for side in clip.frames[0].shape[:2])
            return open_meter(possible, metrics.ffmpeg, height, width, stack)

        meters = {name: meter() for name in names[1:]}
        truth_meters = {name: meter() for name in names} if clip.truth else {}
        for index, each in enumerate(zip(*runs, strict=True)):
            pictures = dict(zip(names, each, strict=True))
            moment = reference.step(pictures[names[0]])
            _ = moment.truth.full_luma  # shared by all, computed once
            jobs = [pool.submit(m.add, pictures[name], moment) for name, m in meters.items()]
            if clip.truth:
                seen = truth.step(clip.truth[index])
                _ = seen.truth.full_luma
                jobs += [
                    pool.submit(m.add, pictures[name], seen) for name, m in truth_meters.items()
                ]
            _keep(result, index, pictures)
            for job in jobs:
                job.result()
        result.to_reference = {name: _capped(m.means()) for name, m in meters.items()}
        result.to_truth = {name: _capped(m.means()) for name, m in truth_meters.items()}
    return result


def _capped(figures: Figures) -> Figures:
    return {name: None if v is None else METRICS[name].finite(v) for name, v in figures.items()}


def _possible(
    clip: Clip, scale: int, metrics: Sequence[Metric], reasons: dict[str, str]
) -> list[Metric]:
    least = min(scale * side - 2 * BORDER_PX for side in clip.size)
    for metric in metrics:
        if least < metric.least_px:
            reasons[metric.name] = f"{least} pixels a side, needs {metric.least_px}"
    return [metric for metric in metrics if metric.name not in reasons]


def _timed_run(
    session: Session, clip: Clip, result: ClipQuality, step: Step, trace: Trace | None
) -> Iterator[Levels]:
    """Pictures of one variant in order; time between asking and getting is the frame's."""
    name = session.variant.id
    times, worked = (each.setdefault(name, []) for each in (result.frame_ms, result.cpu_ms))
    pictures = create_processor(session).clip(clip.frames)
    while True:
        began, cpu = time.monotonic(), time.process_time()
        picture = next(pictures, None)
        if picture is None:
            return
        ended = time.monotonic()
        times.append(1000 * (ended - began))
        worked.append(1000 * (time.process_time() - cpu))
        if trace is not None:
            trace.span(name, "frame", began, ended, clip=clip.name, frame=len(times) - 1)
        step()
        yield picture


def _keep(result: ClipQuality, index: int, pictures: dict[str, Levels]) -> None:
    """Note the errors of a frame, and its pictures where they are the worst so far."""
    names = list(pictures)
    reference = pictures[names[0]]
    for name, picture in pictures.items():
        rows = picture[SLICE_STEP_PX // 2 :: SLICE_STEP_PX]
        result.rows.setdefault(name, []).append(rows.copy())
        counts = np.histogram(luma(picture), HISTOGRAM_BINS, (0, 255))[0].astype(np.int64)
        result.histograms[name] = result.histograms.get(name, np.zeros_like(counts)) + counts
    for name in names[1:]:
        rms = rms_error(pictures[name], reference)
        result.rms.setdefault(name, []).append(rms)
        result.patches.setdefault(name, []).append(patch_errors(pictures[name], reference))
        if name not in result.worst or rms > result.worst[name].rms:
            shown = {"input": result.clip.frames[index], **pictures}
            if result.clip.truth:
                shown["truth"] = result.clip.truth[index]
            result.worst[name] = Worst(index, rms, shown)
