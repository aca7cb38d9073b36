"""A variant's verdict as a statement that can be defended, and where it came from.

statements = make_statements(request, note=print)
statements[0].line()  # "int8-ort stays within 2.1 levels of fp32-onnx in at least 99 % of ..."
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...metrics import finite_db, psnr_of
from ...metrics.contours import climb_percent, contour_climb
from ...metrics.quantization import Drift, drift, rms_error
from ...pictures.colour_probes import probe_clips
from ...pictures.content import CLASS_EDGES, count_classes
from ...runtime.proof.runs import FAULTS, MEANINGS, RunFound, RunLimits, judge_run, run_stream
from ...runtime.sessions.session import Session
from ...runtime.sessions.stream_session import StreamSession
from .draws import RUN_FRAMES, Draw, DrawnRun, draw_runs, read_runs, survey_footage
from .sequential import Claim, SequentialTest, facts, least_share

HEIGHT, WIDTH = 72, 128
"""Of a run's part of the picture, pixels of the input."""

MOST_DRAWS = 2000
"""A test that is open after so many is given up, which is no claim either."""

BATCH_DRAWS = 120
"""Read at a time where the test goes on after what it takes at least."""

DRIFT_FRAMES, DRIFT_PLAYED, DRIFT_RUNS = 400, 13, 3
"""Frames of the long run, those played to and fro in it, and how many draws they are from."""

LEAST_DRIFT = 0.1
"""Levels by which an error has to grow over the long run: less is rounding."""

KEPT_RUNS = 6
"""Golden runs: those nearest to a limit, which `adcvsr verify` repeats."""

SLOPES = ("gradients", "skin")
"""Drawn clips with slopes, which footage may lack."""


@dataclass(frozen=True, kw_only=True)
class StatementRequest:
    """What to state, and of what."""

    clips: Sequence[Path]
    """Videos."""

    sessions: Sequence[Session]
    """Opened; the first is the reference. Of networks that run frame by frame."""

    claim: Claim = field(default_factory=Claim)
    limits: RunLimits = field(default_factory=RunLimits)
    seed: int = 0
    """Decides which runs are drawn."""

    drift_frames: int = DRIFT_FRAMES
    """Of the long run; 0 for none."""

    height: int = HEIGHT
    """Most pixels of a run's part of the picture."""

    width: int = WIDTH
    """Likewise."""


@dataclass(frozen=True)
class JudgedRun:
    """A run and how a variant did on it."""

    run: DrawnRun
    found: RunFound
    used: float
    """Largest share of any limit, over 1 beyond it."""
    faults: tuple[str, ...]


