"""How fast a bundle's variants run here, told with the conditions it was measured under.

    result = run_bench(open_bundle("nano"), BenchOptions(size=(320, 180)))

The result is JSON-ready, docs/bench.md has its schema.
"""

from __future__ import annotations

import datetime
import itertools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import AdcVsrError, BackendUnavailableError, ConfigError
from ...pictures.synthetic import draw_clip
from ..processing.backends import create_processor, create_session
from ..processing.variant_pick import pick_variants, resolve_backend
from ..sessions.session import Session
from ..trace import Trace
from .cold_start import measure_start
from .conditions import LoadWatch, read_conditions, warnings_for
from .ratio import (
    SETTLE_BELOW_SECONDS,
    SystemClock,
    Timings,
    median,
    paired_ratio,
    percentile,
    run_rounds,
)
from .sensors import Sensors

SCHEMA = 1
"""Of the result's JSON."""

DRAWN_FRAMES = 8
"""Played forwards and backwards; what is in a frame does not change its time."""

TURN_SECONDS = 0.08
"""About how long a variant's turn lasts."""

MOST_TURN_FRAMES = 30

WARM_UP_FRAMES, WARM_UP_SECONDS = 3, 1.0
"""Each variant runs at least as many frames and as long before anything is measured."""

TRACED_FRAMES = 20
"""Of each variant for a trace."""

SUSTAINED_SHARE = 0.25
"""Of the duration: how long each variant runs alone where the platform tells power."""


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """What to measure."""

    backend: str = "auto"

    variants: Sequence[str] = ()
    """Ids or precisions; none for all that the backend runs. The first is the baseline."""

    size: tuple[int, int] = (320, 180)
    """Width and height of the input in pixels."""

    seconds: float = 20.0
    """Of measuring, all variants together, warm-up apart."""

    threads: int = 0
    """Of a CPU backend; 0 for all processors."""

    start: bool = True
    """Measure loading and memory in a process for each variant."""


def run_bench(
    bundle: Bundle,
    options: BenchOptions,
    *,
    beside: Sequence[Bundle] = (),
    note: Callable[[str], None] = lambda line: None,
    progress: Callable[[float], None] = lambda share: None,
    trace: Trace | None = None,
) -> dict[str, Any]:
    """Measure variants against each other.

    Args:
        bundle: An opened bundle, of either kind.
        options: What to measure.
        beside: Further bundles, whose variants take turns with its own.
        note: Called with a line for what is left out.
        progress: Called with the share that is done.
        trace: Collects `TRACED_FRAMES` of each variant, layers included, after the measuring: the
            layers' profile costs time.

    Returns:
        JSON-ready values, see docs/bench.md.

    Raises:
        BundleError: No such variant.
        BackendUnavailableError: A variant that was asked for, or every one, cannot run here.
        ConfigError: A bundle is given twice.
    """
    conditions, watch = read_conditions(), LoadWatch()
    with ExitStack() as stack:
        runners = [
            runner
            for each, label in _labelled([bundle, *beside])
            for runner in _open(each, options, stack, note, label)
        ]
        warm_up = {runner.name: runner.warm_up() for runner in runners}
        slowest_ms = max(entry["frame_ms"] for entry in warm_up.values())
        frames = _turn_frames(slowest_ms)
        with Sensors() as sensors:
            times = run_rounds(
                {runner.name: runner.step for runner in runners},
                seconds=options.seconds,
                block_frames=frames,
                settle=slowest_ms < 1000 * SETTLE_BELOW_SECONDS,
                progress=progress,
            )
        others = watch.others_share()
        rows = [_row(runner, times[runner.name], warm_up[runner.name]) for runner in runners]
        _add_ratios(rows, [runner.name for runner in runners], times)
        bundles = [runner.session.bundle for runner in runners]
        if sensors.tells_power:
            for row, runner in zip(rows, runners, strict=True):
                row["sustained"] = _sustained(runner, options.seconds * SUSTAINED_SHARE)
        threads = getattr(runners[0].session, "threads", None)
    for row, its in zip(rows, bundles, strict=True):
        row["start"] = _start(its, row, options) if options.start else None
        if trace is not None:
            _trace(its, row, options, trace)
    return {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "bundle": _facts_of(bundle),
        **({"beside": [_facts_of(each) for each in beside]} if beside else {}),
        "size": list(options.size),
        "seconds": options.seconds,
        "turn_frames": frames,
        "conditions": {
            **conditions,
            "threads": threads,
            "load_before": watch.load_before,
            "others_share": None if others is None else round(others, 4),
        },
        "sensors": sensors.summary(),
        "variants": rows,
        "warnings": warnings_for(
            conditions,
            others=others,
            throttling=sorted(sensors.throttling),
            frames=min(row["frames"] for row in rows),
            spreads={
                r.get("name", r["variant"]): s
                for r in rows[1:]
                if (s := _trusted_spread(r)) is not None
            },
        ),
    }


