"""Runs that show what quantization does over time: a thousand frames, a cold start, a cut.

All play one clip forwards and backwards, so that the content repeats: an error is compared with
that on the same frame, never with that on another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from ...arrays import Levels
from ...metrics.quantization import drift, rms_error, transient
from ...runtime.sessions.session import Session
from ...runtime.sessions.stream_session import StreamSession
from .request import Clip

PLAYED_FRAMES = 25
"""Of the clip; played forwards and backwards they repeat after 48."""

MOST_SECONDS = 600.0
"""Of the long run: large networks on small machines show what fits."""

CUT_FRAMES = 16
"""Of the other scene, before the cut."""

Step = Callable[[], None]
Errors = dict[str, list[float]]


def frames_needed(drift_frames: int, variants: int) -> int:
    """Frames that `measure_over_time` runs, for progress."""
    period = 2 * PLAYED_FRAMES - 2
    return variants * (drift_frames + 2 * PLAYED_FRAMES + period + CUT_FRAMES)


def measure_over_time(
    clips: Sequence[Clip],
    sessions: Sequence[Session],
    drift_frames: int,
    step: Step,
    note: Callable[[str], None],
) -> dict[str, Any] | None:
    """Measure drift, cold start and cut of every variant.

    Args:
        clips: The first is played; the second is the other scene of the cut where it has the size.
        sessions: Opened; the first is the reference.
        drift_frames: Of the long run.
        step: Called after every frame of every variant.
        note: Called with a line for what is left out.

    Returns:
        JSON-ready values by variant; None for networks that carry no state.
    """
    streams = [session for session in sessions if isinstance(session, StreamSession)]
    if len(streams) < len(sessions) or not sessions[0].bundle.state or len(streams) < 2:
        if len(sessions) > 1:
            note("no drift, cold start or cut: the network carries no state from frame to frame")
        return None
    played = clips[0].frames[:PLAYED_FRAMES]
    loop = [*played, *played[-2:0:-1]]
    if drift_frames < 3 * len(loop):
        note(
            f"no drift or cold start: {drift_frames} frames, three rounds of {len(loop)} are needed"
        )
        long: Errors = {}
    else:
        frames = (loop[i % len(loop)] for i in range(drift_frames))
        long = _long_run(streams, frames, step)
        ran = len(next(iter(long.values())))
        if ran < drift_frames:
            note(
                f"drift over {ran} of {drift_frames} frames: {MOST_SECONDS / 60:.0f} min were over"
            )
        if ran < 3 * len(loop):
            long = {}
    scene, other = _other_scene(clips)
    sequence = [*loop, *played, *scene, *played]
    cut = _run(streams, sequence, step)
    return {
        "clip": clips[0].name,
        "period": len(loop),
        "other_scene": other,
        "variants": {
            session.variant.id: {
                **_long(long.get(session.variant.id), len(loop)),
                "cut": _event(
                    cut[session.variant.id][-len(played) :],
                    cut[session.variant.id][len(loop) : len(loop) + len(played)],
                ),
            }
            for session in streams[1:]
        },
    }


def _long_run(sessions: Sequence[StreamSession], frames: Iterable[Levels], step: Step) -> Errors:
    """The same as `_run`, ended when `MOST_SECONDS` are over."""
    until = time.monotonic() + MOST_SECONDS
    return _run(sessions, takewhile(lambda frame: time.monotonic() < until, frames), step)


def _long(errors: list[float] | None, period: int) -> dict[str, Any]:
    if errors is None:
        return {"drift": None, "errors": None, "cold_start": None}
    return {
        "drift": drift(errors, period=period).to_json(),
        "errors": [round(value, 4) for value in errors],
        "cold_start": _event(errors[:period], errors[period : 2 * period]),
    }


def _event(after: Sequence[float], steady: Sequence[float]) -> dict[str, Any]:
    """A transient, each frame's error over that of the same frame in steady state."""
    level = float(np.median(steady))
    scaled = [
        value / usual * level if usual > 0 else value
        for value, usual in zip(after, steady, strict=True)
    ]
    return {**transient(scaled).to_json(), "steady": level, "errors": [round(v, 4) for v in scaled]}


def _run(sessions: Sequence[StreamSession], frames: Iterable[Levels], step: Step) -> Errors:
    """Error of every variant but the first on every frame, state carried from zero."""
    errors: Errors = {session.variant.id: [] for session in sessions[1:]}
    for session in sessions:
        session.reset()
    for frame in frames:
        reference = sessions[0].infer(frame)
        step()
        for session in sessions[1:]:
            errors[session.variant.id].append(rms_error(session.infer(frame), reference))
            step()
    for session in sessions:
        session.reset()
    return errors


def _other_scene(clips: Sequence[Clip]) -> tuple[list[Levels], str]:
    """Frames of another scene of the same size, and what they are."""
    for clip in clips[1:]:
        if clip.size == clips[0].size:
            return clip.frames[-CUT_FRAMES:], clip.name
    turned = [np.ascontiguousarray(255 - f[::-1, ::-1]) for f in clips[0].frames[-CUT_FRAMES:]]
    return turned, "the clip's own end, upside down and as a negative (no other clip of its size)"
