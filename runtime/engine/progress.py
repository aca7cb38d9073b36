"""How far a compiler is, from the nested phases it reports.

TensorRT calls phases by name, nests them and counts their steps. A phase's own steps are its share
of its parent's current step, which gives one figure from 0 to 1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

OnProgress = Callable[[float, str], None]
"""Called with the share done, in [0, 1], and the name of the innermost phase."""


@dataclass
class _Phase:
    parent: str | None
    steps: int
    done: int = 0


class BuildProgress:
    """The state behind the compiler's monitor; thread-safe, as builders call from many threads.

    Args:
        report: Called after each step; the share never falls.
    """

    def __init__(self, report: OnProgress | None = None) -> None:
        self._report = report
        self._phases: dict[str, _Phase] = {}
        self._lock = threading.Lock()
        self._cancelled = False
        self.share = 0.0

    def cancel(self) -> None:
        """Let the compiler stop at its next step."""
        self._cancelled = True

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        with self._lock:
            self._phases[name] = _Phase(parent, max(steps, 1))

    def step(self, name: str, step: int) -> bool:
        """A step of a phase is done; returns whether to go on."""
        with self._lock:
            if name in self._phases:
                phase = self._phases[name]
                phase.done = min(max(phase.done, step + 1), phase.steps)
                self.share = max(self.share, min(self._share_of(name), 1.0))
            if self._report is not None:
                self._report(self.share, name)
        return not self._cancelled

    def finish(self, name: str) -> None:
        """A phase ends, perhaps early."""
        with self._lock:
            self._phases.pop(name, None)

    def _share_of(self, name: str) -> float:
        """Share of the whole after a phase's latest step, up through its parents."""
        phase = self._phases[name]
        share = phase.done / phase.steps
        while phase.parent is not None and phase.parent in self._phases:
            phase = self._phases[phase.parent]
            share = (phase.done + share) / phase.steps
        return share

    def monitor(self, trt: Any) -> Any:
        """Build the object a builder's config takes."""
        progress = self

        class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, name: str, parent: str | None, steps: int) -> None:
                progress.start(name, parent, steps)

            def step_complete(self, name: str, step: int) -> bool:
                return progress.step(name, step)

            def phase_finish(self, name: str) -> None:
                progress.finish(name)

        return Monitor()