def _labelled(bundles: Sequence[Bundle]) -> list[tuple[Bundle, str]]:
    """Bundles with what tells their rows apart: nothing where there is one.

    Their folder's name does, or the path where two folders have one name.

    Raises:
        ConfigError: A bundle is there twice.
    """
    if len(bundles) == 1:
        return [(bundles[0], "")]
    paths = Counter(each.path.resolve() for each in bundles)
    names = Counter(each.path.name for each in bundles)
    if twice := [str(path) for path, count in paths.items() if count > 1]:
        raise ConfigError(f"bundle '{twice[0]}' is given twice; name each once")
    return [
        (each, each.path.name if names[each.path.name] == 1 else str(each.path)) for each in bundles
    ]


def _facts_of(bundle: Bundle) -> dict[str, Any]:
    return {
        "name": bundle.name,
        "kind": bundle.kind,
        "parameters": bundle.parameters,
        "scale": bundle.scale,
    }


def _row(runner: _Runner, times: Timings, warm_up: dict[str, Any]) -> dict[str, Any]:
    """What is known of one variant by itself."""
    return {
        **runner.facts(),
        "warm_up": warm_up,
        **figures(times, runner.pictures),
        **_engine_share(runner),
    }


def _trace(bundle: Bundle, row: dict[str, Any], options: BenchOptions, trace: Trace) -> None:
    """Run a variant once more, profiled."""
    session = create_session(
        bundle, backend=row["backend"], variant=row["variant"], threads=options.threads
    )
    trace.watch(session)
    with session:
        runner = _Runner(session, list(draw_clip(DRAWN_FRAMES, *options.size[::-1])))
        for index in range(TRACED_FRAMES):
            began = time.monotonic()
            runner.step()
            name = row.get("name", session.variant.id)
            trace.span(name, "frame", began, time.monotonic(), frame=index)
    trace.merge(session)


def _start(bundle: Bundle, row: dict[str, Any], options: BenchOptions) -> dict[str, Any]:
    backend, variant = row["backend"], row["variant"]
    return measure_start(bundle.path, backend, variant, options.size, options.threads)


class _Runner:
    """One variant, its session open, fed with a drawn clip over and over."""

    def __init__(self, session: Session, clip: Sequence[Frame], label: str = "") -> None:
        self.session, self._label = session, label
        self.name = f"{label} {session.variant.id}".lstrip()
        self._processor = create_processor(session)
        there_and_back = [*clip, *clip[-2:0:-1]]
        self._frames = itertools.cycle(there_and_back)
        window = session.bundle.window
        self.pictures = window.frames - window.overlap if window else 1
        """What a step finishes: of a clip network all pictures of a window."""

    def step(self) -> None:
        """Run until pictures are finished."""
        while not sum(1 for _ in self._processor.push(next(self._frames))):
            pass

    def warm_up(self) -> dict[str, Any]:
        """Run until caches, clocks and allocators have settled."""
        clock, times = SystemClock(), list[float]()
        began = clock.wall()
        while len(times) < WARM_UP_FRAMES or clock.wall() - began < WARM_UP_SECONDS:
            before = clock.wall()
            self.step()
            times.append(1000 * (clock.wall() - before))
        return {
            "frames": len(times),
            "seconds": round(clock.wall() - began, 3),
            "first_ms": round(times[0], 3),
            "frame_ms": round(median(times[1:]), 3),
        }

    def facts(self) -> dict[str, Any]:
        """What this is."""
        bundle, variant = self.session.bundle, self.session.variant
        return {
            "variant": variant.id,
            **({"name": self.name} if self._label else {}),
            "backend": self.session.backend,
            "model_bytes": _model_bytes(bundle, variant),
            "engine_bytes": self.session.engine_bytes,
            "pictures_per_step": self.pictures,
        }


