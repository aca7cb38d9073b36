"""Streams that come and go while the process runs: by the API, and by a file that is read again.

Threads of the server ask, the main thread does: it alone begins and ends streams.

    service = StreamService(address, read=lambda: read_streams(path, options), defaults=options)
    runs = LiveRuns(upscaler, plans, beside=service.beside, looked=service.look, stays=True)
    service.serve(runs, plans)
    runs.run()
    service.reload_asked.set()  # such as at SIGHUP
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, TypeVar

from ...errors import AdcVsrError, ConfigError
from .address import Address
from .live_report import LiveOptions
from .live_runs import LiveRuns
from .sink import VideoSink
from .sink_page import page_place
from .sink_tile import TileSink
from .stream_config import StreamPlan, plan_of
from .stream_run import StreamRun
from .wall import TakenError, Wall

ANSWER_S = 20.0
"""Whoever asks waits so long: a network may be made ready meanwhile."""

BEAT_S = 300.0
"""The main thread looks around far more often, but for a compiler that makes a new size ready."""

T = TypeVar("T")


class StreamService:
    """The page of all streams, and what may be asked of them.

    Args:
        page: Address of the page, `http://HOST:PORT`; None for none.
        defaults: Options of streams that are added, where they say nothing.
        read: Reads the streams of the file again; None without a file.

    Raises:
        ConfigError: The address is none, or needs a token.
        OutputNotWritableError: It is taken.
    """

    def __init__(
        self,
        page: str | None,
        defaults: LiveOptions,
        read: Callable[[], Sequence[StreamPlan]] | None = None,
    ) -> None:
        self.reload_asked = threading.Event()
        """Set to have the file read again; cleared when that is done."""
        self._defaults, self._read = defaults, read
        self._runs: LiveRuns | None = None
        self._of_file: set[str] = set()
        self._next: list[StreamPlan] = []  # which wait until others of their name have ended
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wall: Wall | None = None
        self._address = Address.parse(page) if page is not None else None
        if self._address is not None:
            if self._address.scheme != "http":
                raise ConfigError(
                    f"--page '{self._address.text}': expected an address such as "
                    "http://127.0.0.1:8080"
                )
            place = page_place(self._address)
            self._address.finish("token, viewers")
            self._wall = Wall(*place, control=self)

    @property
    def notes(self) -> list[str]:
        """Where the page is."""
        if self._wall is None:
            return []
        return [
            f"the page of all streams: {self._wall.url}" + "?token=..." * bool(self._wall.token)
        ]

    @property
    def has_page(self) -> bool:
        """Whether streams may come by the page, so that a run without any goes on."""
        return self._wall is not None

    @property
    def port(self) -> int:
        """That the page listens at."""
        assert self._wall is not None
        return self._wall.port

    def beside(self, name: str) -> Sequence[VideoSink]:
        """The tile of a stream, for `LiveRuns`."""
        if self._wall is None:
            return ()
        assert self._address is not None
        return (TileSink(self._address, self._wall, name),)

    def serve(self, runs: LiveRuns, plans: Sequence[StreamPlan]) -> None:
        """Take over streams that are about to run.

        Args:
            runs: Made with `beside` and `look`.
            plans: Those of the file.
        """
        self._runs, self._of_file = runs, {plan.name for plan in plans}
        for line in self.notes:
            runs.together.own_notes.add(line)

    def look(self) -> None:
        """Do what was asked for; called by the main thread some times a second."""
        assert self._runs is not None
        if self._wall is not None:
            self._wall.metrics = self._runs.together.metrics.encode()
        while True:
            try:
                call = self._asked.get_nowait()
            except queue.Empty:
                break
            call()
        if self.reload_asked.is_set():
            self.reload_asked.clear()
            self._reload()
        self._begin_next()

    def close(self) -> None:
        """Close the page."""
        if self._wall is not None:
            self._wall.close()

    def listed(self) -> dict[str, Any]:
        """See `Control`."""
        if (runs := self._runs) is None:
            return {"streams": [], "failed": {}, "batches": {}}
        streams = [_facts(run) for run in list(runs.runs)]
        batches = {str(size): count for size, count in runs.together.infer.batches.copy().items()}
        return {"streams": streams, "failed": dict(runs.failed), "batches": batches}

    def add(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """See `Control`."""
        plan = plan_of(values, self._defaults)

        def begin() -> dict[str, Any]:
            assert self._runs is not None
            waiting = {each.name for each in self._next}
            if plan.name in self._runs.plans or plan.name in waiting:
                raise TakenError(f"a stream '{plan.name}' runs already; remove it, or take a name")
            self._runs.add(plan)
            return _facts(self._runs.by_name()[plan.name])

        return self._ask(begin)

    def remove(self, name: str) -> None:
        """See `Control`."""

        def end() -> None:
            assert self._runs is not None
            self._runs.remove(name)

        self._ask(end)

    def reset(self, name: str) -> None:
        """See `Control`."""

        def ask() -> None:
            assert self._runs is not None
            self._runs.by_name()[name].stages.reset_asked.set()

        self._ask(ask)

    def why_not_ready(self) -> str:
        """See `Control`."""
        if self._runs is None or self._runs.together.ends:
            return "it starts" if self._runs is None else "it ends"
        if not any(run.accounting.presented for run in list(self._runs.runs)):
            return "no stream has given a picture yet"
        return ""

    def why_not_healthy(self) -> str:
        """See `Control`."""
        if self._runs is not None and not self._runs.together.ends:
            since = time.monotonic() - self._runs.together.beat
            if since > BEAT_S and self._runs.together.begun:
                return f"the main thread has not looked around for {since:.0f} s"
        return ""

    def _ask(self, call: Callable[[], T]) -> T:
        """Have the main thread call, and wait for what it returns or raises.

        Raises:
            TimeoutError: It does not come to it in time; it may later.
        """
        future: Future[T] = Future()

        def do() -> None:
            try:
                future.set_result(call())
            except (AdcVsrError, KeyError) as error:
                future.set_exception(error)
            except BaseException as error:
                future.set_exception(TimeoutError())
                raise error

        self._asked.put(do)
        try:
            return future.result(ANSWER_S)
        except FutureTimeout as error:
            raise TimeoutError from error

    def _reload(self) -> None:
        """Read the file again: what is new begins, what is gone ends, what changed does both."""
        assert self._runs is not None
        notes = self._runs.together.own_notes
        if self._read is None:
            notes.add("there is no --config to read again")
            return
        try:
            plans = {plan.name: plan for plan in self._read()}
        except AdcVsrError as error:
            notes.add(f"the streams run on as they are, the new configuration is wrong: {error}")
            return
        old = {name: self._runs.plans[name] for name in self._of_file if name in self._runs.plans}
        changed = [name for name in plans if old.get(name) != plans[name]]
        ended = [name for name in old if plans.get(name) != old[name]]
        for name in ended:
            self._runs.remove(name, "configuration")
        self._of_file = set(plans)
        self._next = [plans[name] for name in changed]
        begin = len(changed)
        notes.add(
            f"the configuration was read again: {len(ended)} end, {begin} begin, "
            f"{len(plans) - begin} run on"
        )

    def _begin_next(self) -> None:
        """Begin streams whose place is free now."""
        assert self._runs is not None
        for plan in [plan for plan in self._next if plan.name not in self._runs.plans]:
            self._next.remove(plan)
            try:
                self._runs.add(plan)
            except AdcVsrError as error:
                self._runs.failed[plan.name] = str(error)
                self._runs.together.own_notes.add(f"{plan.name}: did not begin: {error}")


def _facts(run: StreamRun) -> dict[str, Any]:
    """What the list says of a stream, JSON-ready and without secrets."""
    session = run.upscaler.session
    state = "ends" if run.ending.is_set() else "away" if run.source.tries else "runs"
    if state == "runs" and not run.accounting.presented:
        state = "starts"
    size = run.stages.input_size
    return {
        "name": run.name,
        "state": state,
        "source": run.source.address.text,
        "sinks": [sink.address.text for sink in run.sinks if not isinstance(sink, TileSink)],
        "captured": run.accounting.captured,
        "presented": run.accounting.presented,
        "drops": run.stages.drops(),
        "resets": dict(run.accounting.resets),
        "input_size": list(size) if size else None,
        "crop": run.zoom.state()["crop"],
        "priority": run.options.priority,
        "max_latency_ms": run.options.max_latency_ms,
        "latency_ms": run.latest_ms,
        "fps": run.latest_fps,
        "model": session.bundle.path.name,
        "variant": session.variant.id,
        "backend": session.backend,
    }
