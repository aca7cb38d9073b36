"""How many streams a network keeps up with: measured here, before they begin.

The network runs a frame of each size that is known beforehand, and what all streams together need
is held against what there is. Cameras that tell their size only when they are there, and encoders,
are not counted, which is said.

    admission = Admission(upscaler, oversubscribe=False)
    lines = admission.admit({"door": run})
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from ...errors import ConfigError
from ...host.processors import usable_processors
from ..upscaler import Upscaler
from .stream_run import StreamRun

FULL = 1.0
"""Share of the network's time that streams may need together."""


class Admission:
    """Which share of the network each stream needs.

    Args:
        upscaler: Runs the frames that are measured, the cheapest where there are several.
        oversubscribe: Whether too many are taken, with a note.
    """

    def __init__(self, upscaler: Upscaler, *, oversubscribe: bool) -> None:
        self._upscaler, self._oversubscribe = upscaler, oversubscribe
        self._seconds: dict[tuple[int, int], float] = {}
        self.loads: dict[str, float] = {}
        """Share of each stream that was counted."""

    def admit(self, runs: Mapping[str, StreamRun]) -> list[str]:
        """Count further streams in.

        Args:
            runs: By name, in the order in which they are to fit.

        Returns:
            Lines for people.

        Raises:
            ConfigError: The network cannot keep up with them; the message says how many fit.
        """
        found = {name: self._load(run) for name, run in runs.items()}
        unknown = [name for name, load in found.items() if load is None]
        wanted = {**self.loads, **{name: load for name, load in found.items() if load is not None}}
        lines = []
        if unknown and len(wanted) + len(unknown) > 1:
            lines.append(f"not known before they are there, and not counted: {', '.join(unknown)}")
        if sum(wanted.values()) > FULL:
            text = _too_many(wanted, self._upscaler)
            if not self._oversubscribe:
                raise ConfigError(f"{text}; leave some out, or take --oversubscribe")
            lines.append(f"{text}: frames will be dropped (--oversubscribe)")
        self.loads = wanted
        return lines

    def leave(self, name: str) -> None:
        """Count a stream out."""
        self.loads.pop(name, None)

    def _load(self, run: StreamRun) -> float | None:
        size, rate = run.source.size, run.source.rate
        if size is None or rate is None:
            return None
        crop = run.options.crop
        if crop is not None:
            size = (crop.width, crop.height)
        if size not in self._seconds:
            self._upscaler.check_memory(run.source.address.text, *size)
            self._seconds[size] = seconds_a_frame(self._upscaler, size)
        return self._seconds[size] * float(rate)


def seconds_a_frame(upscaler: Upscaler, size: tuple[int, int]) -> float:
    """What a frame takes: on a CPU of its processors, whatever else uses them; else by the clock.

    Args:
        upscaler: Nobody else uses it; its past is forgotten.
        size: Width and height.
    """
    on_cpu = upscaler.session.backend == "ort-cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    took = []
    for _ in range(4):
        began = clock()
        upscaler.push(frame)
        took.append(clock() - began)
    upscaler.reset()
    return min(took[1:]) / (usable_processors() if on_cpu else 1)


def _too_many(loads: Mapping[str, float], upscaler: Upscaler) -> str:
    fit, total = 0, 0.0
    for load in loads.values():
        total += load
        if total > FULL:
            break
        fit += 1
    session = upscaler.session
    return (
        f"{len(loads)} streams need {sum(loads.values()):.0%} of what {upscaler.bundle.path.name} "
        f"{session.variant.id} gives on {session.backend} here, the network alone; {fit} "
        f"fit{'s' * (fit == 1)}"
    )
