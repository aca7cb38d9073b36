"""Which variant `auto` runs: the one that is faster on this machine, measured once and remembered.

A quantized variant is slower than FP32 on some processors. So variants take turns on a small
frame, and the choice is kept in the user's cache folder until bundle, engine, processor or number
of threads change.

    choice = choose_variant(bundle, "ort-cpu", threads=2, open_variant=...)
    choice.variant, choice.reason  # "int8-ort", "1.7x the speed of fp32-onnx (measured now)"
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ...bundle import Bundle
from ...errors import AdcVsrError, OutputNotWritableError
from ...files import cache_folder, replace_file
from ...host.machine import this_host
from ...reading import read_json
from ...variants import LEAST_GAIN, faster

HEIGHT, WIDTH = 90, 160
"""Of the measured frame: large enough that work outweighs overhead, small enough to be quick."""

WARM_UP_RUNS, ROUNDS = 3, 15

CALM = 0.8
"""Share of the clock's time that the processors' has to reach."""

DISTURBED = "other programs had the processors"

BUDGET_SECONDS = 3.0
"""Rounds stop early beyond it, at least one each."""


class Runnable(Protocol):
    """What is measured: an opened session."""

    def infer(self, frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Upscale a frame."""


OpenVariant = Callable[[str], AbstractContextManager[Runnable]]


@dataclass(frozen=True)
class VariantChoice:
    """What to run and why."""

    variant: str
    """Id."""

    reason: str
    """For people; empty where there was nothing to choose."""


def choose_variant(
    bundle: Bundle,
    candidates: Sequence[str],
    *,
    engine: str,
    threads: int,
    open_variant: OpenVariant,
) -> VariantChoice:
    """Choose among a bundle's variants.

    Args:
        bundle: An opened bundle.
        candidates: Ids of the bundle's that may run, the most exact first (`variants.contenders`).
        engine: The backend and its version; part of what the memory is kept for.
        threads: Of the backend.
        open_variant: Makes a session that is opened by `with`.

    Returns:
        The first candidate, unless another is `LEAST_GAIN` times faster.
    """
    if len(candidates) < 2:
        return VariantChoice(candidates[0], "")
    speeds, said = speeds_here(
        bundle, candidates, engine=engine, threads=threads, open_variant=open_variant
    )
    return _choice(candidates, speeds, said)


def speeds_here(
    bundle: Bundle,
    candidates: Sequence[str],
    *,
    engine: str,
    threads: int,
    open_variant: OpenVariant,
) -> tuple[dict[str, float], str]:
    """Milliseconds of a frame of `WIDTH` x `HEIGHT` by variant on this machine, as remembered.

    Args:
        bundle: See `choose_variant`, as the others.
        candidates: Likewise.
        engine: Likewise.
        threads: Likewise.
        open_variant: Likewise.

    Returns:
        The least of each, and where they are from, for people.
    """
    machine = {
        "engine": engine,
        "processor": this_host().processor or platform.machine(),
        "threads": threads,
    }
    path = cache_folder() / "variants" / f"{_key(bundle, candidates, machine)}.json"
    said = "measured now"
    try:
        stored = _read(path, candidates)
    except AdcVsrError as error:
        stored, said = None, f"measured again, as the stored result was damaged: {error}"
    if stored is not None:
        return stored, "measured before"
    speeds, calm = measure(candidates, open_variant)
    if not calm:
        return speeds, f"{said}, and again next time: {DISTURBED}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {**machine, "bundle": bundle.name, "milliseconds": speeds}
        text = json.dumps(facts, indent=1, sort_keys=True)
        replace_file(path, lambda part: part.write_text(text + "\n"))
    except (OSError, OutputNotWritableError) as error:
        said = f"{said}, and again next time: {error}"
    return speeds, said


class Measured(NamedTuple):
    """What frames took."""

    milliseconds: dict[str, float]
    """Of each variant."""

    calm: bool
    """Whether the processors were there for it."""


def measure(variants: Sequence[str], open_variant: OpenVariant) -> Measured:
    """Least milliseconds of a frame of each variant, taking turns.

    What else a machine does only adds to it. At every moment of a run some thread has work, so an
    idle machine takes no longer than the processors' time: where that is less than the clock's,
    others had the processors, and it counts instead. Several threads of one run make it too much.
    """
    frame = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    clocked: dict[str, list[float]] = {name: [] for name in variants}
    worked: dict[str, list[float]] = {name: [] for name in variants}
    sessions = {name: open_variant(name) for name in variants}
    opened: dict[str, Any] = {}
    try:
        for name, session in sessions.items():
            opened[name] = session.__enter__()
            for _ in range(WARM_UP_RUNS):
                opened[name].infer(frame)
        began = time.perf_counter()
        for _ in range(ROUNDS):
            for name, session in opened.items():
                start, work = time.perf_counter(), time.process_time()
                session.infer(frame)
                clocked[name].append(1000 * (time.perf_counter() - start))
                worked[name].append(1000 * (time.process_time() - work))
            if time.perf_counter() - began > BUDGET_SECONDS:
                break
    finally:
        for name in opened:
            sessions[name].__exit__(None, None, None)
    least = {name: (min(clocked[name]), min(worked[name])) for name in variants}
    return Measured(
        {name: round(min(each), 3) for name, each in least.items()},
        calm=all(clock * CALM <= work for clock, work in least.values()),
    )


def _choice(present: Sequence[str], speeds: dict[str, float], said: str) -> VariantChoice:
    precise = present[0]
    taken = faster({name: speeds[name] for name in present})
    gain = speeds[precise] / max(speeds[taken], 1e-6)
    if taken == precise:
        others = ", ".join(
            f"{name} {speeds[precise] / max(speeds[name], 1e-6):.2f}x" for name in present[1:]
        )
        return VariantChoice(precise, f"none is {LEAST_GAIN:g} times as fast: {others} ({said})")
    return VariantChoice(taken, f"{gain:.2f}x the speed of {precise} ({said})")


def _key(bundle: Bundle, present: Sequence[str], machine: dict[str, Any]) -> str:
    files = bundle.manifest["files"]
    graphs = {name: files[bundle.variants[name].file]["sha256"] for name in present}
    text = json.dumps([graphs, machine], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read(path: Path, present: Sequence[str]) -> dict[str, float] | None:
    """Remembered milliseconds; None where there are none.

    Raises:
        AdcVsrError: The file is damaged.
    """
    if not path.exists():
        return None
    speeds = read_json(path, error=AdcVsrError)["milliseconds"]
    return {name: speeds[name].number(0, 1e9) for name in present}
