"""A live run: capture, network and output in a thread each, and the figures of all three.

with Upscaler("nano") as upscaler:
    report = LiveRun(upscaler, "rtsp://camera/stream", "http://127.0.0.1:8080").run()
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from io import FileIO
from typing import Any

import numpy as np

from ...bundle import BadBundle, Bundle, find_bundles
from ...errors import ClipNetworkError, ConfigError, OutputNotWritableError
from ..threads.worker import Worker
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.encoders import EncodeOptions
from .accounting import Accounting, prometheus_text
from .device_figures import DeviceFigures
from .glass import GlassReader
from .live_report import LiveOptions, LiveReport, resident_bytes
from .live_stages import LiveStages
from .model_switch import ModelSwitch
from .notes import Notes
from .service import ServiceNotifier
from .sink import VideoSink, open_sink
from .source import VideoSource, open_source

TICK_S = 1.0
"""From record to record."""

LOOK_S = 0.05
"""How often the main thread looks around."""


class LiveRun:
    """One run from a source to a sink.

    Args:
        upscaler: Of a causal network, loaded.
        source: Address.
        sink: Address.
        options: See `LiveOptions`.
        encode: Encoder choices.
        offer: Further bundles that people may switch to, where the sink lets them; None for all
            that are installed.
        observe: Called about once a second with the latest record and the notes so far.
        trace: Collects when each frame was in the network, encoded and presented.

    Raises:
        ClipNetworkError: The network is not causal.
        ConfigError, MissingProgramError: An address or option makes no sense here.
        OutputExistsError, OutputNotWritableError: The output cannot be written.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        source: str,
        sink: str,
        options: LiveOptions | None = None,
        *,
        encode: EncodeOptions | None = None,
        offer: Sequence[Bundle] | None = None,
        observe: Callable[[dict[str, Any], list[str]], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        if upscaler.bundle.kind == "clip":
            raise ClipNetworkError(
                f"bundle '{upscaler.bundle.name}' is not causal: it needs frames of the future and "
                "cannot run live; use 'adcvsr upscale', or a causal bundle such as nano"
            )
        self.options = options = options or LiveOptions()
        self.upscaler = upscaler
        self._backend_notes = upscaler.backend_notes()
        self.clock = time.monotonic
        self.accounting = Accounting()
        self._ending = threading.Event()  # the source ends, what it gave is finished
        self._cpu_before = time.process_time()
        self._observe, self._trace = observe, trace
        self.source: VideoSource = open_source(source, self._ending, self.clock)
        self.glass = GlassReader(options.glass, self.accounting) if options.glass else None
        self.sink: VideoSink = open_sink(sink, encode or EncodeOptions())
        self._own_notes = Notes()
        self._torn_line = False  # the last one in the file of figures
        self._told_ready, self._told_tries = False, 0  # to systemd
        try:
            self.switch = self._open_switch(offer)
        except BaseException:
            self.sink.close()
            raise

    def run(self) -> LiveReport:
        """Run until the source ends, the duration is over, or Ctrl-C.

        Ctrl-C is the ordinary end of a live run: what was captured is finished, and a recording is
        kept. An error of the source, too, ends the output properly before it is raised.

        Raises:
            AdcVsrError: Source, network or sink failed.
        """
        self.stages = LiveStages(
            self.source,
            self.upscaler,
            self.sink,
            self.options,
            self.accounting,
            self._ending,
            swap=self._swap,
            passed=self._tell_service,
            trace=self._trace,
        )
        with ExitStack() as stack:
            self._service = stack.enter_context(ServiceNotifier())
            stack.enter_context(self.sink)
            stack.callback(self.switch.close)
            stack.enter_context(self.source)
            self._watch_network()
            stack.callback(self._watch_network, watch=False)
            self.device = DeviceFigures()
            stack.callback(self.device.close)
            stats = stack.enter_context(self._open_stats()) if self.options.stats_path else None
            self._warm_up()
            self.sink.offer(self.switch)
            if self.glass is not None:
                stack.enter_context(self.glass)
            threads = self.stages.start()
            ended = self._look_after(threads, stats)
            self.upscaler.reset()
            if self.stages.error is not None:
                raise self.stages.error
            return self._report(ended)

    def record(self, seconds: float, frames: int) -> dict[str, Any]:
        """The figures now, JSON-ready: counters since the start, `ms` and `fps` of an interval.

        Args:
            seconds: Length of the interval that ends now.
            frames: Frames that were out when it began.
        """
        presented = self.accounting.presented
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return {
            "time": now.replace("+00:00", "Z"),
            "seconds": round(self.stages.seconds_until(self.clock()), 3),
            "captured": self.accounting.captured,
            "presented": presented,
            "fps": round((presented - frames) / max(seconds, 1e-9), 2),
            "drops": self.stages.drops(),
            "resets": dict(self.accounting.resets),
            "reconnects": self.source.reconnects,
            "damaged_packets": self.source.damaged_packets,
            **self._running(),
            "ms": self.accounting.end_interval(),
            "cpu_seconds": round(time.process_time() - self._cpu_before, 3),
            "rss_bytes": resident_bytes(),
            "device": self.device.read(),
        }

    def _open_switch(self, offer: Sequence[Bundle] | None) -> ModelSwitch:
        if offer and not self.sink.switches_models:
            raise ConfigError(
                f"'{self.sink.address.text}' has no place to choose a model: offer others with the "
                "preview page, http://127.0.0.1:8080"
            )
        bad: list[BadBundle] = []
        if offer is None:
            mine = self.upscaler.bundle.path.name
            installed, bad = find_bundles() if self.sink.switches_models else ([], [])
            for each in bad:
                self._own_notes.add(f"not offered: {each.reason}")
            offer = [each for each in installed if each.trained and each.path.name != mine]
        return ModelSwitch(
            self.upscaler,
            offer,
            size=lambda: self.stages.input_size,
            note=self._own_notes.add,
            bad=bad,
        )

    def _open_stats(self) -> FileIO:
        assert self.options.stats_path is not None
        try:
            return self.options.stats_path.open("ab", buffering=0)
        except OSError as error:
            raise OutputNotWritableError(
                f"cannot write figures to '{self.options.stats_path}': {error.strerror}"
            ) from error

    def _warm_up(self) -> None:
        """Run the network once where the frames' size is known: the first run allocates."""
        if self.source.size is not None:
            width, height = self.source.size
            self.upscaler.check_memory(self.source.address.text, width, height)
            self.upscaler(np.zeros((height, width, 3), np.uint8))
            self.upscaler.reset()

    def _look_after(self, threads: list[Worker], stats: FileIO | None) -> str:
        """Wait for the end, publish figures meanwhile; return why it ended."""
        ended = "end of source"
        tick, frames = self.clock(), 0
        over = False
        while not over:
            try:
                over = all(thread.wait(LOOK_S) for thread in reversed(threads))
                if self._is_over() and not self._ending.is_set():
                    ended = "duration"
                    self._ending.set()
                if (now := self.clock()) - tick >= TICK_S:
                    record = self.record(now - tick, frames)
                    tick, frames = now, record["presented"]
                    self._publish(record, stats)
                    self._tell_of_tries()
            except KeyboardInterrupt:
                ended = "interrupted"
                self._ending.set()
        self._publish(self.record(self.clock() - tick, frames), stats)
        return ended

    def _is_over(self) -> bool:
        limit = self.options.duration_s
        return limit is not None and self.stages.seconds_until(self.clock()) >= limit

    def _publish(self, record: dict[str, Any], stats: FileIO | None) -> None:
        self._latest = record
        if stats is not None:
            self._append(stats, json.dumps(record))
        self.sink.publish(record, prometheus_text(record, self.accounting))
        if self._observe is not None:
            self._observe(record, self.notes())

    def _append(self, stats: FileIO, line: str) -> None:
        """Write a line of figures; a disk that is full costs the line, not the stream."""
        rest = ("\n" * self._torn_line + line + "\n").encode()
        try:
            while rest:
                written = stats.write(rest)
                self._torn_line, rest = True, rest[written:]
            self._torn_line = False
        except OSError as error:
            self._own_notes.add(
                f"figures are missing in '{self.options.stats_path}': {error.strerror}", once=True
            )

    def _tell_service(self) -> None:
        """Systemd's unit has started with the first picture, and is alive with each frame."""
        if self.accounting.presented and not self._told_ready:
            self._told_ready = True
            self._service.ready(self._route)
        self._service.alive()

    def _swap(self) -> bool:
        """Change to a network that was loaded, which is then the one that is watched."""
        changed = self.switch.swap()
        if changed:
            self._watch_network()
        return changed

    def _watch_network(self, *, watch: bool = True) -> None:
        self.upscaler.session.on_prepare = self._tell_preparing if watch else None

    def _tell_preparing(self, line: str) -> None:
        """A size that is made ready, perhaps by a compiler, is no reason to be killed.

        Unless the run ends: a compiler must not hold up a machine that shuts down.
        """
        if not line:
            self._service.worked()
            if self._told_ready:
                self._service.status(self._route)
        elif not self._ending.is_set():
            self._service.working(f"{self._route}: {line}")

    def _tell_of_tries(self) -> None:
        """A source that is away is no reason to be killed while it is tried again."""
        before, self._told_tries = self._told_tries, self.source.tries
        if self._told_tries == before:
            return
        if self._told_tries:
            self._service.status(f"{self._route}: source lost, {self._told_tries} tries so far")
            self._service.alive()
        else:
            self._service.status(self._route)

    @property
    def _route(self) -> str:
        return f"{self.source.address.text} -> {self.sink.address.text}"

    def _running(self) -> dict[str, str]:
        session = self.upscaler.session
        return {
            "model": session.bundle.path.name,
            "variant": session.variant.id,
            "backend": session.backend,
        }

    def notes(self) -> list[str]:
        """Lines worth telling the user, so far."""
        glass = self.glass.notes if self.glass is not None else []
        return [
            *self._backend_notes,
            *self.source.notes,
            *self.sink.notes,
            *glass,
            *self._own_notes,
        ]

    def _report(self, ended: str) -> LiveReport:
        counts, drops = self.accounting, self.stages.drops()
        seconds = self.stages.seconds_until(self.stages.last)
        lost = sum(drops[reason] for reason in ("newer", "late", "sink") if reason in drops)
        cpu = time.process_time() - self._cpu_before
        return LiveReport(
            source=self.source.address.text,
            sink=self.sink.address.text,
            policy=self.options.policy,
            max_latency_ms=self.options.max_latency_ms,
            seconds=round(seconds, 3),
            captured=counts.captured,
            presented=counts.presented,
            unfinished=counts.captured - counts.presented - lost,
            fps=round(counts.presented / seconds, 2) if seconds else 0.0,
            drops=drops,
            resets=dict(sorted(counts.resets.items())),
            reconnects=self.source.reconnects,
            damaged_packets=self.source.damaged_packets,
            ms=counts.percentiles(),
            cpu_seconds=round(cpu, 3),
            cpu_ms_per_frame=round(1000 * cpu / counts.presented, 2) if counts.presented else None,
            rss_bytes=resident_bytes(),
            input_size=self.stages.input_size,
            output_size=self.sink.size,
            encoder=self.sink.encoder,
            **self._running(),
            device=self._latest["device"],
            ended=ended,
            notes=self.notes(),
        )
