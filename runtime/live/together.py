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
from .notes import Notes
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
        come_and_go: Whether streams join while others run, and one that has ended is closed and
            forgotten.
        stays: Whether it goes on until Ctrl-C though no stream is left.
        looked: Called by the main thread some times a second, where streams may `join`.
        left: Called with each stream that is closed and forgotten.
    """

    def __init__(
        self,
        runs: Sequence[StreamRun],
        observe: Observe | None = None,
        *,
        come_and_go: bool = False,
        stays: bool = False,
        looked: Callable[[], None] = lambda: None,
        left: Callable[[StreamRun], None] = lambda run: None,
    ) -> None:
        self.runs = list(runs)
        self.bell = threading.Event()
        self.device: Mapping[str, float] = {}
        """The latest figures of the device."""
        self.own_notes = Notes()
        """Lines of no stream in particular."""
        self.metrics = ""
        """The latest figures of all, as Prometheus text."""
        self.ends = False
        """Whether Ctrl-C or a signal has ended it."""
        self.begun = False
        """Whether streams run."""
        self.beat = time.monotonic()
        """When the main thread looked around last."""
        self.infer = InferTurns(self.bell, stays=come_and_go)
        self._come_and_go = come_and_go
        self._stays, self._looked, self._left = stays, looked, left
        self._observe = observe
        self._gone_notes = Notes()  # of streams that are forgotten
        self._held: dict[StreamRun, ExitStack] = {}
        self._threads: dict[StreamRun, list[Worker]] = {}
        self._first: float | None = None  # when a frame of any stream was there
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
            stack.callback(self._close_all)
            for run in self.runs:
                self._prepare(run)
            self._network = Worker(self.infer.run, name="adcvsr-infer")
            self._start_all()
            self._look_after(figures)
            for run in self.runs:
                run.stages.close()
                run.upscaler.reset()

    def join(self, run: StreamRun) -> None:
        """Take one more stream in, while it runs; in the main thread.

        Raises:
            AdcVsrError: It cannot begin; the others go on.
        """
        try:
            self._prepare(run)
            self._threads[run] = run.stages.start()
            self.runs.append(run)
            self.infer.join(run.stages)
        except BaseException:  # Ctrl-C, too
            if run in self.runs:
                self.runs.remove(run)
            if run in self._threads:
                run.stages.call_off()
                for thread in self._threads.pop(run):
                    thread.wait()
                for output in run.stages.outputs:
                    output.wait(run.sink.patience_s)
            if (held := self._held.pop(run, None)) is not None:
                held.close()
            raise

    def end(self, why: str) -> None:
        """End all streams in order, and go on without none; in the main thread.

        Args:
            why: For the reports.
        """
        self.ends = True
        self.infer.end()
        for run in self.runs:
            run.end(why)

    def _prepare(self, run: StreamRun) -> None:
        held = self._held[run] = ExitStack()
        tell = partial(self._tell_preparing, run)
        run.prepare(held, self.bell, self._tell_service, tell)

    def _close_all(self) -> None:
        with ExitStack() as stack:  # all, also where one of them fails
            for held in self._held.values():
                stack.push(held)

    def _start_all(self) -> None:
        stages = [run.stages for run in self.runs]
        for stage in stages:
            self.infer.join(stage)
        started = [self._network]
        try:
            self._network.start()
            for run in self.runs:
                self._threads[run] = run.stages.start()
                started += self._threads[run]
        except BaseException:  # no further thread, or Ctrl-C
            self.infer.end()
            for stage in stages:
                stage.call_off()
            for thread in started:
                thread.wait_or_call_off()
            raise

    def _look_after(self, figures: DeviceFigures) -> None:
        """Wait for the end of all, publish figures meanwhile.

        Raises:
            BaseException: A fault of ours, or of who observes; all has ended in order by then.
        """
        tick = self.beat = time.monotonic()
        self.begun = True
        over, fault = False, None
        while not over:
            try:
                over = self._is_over()
                self.beat = time.monotonic()
                for run in self.runs:
                    self._first = self._first or run.stages.first
                    run.end_in_time(self._first)
                    run.leave_blocked_sinks()
                if (now := time.monotonic()) - tick >= TICK_S and fault is None:
                    tick = now
                    self._publish(figures)
                    self._tell_of_tries()
                if self._come_and_go and not self.ends:
                    self._forget_ended(figures)
                    self._looked()
            except KeyboardInterrupt:
                self.end("interrupted")
            except BaseException as error:
                if fault is not None:
                    raise
                fault = error
                self.end("fault")
        if fault is not None:
            raise fault
        if self.runs:
            self._publish(figures)

    def _is_over(self) -> bool:
        """Wait a moment for the end of all; whether it has come."""
        if self._come_and_go and not self.ends:
            if self.runs or self._stays:
                time.sleep(LOOK_S)
                return False
            self.infer.end()
        return all(self._has_ended(run, LOOK_S) for run in self.runs) and self._network.wait(LOOK_S)

    def _has_ended(self, run: StreamRun, seconds: float) -> bool:
        waits = [output.wait for output in run.stages.outputs]
        waits += [thread.wait for thread in self._threads[run]]
        return all(wait(seconds) for wait in waits) and run.stages.is_over

    def _forget_ended(self, figures: DeviceFigures) -> None:
        ended = [run for run in self.runs if self._has_ended(run, 0)]
        if ended:
            self._publish(figures)
        for run in ended:
            self.runs.remove(run)
            for line in run.notes():
                self._gone_notes.add(f"{run.name}: {line}")
            self._threads.pop(run)
            self._held.pop(run).close()
            self._left(run)

    def _publish(self, figures: DeviceFigures) -> None:
        self.device = figures.read()
        records = [run.record(self.device) for run in self.runs]
        self.metrics = prometheus_text(records, [run.accounting for run in self.runs])
        for run, record in zip(self.runs, records, strict=True):
            run.publish(record, self.metrics)
        if self._observe is not None:
            self._observe(records, self.notes())

    def notes(self) -> list[str]:
        """Lines worth telling the user so far, each with its stream's name where it has one."""
        each = [
            f"{run.name}: {line}" if run.name else line for run in self.runs for line in run.notes()
        ]
        return [*self.own_notes, *self._gone_notes, *each]

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
        """A source that is away is no reason to be killed while it is tried again.

        Nor is a page without streams, which waits for some; it is there before any camera is.
        """
        if self._stays and not self._told_ready:
            self._told_ready = True
            self._service.ready(self._routes() or "no stream yet")
        if self._stays and not self.runs:
            self._service.alive()
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
