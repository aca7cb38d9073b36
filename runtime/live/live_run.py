"""A live run: capture, network and output in a thread each, and the figures of all three.

with Upscaler("nano") as upscaler:
    report = LiveRun(upscaler, "rtsp://camera/stream", "http://127.0.0.1:8080").run()
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime, timezone
from fractions import Fraction
from typing import IO, Any

import numpy as np
from av.video.reformatter import VideoReformatter

from ...errors import ClipNetworkError, OutputNotWritableError
from ..service import ServiceNotifier
from ..trace import Trace
from ..upscaler import Upscaler
from ..video.sink import EncodeOptions
from .accounting import Accounting, FrameTimes, prometheus_text
from .device_figures import DeviceFigures
from .frame_queue import Channel, StoppedError, WaitingFrames
from .glass import GlassReader
from .live_report import LiveOptions, LiveReport, resident_bytes
from .resets import Placed, ResetPolicy, StreamWatch
from .sink import FinishedFrame, VideoSink, open_sink
from .source import VideoSource, open_source

TICK_S = 1.0
"""From record to record."""

LOOK_S = 0.05
"""How often the main thread looks around."""

UNKNOWN_RATE = Fraction(30)

FINISHED_WAITING = 1
"""Pictures that wait for the encoder: with more, a slow encoder would make old pictures of them."""


class LiveRun:
    """One run from a source to a sink.

    Args:
        upscaler: Of a causal network, loaded.
        source: Address.
        sink: Address.
        options: See `LiveOptions`.
        encode: Encoder choices.
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
        self._failed = threading.Event()  # all threads end at once
        self._error: BaseException | None = None
        self._first: float | None = None
        self._last = 0.0
        self._input_size: tuple[int, int] | None = None
        self._cpu_before = time.process_time()
        self._observe, self._trace = observe, trace
        self.source: VideoSource = open_source(source, self._ending, self.clock)
        self.glass = GlassReader(options.glass, self.accounting) if options.glass else None
        self.sink: VideoSink = open_sink(sink, encode or EncodeOptions())
        limit = options.max_latency_ms
        self._captured: Channel[Placed] = Channel(
            WaitingFrames(options.policy, None if limit is None else limit / 1000),
            self._failed,
            self.clock,
        )
        self._upscaled: Channel[tuple[FinishedFrame, FrameTimes]] = Channel(
            WaitingFrames("every", length=FINISHED_WAITING), self._failed, self.clock
        )

    def run(self) -> LiveReport:
        """Run until the source ends, the duration is over, or Ctrl-C.

        Ctrl-C is the ordinary end of a live run: what was captured is finished, and a recording is
        kept. An error of the source, too, ends the output properly before it is raised.

        Raises:
            AdcVsrError: Source, network or sink failed.
        """
        with ExitStack() as stack:
            self._service = stack.enter_context(ServiceNotifier())
            stack.enter_context(self.sink)
            stack.enter_context(self.source)
            self.device = DeviceFigures()
            stack.callback(self.device.close)
            stats = stack.enter_context(self._open_stats()) if self.options.stats_path else None
            self._warm_up()
            if self.glass is not None:
                stack.enter_context(self.glass)
            threads = [
                threading.Thread(target=self._guard, args=(stage,), name=f"adcvsr-{name}")
                for name, stage in (
                    ("capture", self._capture),
                    ("infer", self._infer),
                    ("present", self._present),
                )
            ]
            for thread in threads:
                thread.start()
            ended = self._look_after(threads, stats)
            self.upscaler.reset()
            if self._error is not None:
                raise self._error
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
            "seconds": round(self.clock() - self._first, 3) if self._first is not None else 0.0,
            "captured": self.accounting.captured,
            "presented": presented,
            "fps": round((presented - frames) / max(seconds, 1e-9), 2),
            "drops": self._drops(),
            "resets": dict(self.accounting.resets),
            "reconnects": self.source.reconnects,
            "damaged_packets": self.source.damaged_packets,
            "ms": self.accounting.end_interval(),
            "cpu_seconds": round(time.process_time() - self._cpu_before, 3),
            "rss_bytes": resident_bytes(),
            "device": self.device.read(),
        }

    def _open_stats(self) -> IO[str]:
        assert self.options.stats_path is not None
        try:
            return self.options.stats_path.open("a", buffering=1)
        except OSError as error:
            raise OutputNotWritableError(
                f"cannot write figures to '{self.options.stats_path}': {error.strerror}"
            ) from error

    def _warm_up(self) -> None:
        """Run the network once where the frames' size is known: the first run allocates."""
        if self.source.size is not None:
            width, height = self.source.size
            self.upscaler(np.zeros((height, width, 3), np.uint8))
            self.upscaler.reset()

    def _look_after(self, threads: list[threading.Thread], stats: IO[str] | None) -> str:
        """Wait for the end, publish figures meanwhile; return why it ended."""
        ended = "end of source"
        tick, frames = self.clock(), 0
        while any(thread.is_alive() for thread in threads):
            try:
                threads[-1].join(LOOK_S)
                if self._is_over() and not self._ending.is_set():
                    ended = "duration"
                    self._ending.set()
                if (now := self.clock()) - tick >= TICK_S:
                    record = self.record(now - tick, frames)
                    tick, frames = now, record["presented"]
                    self._publish(record, stats)
            except KeyboardInterrupt:
                ended = "interrupted"
                self._ending.set()
        self._publish(self.record(self.clock() - tick, frames), stats)
        return ended

    def _is_over(self) -> bool:
        limit, first = self.options.duration_s, self._first
        return limit is not None and first is not None and self.clock() - first >= limit

    def _publish(self, record: dict[str, Any], stats: IO[str] | None) -> None:
        self._latest = record
        if stats is not None:
            stats.write(json.dumps(record) + "\n")
        self.sink.publish(record, prometheus_text(record, self.accounting))
        if self._observe is not None:
            self._observe(record, self.notes())

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except StoppedError:
            pass
        except BaseException as error:
            if self._error is None:
                self._error = error
            self._ending.set()
            if stage != self._capture:
                self._failed.set()

    def _capture(self) -> None:
        watch = StreamWatch(self.options.stall_frames)
        waited = 0.0
        try:
            with closing(self.source.frames()) as frames:
                for frame in frames:
                    self._first = frame.captured if self._first is None else self._first
                    self.accounting.frame_captured()
                    placed = watch.place(frame, float(1 / self._rate()), waited)
                    began = self.clock()
                    self._captured.put(placed, frame.captured)
                    waited = self.clock() - began
                    if self._ending.is_set():
                        return
        finally:
            self._captured.end()

    def _infer(self) -> None:
        resets = ResetPolicy(cuts=self.options.cut_reset)
        reformatter = VideoReformatter()
        try:
            while (placed := self._captured.get(self.accounting.ahead_seconds)) is not None:
                frame = placed.frame
                times = FrameTimes(frame.captured, taken=self.clock())
                self._input_size = frame.size
                if (reason := resets.reason(placed)) is not None:
                    self.upscaler.reset()
                    self.accounting.reset(reason)
                rgb = frame.rgb(reformatter)
                picture = self.upscaler(rgb)
                times.inferred = self.clock()
                self._span("infer", times.taken, times.inferred, times.captured)
                done = FinishedFrame(
                    rgb, picture, placed.time, self._rate(), frame.colours, frame.captured
                )
                self._upscaled.put((done, times), times.inferred)
        finally:
            self._upscaled.end()

    def _present(self) -> None:
        while (item := self._upscaled.get()) is not None:
            frame, times = item
            began = self.clock()
            encoded = self.sink.encode(frame)
            times.encoded = self.clock()
            self._span("encode", began, times.encoded, times.captured)
            if encoded is not None and self.sink.present(encoded):
                times.presented = self._last = self.clock()
                self._span("present", times.encoded, times.presented, times.captured)
                self.accounting.frame_presented(times)
                self._tell_service()
        self.sink.finish()

    def _span(self, stage: str, began: float, ended: float, captured: float) -> None:
        """Put a thread's work on a frame into the trace, and how old the frame was by then."""
        if self._trace is not None:
            age_ms = round(1000 * (ended - captured), 3)
            self._trace.span(stage, stage, began, ended, age_ms=age_ms)

    def _tell_service(self) -> None:
        """Systemd's unit has started with the first picture, and is alive with each further one."""
        if self.accounting.presented == 1:
            self._service.ready(f"{self.source.address.text} -> {self.sink.address.text}")
        self._service.alive()

    def _rate(self) -> Fraction:
        return self.source.rate or UNKNOWN_RATE

    def _drops(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for drops in (self._captured.waiting.drops, self.source.drops, self.sink.drops):
            counts.update(dict(drops))  # a copy: other threads count on
        return dict(sorted(counts.items()))

    def notes(self) -> list[str]:
        """Lines worth telling the user, so far."""
        glass = self.glass.notes if self.glass is not None else []
        return [*self._backend_notes, *self.source.notes, *self.sink.notes, *glass]

    def _report(self, ended: str) -> LiveReport:
        counts, drops = self.accounting, self._drops()
        seconds = max(self._last - self._first, 0.0) if self._first is not None else 0.0
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
            input_size=self._input_size,
            output_size=self.sink.size,
            encoder=self.sink.encoder,
            backend=self.upscaler.session.backend,
            variant=self.upscaler.session.variant.id,
            model=self.upscaler.bundle.path.name,
            device=self._latest["device"],
            ended=ended,
            notes=self.notes(),
        )
