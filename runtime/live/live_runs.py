"""Several streams in one process, over one loaded network; each has a past and figures of its own.

with Upscaler("nano-camera") as upscaler:
    report = LiveRuns(upscaler, read_streams(Path("cameras.toml"), LiveOptions())).run()
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ...bundle import Bundle
from ...errors import AdcVsrError, ConfigError
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.encoders import EncodeOptions
from .live_report import LiveReport, resident_bytes
from .sink import place_of
from .stream_config import StreamPlan, require_names
from .stream_run import StreamRun
from .together import Observe, Together


@dataclass(frozen=True)
class LiveRunsReport:
    """What several streams did."""

    streams: dict[str, LiveReport]
    """By name. The processor time of each is that of all."""
    failed: dict[str, str]
    """Names of those that an error ended, and the error."""
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

    Raises:
        ConfigError: Two of one name, two sinks of one place, a sink that is a source, none at all.
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
    ) -> None:
        if not plans:
            raise ConfigError("no stream to run; give at least one")
        require_names(plans)
        _require_places(plans)
        self._observe, self._stack = observe, ExitStack()
        self._cpu_before = time.process_time()
        self.runs: list[StreamRun] = []
        with ExitStack() as stack:
            for plan in plans:
                run = StreamRun(
                    stack.enter_context(upscaler.another_stream()),
                    plan.source,
                    plan.sinks,
                    plan.options,
                    encode=encode,
                    offer=offer,
                    trace=trace,
                    name=plan.name,
                )
                run.source.waits = True
                stack.callback(run.close)
                self.runs.append(run)
            self._stack = stack.pop_all()

    def run(self) -> LiveRunsReport:
        """Run until every stream has ended, or Ctrl-C; see `LiveRun.run`.

        An error of one stream is in the report: the others go on.

        Raises:
            AdcVsrError: A stream cannot even begin.
        """
        with self._stack:
            together = Together(self.runs, self._observe)
            together.run()
            streams = {run.name: run.report(together.device) for run in self.runs}
        failed = {}
        for run in self.runs:
            error = run.stages.error
            if error is not None and not isinstance(error, AdcVsrError):
                raise error  # a fault of ours
            if error is not None:
                failed[run.name] = str(error)
        presented = sum(each.presented for each in streams.values())
        cpu = time.process_time() - self._cpu_before
        return LiveRunsReport(
            streams=streams,
            failed=failed,
            cpu_seconds=round(cpu, 3),
            cpu_ms_per_frame=round(1000 * cpu / presented, 2) if presented else None,
            rss_bytes=resident_bytes(),
        )


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
