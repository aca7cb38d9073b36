"""A profile from request to figures: what `adcvsr profile` runs.

profile = run_profile(request, note=print)
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ...counted import counted
from ...errors import AdcVsrError, BackendUnavailableError, InputNotFoundError, UnreadableVideoError
from ...metrics import finite_db, psnr_of
from ...metrics.quantization import flicker
from ...runtime.bench.bench import BenchOptions, run_bench
from ...runtime.processing.backends import create_session
from ...runtime.processing.variant_pick import pick_variants, resolve_backend
from ...runtime.proof.colours import (
    ColoursFound,
    colour_limits,
    colour_request,
    compare_colours,
    run_colours,
    session_runner,
)
from ...runtime.sessions.session import Session
from ...runtime.sessions.stream_session import StreamSession
from ...runtime.trace import Trace
from ..statement.statement import Statement, StatementRequest, make_statements
from .judgement import Limits, judge, verdict
from .layers import LAYER_FRAMES, TIMED_FRAMES, measure_layers, worst_layer
from .over_time import frames_needed, measure_over_time
from .overview import measure_beside, open_beside, overview
from .quality import ClipQuality, measure_clip
from .request import ProfileRequest, find_clips, read_clips

SCHEMA = 1
"""Of the profile's JSON."""

Note = Callable[[str], None]