@dataclass
class Statement:
    """What may be said of one variant."""

    variant: str
    reference: str
    test: SequentialTest
    limits: RunLimits
    runs: list[JudgedRun]
    drift: Drift | None
    slopes: float | None
    """Percent of drawn slopes climbed in steps; None where nothing was drawn."""
    clips: int
    """With a run among the draws."""
    clips_within: int
    """Of them, without a run beyond the limits."""
    seconds: float = 0.0
    why_no_drift: str = ""
    """Why drift was not measured; empty where it was."""

    @property
    def drifts(self) -> bool:
        """Whether the error grows with the frames a state was carried."""
        found = self.drift
        return found is not None and found.grows and _growth(found) > LEAST_DRIFT

    @property
    def reasons(self) -> list[str]:
        """Why it is refused, the first reason first; names of `FAULTS`, `drift`, `frames`."""
        counts = Counter(fault for run in self.runs for fault in run.faults[:1])
        refused = self.test.outcome == "refused"
        found = [name for name, _ in counts.most_common()] if refused else []
        if (self.slopes or 0.0) > self.limits.most_banding and "banding" not in found:
            found.append("banding")
        # Errors that grow are told by the long run, where short ones are good or only then bad.
        if self.drifts:
            found.insert(0, "drift")
        if self.test.outcome is None:
            found.append("frames")
        return found

    @property
    def refusal(self) -> str | None:
        """What was found against it; None where it is shown, and where nothing is decided."""
        found = [self._reason(name) for name in self.reasons if name != "frames"]
        return "; ".join(found) or None

    @property
    def meaning(self) -> str | None:
        """What a refusal means to a user, and what to do; None where nothing was refused."""
        found = [MEANINGS[name] for name in self.reasons if name in MEANINGS]
        if not found:
            return None
        return (
            f"That means: {'; '.join(found)}. Where that matters, take {self.reference}; for "
            "pictures of another kind, make the statement on clips of that kind."
        )

    @property
    def shown(self) -> bool:
        """Whether the claim holds."""
        return self.test.outcome == "shown" and not self.reasons

    @property
    def most_rms(self) -> float:
        """Error of the worst frame of all draws, levels: Wilks' bound (1941) of 99 % of frames.

        A bound by itself: it and that 99 % are within the limits both hold with 90 % confidence at
        least, not with 95.
        """
        return max((run.found.rms for run in self.runs), default=0.0)

    def line(self) -> str:
        """The statement in a sentence or two."""
        frames, claim = self.test.draws * RUN_FRAMES, self.test.claim
        if not self.shown:
            why = "; ".join(self._reason(name) for name in self.reasons)
            what = "is refused" if self.refusal else "is neither shown nor refused"
            return f"{self.variant} {what} after {frames} frames: {why}."
        decibels = finite_db(psnr_of(self.most_rms**2))
        drifts = "no drift" if self.drift is not None else "drift not measured"
        beyond = f", {self.test.beyond} of them beyond" if self.test.beyond else ""
        return (
            f"{self.variant} stays within {self.most_rms:.1f} levels ({decibels:.1f} dB) of "
            f"{self.reference} in at least {claim.share:.0%} of frames on this kind of content, "
            f"{claim.confidence:.0%} confidence; no banding, no colour shift, no flicker, "
            f"{drifts}. It took {frames} frames in {self.test.draws} runs of {self.clips} "
            f"clip{'s' * (self.clips != 1)}{beyond}."
        )

    def details(self) -> list[str]:
        """What decided, for people."""
        nearest = self.nearest(3)
        named = ", ".join(
            f"{run.run.draw.path.name} from frame {run.run.draw.first} "
            f"({FAULTS[_nearest_limit(self.limits, run.found)]}, {run.used:.0%} of its limit)"
            for run in nearest
        )
        lines = [
            *([self.meaning] if self.meaning else []),
            f"Decided by: {named}.",
            f"In {self.clips_within} of {self.clips} clip{'s' * (self.clips != 1)} no run is "
            f"beyond the limits.{self._other_clips()}",
        ]
        if self.drift is not None:
            lines.append(
                f"Over {self.drift.frames} frames with carried state the error changes by "
                f"{_growth(self.drift):+.3f} of {self.drift.level:.2f} levels."
            )
        else:
            lines.append(f"Drift was not measured: {self.why_no_drift}.")
        return lines

    def _other_clips(self) -> str:
        """What the clips tell of clips that were not tested, which is little where they are few."""
        confidence = self.test.claim.confidence
        share = least_share(self.clips_within, self.clips, confidence)
        if round(share, 2) <= 0:
            return ""
        few = f" This figure is low because {self.clips} clips are few." if share < 0.9 else ""
        return (
            " For clips that were not tested: if these were drawn at random from all clips of this "
            f"kind, then, with {confidence:.0%} confidence, {share:.0%} of all such clips or more "
            f"stay within the limits throughout.{few}"
        )

    def nearest(self, count: int) -> list[JudgedRun]:
        """Runs that came nearest to a limit or are beyond it, the worst first."""
        return sorted(self.runs, key=lambda run: -run.used)[:count]

    def golden(self) -> list[JudgedRun]:
        """Runs within the limits that came nearest to one, which `adcvsr verify` repeats."""
        return [run for run in self.nearest(len(self.runs)) if not run.faults][:KEPT_RUNS]

    def content(self) -> dict[str, Any]:
        """How many draws fall into each class of content, as a coverage of the manifest."""
        return {
            name: count_classes(name, [getattr(run.run.traits, name) for run in self.runs])
            for name in CLASS_EDGES
        }

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: everything but pictures."""
        return {
            "schema": 1,
            "variant": self.variant,
            "shown": self.shown,
            "reasons": self.reasons,
            "line": self.line(),
            "details": self.details(),
            "against": self.reference,
            "test": facts(self.test),
            "run_frames": RUN_FRAMES,
            "frames": self.test.draws * RUN_FRAMES,
            "limits": self.limits.to_json(),
            "within_levels": round(self.most_rms, 3),
            "clips": self.clips,
            "clips_within": self.clips_within,
            "slopes_percent": self.slopes,
            "drift": self.drift.to_json() if self.drift else None,
            "content": self.content(),
            "decided": [_run_json(run) for run in self.nearest(KEPT_RUNS)],
            "seconds": round(self.seconds, 1),
        }

    def _reason(self, name: str) -> str:
        if name == "drift":
            assert self.drift is not None
            return (
                f"drift: its error grows by {_growth(self.drift):.2f} levels over "
                f"{self.drift.frames} frames"
            )
        if name == "frames":
            return (
                f"not decided: {self.test.beyond} of {self.test.draws} runs are beyond the limits, "
                f"and {self.test.still_needed} more within them were needed"
            )
        runs = [run for run in self.runs if name in run.faults[:1]]
        if not runs:
            return f"{FAULTS[name]} on drawn slopes, {self.slopes:.0f} % climbed in steps"
        worst = max(runs, key=lambda run: run.used)
        where = f"{worst.run.draw.path.name}, frame {worst.run.draw.first}"
        return (
            f"{self.limits.words(name, worst.found)} at worst ({where}), in {len(runs)} of "
            f"{self.test.draws} runs"
        )


def make_statements(
    request: StatementRequest,
    *,
    note: Callable[[str], None],
    step: Callable[[int, int], None] = lambda done, expected: None,
) -> list[Statement]:
    """Test every variant but the first against it.

    The reference runs once for all. A variant that is decided is not run any more.

    Args:
        request: What to state.
        note: Called with a line for each clip that is left out.
        step: Called with draws done and expected.

    Raises:
        ConfigError: Networks that see whole clips.
        InputNotFoundError: No clip can be used.
        UnreadableVideoError: A clip changed while it was read.
    """
    began = time.monotonic()
    streams = [session for session in request.sessions if isinstance(session, StreamSession)]
    if len(streams) < len(request.sessions):
        raise ConfigError("statements are made of networks that run frame by frame")
    if len(streams) < 2:
        return []
    reference, *others = streams
    scenes = survey_footage(request.clips, note=note)
    draws = draw_runs(
        scenes,
        seed=request.seed,
        count=MOST_DRAWS,
        height=request.height,
        width=request.width,
        multiple=reference.bundle.size_multiple,
    )
    tests = {session.variant.id: SequentialTest(request.claim) for session in others}
    judged: dict[str, list[JudgedRun]] = {name: [] for name in tests}
    done = 0
    for batch in _batches(draws, request.claim):
        waiting = [s for s in others if tests[s.variant.id].outcome is None]
        if not waiting:
            break
        for run in read_runs(batch):
            waiting = [s for s in waiting if tests[s.variant.id].outcome is None]
            if not waiting:
                break
            exact = run_stream(reference, run.frames)
            for session in waiting:
                found = judge_run(
                    run_stream(session, run.frames), exact, scale=reference.bundle.scale
                )
                each = judged_run(run, found, request.limits)
                judged[session.variant.id].append(each)
                tests[session.variant.id].add(not each.faults)
            done += 1
            step(done, max(done, request.claim.fewest))
        judged = {name: _without_far_frames(runs) for name, runs in judged.items()}
    slopes = measure_slopes(streams)
    drifts, why_no_drift = measure_drift(streams, draws, request.drift_frames)
    seconds = time.monotonic() - began
    stated = [
        _statement(session, reference, tests, judged, drifts, slopes, request.limits, seconds)
        for session in others
    ]
    return [replace(each, why_no_drift=why_no_drift) for each in stated]


def _without_far_frames(runs: Sequence[JudgedRun]) -> list[JudgedRun]:
    """Runs in their order; the frames of those far from any limit are let go."""
    nearest = sorted((run for run in runs if not run.faults), key=lambda run: -run.used)
    kept = {id(run) for run in nearest[:KEPT_RUNS]}
    return [
        run if id(run) in kept else replace(run, run=replace(run.run, frames=run.run.frames[:0]))
        for run in runs
    ]


def judged_run(run: DrawnRun, found: RunFound, limits: RunLimits) -> JudgedRun:
    """Hold what was found against limits."""
    return JudgedRun(run, found, max(limits.shares(found).values()), limits.faults(found))


def measure_slopes(sessions: Sequence[StreamSession]) -> dict[str, float | None]:
    """Banding of every variant but the first on drawn slopes, by id; see `SLOPES`."""
    multiple = sessions[0].bundle.size_multiple
    height, width = (side + -side % multiple for side in (HEIGHT, WIDTH))
    clips = [clip for clip in probe_clips(height, width) if clip.name in SLOPES]
    exact = [run_stream(sessions[0], clip.frames)[-1] for clip in clips]
    found = {}
    for session in sessions[1:]:
        own = [run_stream(session, clip.frames)[-1] for clip in clips]
        sums = np.sum([contour_climb(*pair) for pair in zip(own, exact, strict=True)], axis=0)
        percent = climb_percent(int(sums[0]), int(sums[1]))
        found[session.variant.id] = None if percent is None else round(percent, 3)
    return found


def measure_drift(
    sessions: Sequence[StreamSession], draws: Sequence[Draw], frames: int
) -> tuple[dict[str, Drift | None], str]:
    """Drift of every variant but the first over a long run, by id, and why it was not measured.

    Frames of the first draws of the first one's size are played to and fro, so that content
    repeats; a stream has one size.
    """
    alike = [d for d in draws if (d.height, d.width) == (draws[0].height, draws[0].width)]
    clip = [frame for run in read_runs(alike[:DRIFT_RUNS]) for frame in run.frames][:DRIFT_PLAYED]
    loop = [*clip, *clip[-2:0:-1]]
    why = ""
    if not sessions[0].bundle.state:
        why = "the network carries no state"
    elif frames < 3 * len(loop):
        why = f"{frames} frames were asked for, and it takes {3 * len(loop)}"
    if why:
        return {session.variant.id: None for session in sessions[1:]}, why
    for session in sessions:
        session.reset()
    errors: dict[str, list[float]] = {session.variant.id: [] for session in sessions[1:]}
    for frame in itertools.islice(itertools.cycle(loop), frames):
        exact = sessions[0].infer(frame)
        for session in sessions[1:]:
            errors[session.variant.id].append(rms_error(session.infer(frame), exact))
    for session in sessions:
        session.reset()
    return {name: drift(each, period=len(loop)) for name, each in errors.items()}, ""


def _batches(draws: Sequence[Draw], claim: Claim) -> list[Sequence[Draw]]:
    """What the claim takes at least first, then more."""
    first = min(claim.fewest, len(draws))
    rest = range(first, len(draws), BATCH_DRAWS)
    return [draws[:first], *(draws[at : at + BATCH_DRAWS] for at in rest)]


def _statement(
    session: StreamSession,
    reference: StreamSession,
    tests: dict[str, SequentialTest],
    judged: dict[str, list[JudgedRun]],
    drifts: dict[str, Drift | None],
    slopes: dict[str, float | None],
    limits: RunLimits,
    seconds: float,
) -> Statement:
    name = session.variant.id
    beyond: dict[Path, bool] = {}
    for run in judged[name]:
        path = run.run.draw.path
        beyond[path] = beyond.get(path, False) or bool(run.faults)
    return Statement(
        variant=name,
        reference=reference.variant.id,
        test=tests[name],
        limits=limits,
        runs=judged[name],
        drift=drifts[name],
        slopes=slopes[name],
        clips=len(beyond),
        clips_within=sum(not each for each in beyond.values()),
        seconds=seconds,
    )


def _growth(found: Drift) -> float:
    """Levels over the whole run."""
    return found.slope_per_1000 * found.frames / 1000


def _nearest_limit(limits: RunLimits, found: RunFound) -> str:
    shares = limits.shares(found)
    return max(shares, key=lambda name: shares[name])


def _run_json(run: JudgedRun) -> dict[str, Any]:
    draw = run.run.draw
    return {
        "clip": draw.path.name,
        "first_frame": draw.first,
        "crop": {"top": draw.top, "left": draw.left, "height": draw.height, "width": draw.width},
        "used": round(run.used, 3),
        "faults": list(run.faults),
        "traits": {k: round(v, 3) for k, v in asdict(run.run.traits).items()},
        **run.found.to_json(),
    }
