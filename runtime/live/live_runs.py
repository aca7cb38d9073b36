"""Several streams in one process, over one loaded network; each has a past and figures of its own.

with Upscaler("nano-camera") as upscaler:
    report = LiveRuns(upscaler, read_streams(Path("cameras.toml"), LiveOptions())).run()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ...bundle import Bundle
from ...errors import AdcVsrError, ConfigError
from ..sessions.stream_session import StreamSession
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.encoders import EncodeOptions
from .admission import Admission
from .governor import governor_of
from .live_report import LiveReport, resident_bytes
from .sink import VideoSink, place_of
from .stream_config import StreamPlan, require_names
from .stream_run import StreamRun
from .together import Observe, Together


@dataclass(frozen=True)
class LiveRunsReport:
    """What several streams did."""

    streams: dict[str, LiveReport]
    """By name, the latest of each. The processor time of each is that of all."""
    failed: dict[str, str]
    """Names of those that an error ended, and the error."""
    batches: dict[int, int]
    """How often so many frames ran in one batch."""
    cpu_seconds: float
    cpu_ms_per_frame: float | None
    """Of the process, by frames out of all streams."""
    rss_bytes: int | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


class LiveRuns:
    """Streams that run together until the last one has ended.

    The network has one thread and gives each stream its turn, so that a fast camera takes nothing
    from a slow one. A stream that ends, stalls or fails does so alone. A camera that cannot be
    reached at first is tried again, as one that is lost later is.

    Args:
        upscaler: Of a causal network, loaded; its own past is left alone.
        plans: The streams.
        encode: Encoder choices, of all.
        offer: See `LiveRun`.
        observe: Called about once a second with the latest record of each and the notes so far.
        trace: See `LiveRun`.
        cheaper: Networks to step down to, the best first; every stream then needs a largest
            latency, see `governor`.
        oversubscribe: Begin though the network cannot keep up with all.
        stays: Whether streams come and go until Ctrl-C; there may be none at first.
        beside: Makes sinks that a stream gets beside those of its plan.
        looked: Called some times a second by the main thread, where `add` and `remove` may be.

    Raises:
        ConfigError: Two of one name, two sinks of one place, a sink that is a source, none at all,
            or more than the network keeps up with.
        AdcVsrError: See `LiveRun`.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        plans: Sequence[StreamPlan],
        *,
        encode: EncodeOptions | None = None,
        offer: Sequence[Bundle] | None = None,
        observe: Observe | None = None,
        trace: Trace | None = None,
        cheaper: Sequence[Upscaler] = (),
        oversubscribe: bool = False,
        stays: bool = False,
        beside: Callable[[str], Sequence[VideoSink]] = lambda name: (),
        looked: Callable[[], None] = lambda: None,
    ) -> None:
        if not plans and not stays:
            raise ConfigError("no stream to run; give at least one")
        require_names(plans)
        _require_places(plans)
        self._networks, self._beside = [upscaler, *cheaper], beside
        self._cpu_before = time.process_time()
        self._choices: dict[str, Any] = {"encode": encode, "offer": offer, "trace": trace}
        self._stacks: dict[StreamRun, ExitStack] = {}
        self._reports: dict[str, LiveReport] = {}
        self._fault: BaseException | None = None  # of ours, not of a camera
        self._order: dict[str, None] = {}
        self._presented = 0  # of streams that are forgotten
        self.failed: dict[str, str] = {}
        """Names of streams that an error ended, and the error."""
        self.plans: dict[str, StreamPlan] = {}
        """Of the streams that run."""
        self.together = Together(
            [], observe, come_and_go=True, stays=stays, looked=looked, left=self._left
        )
        self._admission = Admission(self._networks[-1], oversubscribe=oversubscribe)
        self._stay = ExitStack()
        with ExitStack() as stack:
            stack.callback(self._close_all)
            self._prepare_batches()
            for plan in plans:
                self.together.runs.append(self._open(plan))
            for line in self._admission.admit({run.name: run for run in self.runs}):
                self.together.own_notes.add(line)
            self._stay = stack.pop_all()

    @property
    def runs(self) -> list[StreamRun]:
        """Those that run."""
        return self.together.runs

    def run(self) -> LiveRunsReport:
        """Run until every stream has ended, or Ctrl-C; see `LiveRun.run`.

        An error of one stream is in the report: the others go on.

        Raises:
            AdcVsrError: A stream cannot even begin.
        """
        with self._stay:
            self.together.run()
            for run in self.runs:
                self._note_end(run)
        if self._fault is not None:
            raise self._fault
        cpu = time.process_time() - self._cpu_before
        frames = self._presented
        return LiveRunsReport(
            streams={name: self._reports[name] for name in self._order if name in self._reports},
            failed=self.failed,
            batches=dict(sorted(self.together.infer.batches.items())),
            cpu_seconds=round(cpu, 3),
            cpu_ms_per_frame=round(1000 * cpu / frames, 2) if frames else None,
            rss_bytes=resident_bytes(),
        )

    def add(self, plan: StreamPlan) -> None:
        """Take one more stream in, while the others run; in the main thread.

        Raises:
            ConfigError: Its name or a sink's place is taken, or it does not fit.
            AdcVsrError: It cannot begin.
        """
        plans = [*self.plans.values(), plan]
        require_names(plans)
        _require_places(plans)
        run = self._open(plan)
        try:
            for line in self._admission.admit({plan.name: run}):
                self.together.own_notes.add(line)
            self.together.join(run)
        except BaseException:
            self._forget(run)
            raise
        self.failed.pop(plan.name, None)

    def remove(self, name: str, why: str = "removed") -> None:
        """End a stream in order: what was captured is finished.

        Raises:
            KeyError: There is none of the name.
        """
        self.by_name()[name].end(why)

    def by_name(self) -> dict[str, StreamRun]:
        """Streams that run, by name."""
        return {run.name: run for run in self.runs}

    def _prepare_batches(self) -> None:
        for network in self._networks:
            session = network.session
            assert isinstance(session, StreamSession) or network.bundle.kind == "clip"
            if isinstance(session, StreamSession) and (why := session.prepare_batches()):
                self.together.own_notes.add(
                    f"frames of {network.bundle.path.name} run one by one, not in batches: {why}"
                )

    def _open(self, plan: StreamPlan) -> StreamRun:
        with ExitStack() as stack:
            mine = [stack.enter_context(each.another_stream()) for each in self._networks]
            run = StreamRun(
                mine[0],
                plan.source,
                plan.sinks,
                plan.options,
                **self._choices,
                name=plan.name,
                beside=self._beside(plan.name),
                governor=governor_of(mine, plan.options),
            )
            stack.callback(run.close)
            run.source.waits = True
            self._stacks[run] = stack.pop_all()
        self.plans[plan.name] = plan
        self._order.setdefault(plan.name)
        return run

    def _left(self, run: StreamRun) -> None:
        """One has ended and is forgotten; a fault of ours ends the others in order."""
        self._note_end(run)
        self._forget(run)
        if self._fault is not None:
            self.together.end("fault")

    def _note_end(self, run: StreamRun) -> None:
        """Keep what a stream did."""
        report = self._reports[run.name] = run.report(self.together.device)
        self._presented += report.presented
        error = run.stages.error
        if error is not None and not isinstance(error, AdcVsrError):
            self._fault = error
        elif error is not None:
            self.failed[run.name] = str(error)

    def _forget(self, run: StreamRun) -> None:
        self.plans.pop(run.name, None)
        self._admission.leave(run.name)
        self._stacks.pop(run).close()

    def _close_all(self) -> None:
        with ExitStack() as stack:
            for each in self._stacks.values():
                stack.push(each)


def _require_places(plans: Sequence[StreamPlan]) -> None:
    """Refuse two streams that write to one place, and one that writes over what another reads."""
    taken: dict[tuple[str, str], str] = {}
    read = {place_of(plan.source): plan.name for plan in plans}
    for plan in plans:
        for place in map(place_of, plan.sinks):
            if place[0] == "null":
                continue
            if place in taken:
                raise ConfigError(
                    f"streams '{taken[place]}' and '{plan.name}' have a sink at one place; give "
                    "each a place of its own"
                )
            if place[0] == "file" and place in read:
                raise ConfigError(
                    f"a sink of stream '{plan.name}' is what stream '{read[place]}' reads; choose "
                    "another name"
                )
            taken[place] = plan.name