@dataclass
class Profile:
    """Everything measured."""

    facts: dict[str, Any]
    """JSON-ready, docs/profile.md has its schema."""

    clips: list[ClipQuality] = field(default_factory=list)
    """With the pictures the page shows."""

    statements: list[Statement] = field(default_factory=list)
    """Of all variants but the reference, where they were asked for."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return self.facts


class _Progress:
    """Counts frames of all parts of a profile."""

    def __init__(self, show: Callable[[int, int], None] | None) -> None:
        self.show, self.done, self.expected = show, 0, 0

    def step(self) -> None:
        self.done += 1
        if self.show is not None:
            self.show(min(self.done, self.expected), self.expected)


def run_profile(
    request: ProfileRequest,
    *,
    note: Note = lambda line: None,
    progress: Callable[[int, int], None] | None = None,
    stage: Note = lambda line: None,
    trace: Trace | None = None,
) -> Profile:
    """Measure every variant.

    Args:
        request: What to measure.
        note: Called with a line for what is left out; the page has it, too.
        progress: Called with frames done and expected.
        stage: Called with a line when a part begins.
        trace: Collects what ran when: every variant's frames, and its layers where they are timed.

    Raises:
        InputNotFoundError, UnreadableVideoError: No clip can be used.
        BundleError: A variant is not in the bundle.
        BackendUnavailableError: A variant that was asked for does not run here.
        ConfigError: Networks beside are asked for without truth.
        BundleNotFoundError: One of them is not there.
    """
    notes: list[str] = []

    def keep(line: str) -> None:
        notes.append(line)
        note(line)

    others_beside = open_beside(request, keep)
    request = replace(request, backend=resolve_backend(request.bundle, request.backend))
    stage("reading clips")
    clips = read_clips(request, keep)
    with _open_sessions(request, keep) as sessions:
        names = [session.variant.id for session in sessions]
        counter = _Progress(progress)
        frames = sum(len(clip.frames) for clip in clips)
        others = len(names) - 1
        counter.expected = len(names) * (frames + TIMED_FRAMES) + 2 * others * LAYER_FRAMES
        counter.expected += len(others_beside) * frames
        counter.expected += frames_needed(request.drift_frames, len(names)) if others else 0
        stage(f"{', '.join(names)} over {counted(len(clips), 'clip')}, {frames} frames")
        measured = [
            measure_clip(clip, sessions, request.metrics, counter.step, trace) for clip in clips
        ]
        beside = measure_beside(others_beside, request, clips, counter.step, keep)
        stage("colours")
        colours = _measure_colours(sessions)
        stage("drift, cold start, scene cut")
        over_time = measure_over_time(clips, sessions, request.drift_frames, counter.step, keep)
        statements = _make_statements(request, sessions, keep, stage)
    stage("layers")
    layers = measure_layers(request, names, clips[0], counter.step, keep, trace)
    stage("speed")
    bench = run_bench(
        request.bundle,
        BenchOptions(
            backend=request.backend,
            variants=names,
            size=clips[0].size,
            seconds=request.bench_seconds,
            threads=request.threads,
        ),
        note=keep,
    )
    facts = _facts(request, names, measured, over_time, layers, bench, colours, statements)
    facts["notes"] = notes
    facts["overview"] = overview(facts["table"], measured, beside, truth=request.truth)
    return Profile(facts, measured, statements)


def _make_statements(
    request: ProfileRequest, sessions: Sequence[Session], note: Note, stage: Note
) -> list[Statement]:
    if not request.statement or len(sessions) < 2:
        return []
    if any(not isinstance(session, StreamSession) for session in sessions):
        note("no statement: it is made of networks that run frame by frame")
        return []
    stage("statement")
    wanted = StatementRequest(clips=find_clips(request, lambda line: None), sessions=sessions)
    try:
        return make_statements(wanted, note=note)
    except (InputNotFoundError, UnreadableVideoError) as error:
        note(f"no statement: {error}")
        return []


def _facts(
    request: ProfileRequest,
    names: Sequence[str],
    measured: Sequence[ClipQuality],
    over_time: dict[str, Any] | None,
    layers: dict[str, Any] | None,
    bench: dict[str, Any],
    colours: dict[str, dict[str, Any]],
    statements: Sequence[Statement],
) -> dict[str, Any]:
    basis = _basis(bench)
    stated = {each.variant: each for each in statements}
    table = [
        {
            **_row(name, names[0], measured, over_time, bench, basis),
            "colours": colours[name],
            "refused": stated[name].refusal if name in stated else None,
        }
        for name in names
    ]
    judgements = [judge(row, Limits(), worst_layer(layers, row["variant"])) for row in table[1:]]
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "bundle": {
            "name": request.bundle.name,
            "kind": request.bundle.kind,
            "parameters": request.bundle.parameters,
            "trained": request.bundle.trained,
        },
        "reference": names[0],
        "verdict": verdict(names[0], judgements, Limits(), basis),
        "statements": [each.to_json() for each in statements],
        "table": table,
        "layers": layers,
        "over_time": over_time,
        "clips": [each.to_json() for each in measured],
        "bench": bench,
        "protocol": {
            "truth": request.truth,
            "frames": request.frames,
            "max_side_px": request.max_side_px,
            "drift_frames": request.drift_frames,
            "metrics": [
                {"name": m.name, "title": m.title, "unit": m.unit, "digits": m.digits}
                for m in request.metrics.metrics
            ],
            "left_out": request.metrics.left_out,
        },
    }


@contextmanager
def _open_sessions(request: ProfileRequest, note: Note) -> Iterator[list[Session]]:
    """All variants that run here; one that was asked for and does not is an error."""
    with ExitStack() as stack:
        sessions: list[Session] = []
        for name in pick_variants(request.bundle, request.backend, request.variants):
            try:
                session = create_session(
                    request.bundle, backend=request.backend, variant=name, threads=request.threads
                )
                sessions.append(stack.enter_context(session))
            except AdcVsrError as error:
                if request.variants:
                    raise
                note(f"variant '{name}' left out: {error}")
        if not sessions:
            raise BackendUnavailableError(f"no variant of '{request.bundle.name}' runs here")
        if len(sessions) == 1:
            note(
                f"'{request.bundle.name}' has one variant that runs here "
                f"({sessions[0].variant.id}): nothing is compared; 'adcvsr quantize' makes others"
            )
        yield sessions


def _measure_colours(sessions: Sequence[Session]) -> dict[str, dict[str, Any]]:
    """Drawn colours of every variant: the first against the input, others against the first."""
    request = colour_request(sessions[0].bundle)
    reference = run_colours(session_runner(sessions[0]), request)
    found = {
        sessions[0].variant.id: _colour_facts(
            sessions[0], compare_colours(reference, None, request)
        )
    }
    for session in sessions[1:]:
        pictures = run_colours(session_runner(session), request)
        found[session.variant.id] = _colour_facts(
            session, compare_colours(pictures, reference, request)
        )
    return found


def _colour_facts(session: Session, found: ColoursFound) -> dict[str, Any]:
    beyond = found.why_beyond(colour_limits(session.bundle, session.variant, found.against))
    return {**found.to_json(), "line": found.line(), "beyond": beyond}


def _basis(bench: dict[str, Any]) -> str:
    """Which times to believe: wall, or CPU where other work makes wall times worthless."""
    on_cpu = all(row["backend"] == "ort-cpu" for row in bench["variants"])
    return "cpu" if on_cpu and any(w["worthless"] for w in bench["warnings"]) else "wall"


def _row(
    name: str,
    reference: str,
    measured: Sequence[ClipQuality],
    over_time: dict[str, Any] | None,
    bench: dict[str, Any],
    basis: str,
) -> dict[str, Any]:
    """A line of the table: means over clips, each clip counting the same."""
    speed = next(row for row in bench["variants"] if row["variant"] == name)
    ratio = speed.get(f"{basis}_ratio")
    row: dict[str, Any] = {
        "variant": name,
        "backend": speed["backend"],
        "fps": speed["fps"],
        "p50_ms": speed["latency_ms"]["p50"],
        "p99_ms": speed["latency_ms"]["p99"],
        "cpu_ms": speed["cpu_ms"]["mean"],
        "time_ratio": ratio["median"] if ratio else None,
        "time_ratio_high": ratio["high"] if ratio else None,
        "model_bytes": speed["model_bytes"],
        "memory_bytes": (speed["start"] or {}).get("memory_bytes"),
        "to_reference": _means([each.to_reference.get(name) for each in measured]),
        "to_truth": _means([each.to_truth.get(name) for each in measured]),
        "truth_loss_db": _truth_loss(name, reference, measured),
        "psnr_db": None,
        "worst_frame_db": None,
        "flicker_levels": None,
        "drift": None,
        "drifts": None,
        "drift_growth": None,
    }
    if name == reference:
        return row
    row["psnr_db"] = min(finite_db(psnr_of(_mean_square(each.rms[name]))) for each in measured)
    row["worst_frame_db"] = min(finite_db(psnr_of(max(each.rms[name]) ** 2)) for each in measured)
    row["flicker_levels"] = max(flicker(each.patches[name]).rms for each in measured)
    found = over_time["variants"][name]["drift"] if over_time else None
    if found:
        row |= {"drift": found, "drifts": found["grows"], "drift_growth": found["growth"]}
    return row


def _truth_loss(name: str, reference: str, measured: Sequence[ClipQuality]) -> float | None:
    lost = [
        exact - own
        for each in measured
        if (exact := each.to_truth.get(reference, {}).get("psnr")) is not None
        and (own := each.to_truth.get(name, {}).get("psnr")) is not None
        and name != reference
    ]
    return sum(lost) / len(lost) if lost else None


def _means(each: Sequence[dict[str, float | None] | None]) -> dict[str, float | None]:
    """Mean of every measure over the clips that have it."""
    means: dict[str, float | None] = {}
    for key in {key for figures in each if figures for key in figures}:
        values = [value for f in each if f and (value := f.get(key)) is not None]
        means[key] = sum(values) / len(values) if values else None
    return means


def _mean_square(rms: Sequence[float]) -> float:
    return math.fsum(value**2 for value in rms) / len(rms)
