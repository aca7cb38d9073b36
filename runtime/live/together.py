"""Streams of one process run together: threads started and looked after, figures, the service told.

The main thread is here; the network has one thread for all of them (`infer_turns`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeAlias

from ..threads.worker import Worker
from .accounting import prometheus_text
from .device_figures import DeviceFigures
from .infer_turns import InferTurns
from .service import ServiceNotifier
from .stream_run import StreamRun

TICK_S = 1.0
"""From record to record."""

LOOK_S = 0.05
"""How often the main thread looks around."""

Observe: TypeAlias = "Callable[[Sequence[dict[str, Any]], list[str]], None]"
"""Gets the latest record of each stream and the notes of all so far."""


class Together:
    """Runs streams until all have ended.

    Args:
        runs: The streams, one or more; each ends by itself.
        observe: Called about once a second.
    """

    def __init__(self, runs: Sequence[StreamRun], observe: Observe | None = None) -> None:
        self.runs = runs
        self.bell = threading.Event()
        self.device: Mapping[str, float] = {}
        """The latest figures of the device."""
        self._observe = observe
        self._told_ready = False  # to systemd
        self._told_tries: dict[str, int] = {}

    def run(self) -> None:
        """Run until every source ends, its duration is over, or Ctrl-C.

        Ctrl-C is the ordinary end: what was captured is finished, and recordings are kept. An
        error of a stream ends it alone and in order; it is in `LiveStages.error` then.

        Raises:
            AdcVsrError: A stream cannot even begin.
        """
        with ExitStack() as stack:
            self._service = stack.enter_context(ServiceNotifier())
            figures = DeviceFigures()
            stack.callback(figures.close)
            for run in self.runs:
                tell = partial(self._tell_preparing, run)
                run.prepare(stack, self.bell, self._tell_service, tell)
            threads = self._start()
            self._look_after(threads, figures)
            for run in self.runs:
                run.upscaler.reset()

    def _start(self) -> list[Worker]:
        stages = [run.stages for run in self.runs]
        infer = Worker(InferTurns(self.bell, stages).run, name="adcvsr-infer")
        threads = [infer]
        try:
            infer.start()
            for stage in stages:
                threads += stage.start()
        except BaseException:  # no further thread, or Ctrl-C
            for stage in stages:
                stage.call_off()
            for thread in threads:
                thread.wait_or_call_off()
            raise
        return threads

    def _look_after(self, threads: list[Worker], figures: DeviceFigures) -> None:
        """Wait for the end of all, publish figures meanwhile."""
        outputs = [output for run in self.runs for output in run.stages.outputs]
        waits = [*(output.wait for output in outputs), *(thread.wait for thread in threads)]
        tick = time.monotonic()
        over = False
        while not over:
            try:
                over = all(wait(LOOK_S) for wait in waits)
                for run in self.runs:
                    run.end_in_time()
                    run.leave_blocked_sinks()
                if (now := time.monotonic()) - tick >= TICK_S:
                    tick = now
                    self._publish(figures)
                    self._tell_of_tries()
            except KeyboardInterrupt:
                for run in self.runs:
                    run.end("interrupted")
        self._publish(figures)

    def _publish(self, figures: DeviceFigures) -> None:
        self.device = figures.read()
        records = [run.record(self.device) for run in self.runs]
        metrics = prometheus_text(records, [run.accounting for run in self.runs])
        for run, record in zip(self.runs, records, strict=True):
            run.publish(record, metrics)
        if self._observe is not None:
            self._observe(records, self.notes())

    def notes(self) -> list[str]:
        """Lines worth telling the user so far, each with its stream's name where it has one."""
        return [
            f"{run.name}: {line}" if run.name else line for run in self.runs for line in run.notes()
        ]

    def _tell_service(self) -> None:
        """Systemd's unit has started with the first picture, and is alive with each frame."""
        if not self._told_ready and any(run.accounting.presented for run in self.runs):
            self._told_ready = True
            self._service.ready(self._routes())
        self._service.alive()

    def _tell_preparing(self, run: StreamRun, line: str) -> None:
        """A size that is made ready, perhaps by a compiler, is no reason to be killed.

        Unless the stream ends: a compiler must not hold up a machine that shuts down.
        """
        if not line:
            self._service.worked()
            if self._told_ready:
                self._service.status(self._routes())
        elif not run.ending.is_set():
            self._service.working(f"{run.route}: {line}")

    def _tell_of_tries(self) -> None:
        """A source that is away is no reason to be killed while it is tried again."""
        tries = {run.route: run.source.tries for run in self.runs if run.source.tries}
        if tries == self._told_tries:
            return
        self._told_tries = tries
        lost = [f"{route}: source lost, {count} tries so far" for route, count in tries.items()]
        self._service.status("; ".join(lost) or self._routes())
        if tries:
            self._service.alive()

    def _routes(self) -> str:
        return "; ".join(run.route for run in self.runs)