def figures(times: Timings, pictures: int = 1) -> dict[str, Any]:
    """Percentiles of wall and CPU time of a picture, and what they make of throughput.

    Args:
        times: Of the steps.
        pictures: That each step finishes; they share its time.
    """
    wall, cpu = ([value / pictures for value in times.frames(kind)] for kind in ("wall", "cpu"))
    total = sum(wall) / 1000
    return {
        "frames": len(wall) * pictures,
        "rounds": len(times.wall_ms),
        "latency_ms": {
            **{f"p{p}": round(percentile(wall, p), 3) for p in (50, 90, 95, 99)},
            "mean": round(1000 * total / len(wall), 3),
            "max": round(max(wall), 3),
        },
        "cpu_ms": {
            "p50": round(median(times.blocks("cpu")) / pictures, 3),
            "mean": round(sum(cpu) / len(cpu), 3),
        },
        "fps": round(len(wall) / total, 3) if total else None,
    }


def _open(
    bundle: Bundle,
    options: BenchOptions,
    stack: ExitStack,
    note: Callable[[str], None],
    label: str,
) -> list[_Runner]:
    width, height = options.size
    clip = list(draw_clip(DRAWN_FRAMES, height, width))
    runners: list[_Runner] = []
    backend = resolve_backend(bundle, options.backend)
    for name in pick_variants(bundle, backend, options.variants):
        try:
            session = create_session(bundle, backend=backend, variant=name, threads=options.threads)
            runners.append(_Runner(stack.enter_context(session), clip, label))
        except AdcVsrError as error:
            if options.variants:
                raise
            note(f"'{name}' left out: {error}")
    if not runners:
        raise BackendUnavailableError(
            f"no variant of '{bundle.name}' runs on '{backend}' here; the lines above say why"
        )
    return runners


def _turn_frames(slowest_ms: float) -> int:
    """Frames of a turn: so many that the slowest variant's takes about `TURN_SECONDS`."""
    return int(min(max(1000 * TURN_SECONDS / max(slowest_ms, 1e-3), 1), MOST_TURN_FRAMES))


def _add_ratios(
    rows: list[dict[str, Any]], names: Sequence[str], times: dict[str, Timings]
) -> None:
    """Every variant's time over the first one's, by wall and by CPU time."""
    baseline = names[0]
    for row, name in zip(rows[1:], names[1:], strict=True):
        row["ratio_to"] = baseline
        for kind in ("wall", "cpu"):
            found = paired_ratio(times[name].blocks(kind), times[baseline].blocks(kind))
            row[f"{kind}_ratio"] = found and {
                "median": round(found.median, 4),
                "low": round(found.low, 4),
                "high": round(found.high, 4),
                "rounds": found.rounds,
            }


def _trusted_spread(row: dict[str, Any]) -> float | None:
    """Width of the ratio's interval: on a CPU that of CPU time, which other work moves least."""
    found = row.get("cpu_ratio") if row["backend"] == "ort-cpu" else row.get("wall_ratio")
    return (found["high"] - found["low"]) / found["median"] if found else None


def _engine_share(runner: _Runner) -> dict[str, float | None]:
    """Where a frame's time goes: in the engine, and around it in copies and padding."""
    clock, session = SystemClock(), runner.session
    if session.engine_seconds is None:
        return {"infer_ms": None, "copy_ms": None}
    inside, around, began = list[float](), list[float](), clock.wall()
    while len(inside) < WARM_UP_FRAMES or (
        clock.wall() - began < TURN_SECONDS and len(inside) < MOST_TURN_FRAMES
    ):
        wall, engine = clock.wall(), session.engine_seconds
        runner.step()
        inside.append(session.engine_seconds - engine)
        around.append(clock.wall() - wall - inside[-1])
    scale = 1000 / runner.pictures
    return {
        "infer_ms": round(scale * median(inside), 3),
        "copy_ms": round(scale * max(median(around), 0.0), 3),
    }


def _sustained(runner: _Runner, seconds: float) -> dict[str, Any]:
    """One variant alone for a while, so that power and heat can be put down to it."""
    clock, count = SystemClock(), 0
    began = clock.wall()
    with Sensors() as sensors:
        while clock.wall() - began < seconds:
            runner.step()
            count += 1
    passed = clock.wall() - began
    quantities = sensors.summary()["quantities"]
    total = next((q for q in ("vdd_in_w", "gpu_w", "cpu_package_w") if q in quantities), None)
    watts = quantities[total]["median"] if total else None
    return {
        "frames": count,
        "fps": round(count / passed, 3),
        "quantities": quantities,
        "joules_per_frame": round(watts * passed / count, 4) if watts and count else None,
        "joules_from": total,
    }


def _model_bytes(bundle: Bundle, variant: Variant) -> int:
    """Of all files the variant's graphs are made of."""
    names = {variant.file, *variant.data_files}
    if variant.decoder_file:
        names.add(variant.decoder_file)
    return sum(int(bundle.manifest["files"][name]["bytes"]) for name in names)
