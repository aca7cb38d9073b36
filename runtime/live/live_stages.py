"""The three threads of a live run: capture, network and output, and what waits between them.

A run makes them of its parts, starts them and looks after them; they count in its accounting.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from functools import partial

from av.video.reformatter import VideoReformatter

from ..threads.worker import Worker
from ..trace import Trace
from ..upscaler import Upscaler
from .accounting import Accounting, FrameTimes
from .frame_queue import Channel, StoppedError, WaitingFrames
from .live_report import LiveOptions
from .resets import Placed, ResetPolicy, StreamWatch
from .sink import FinishedFrame, VideoSink
from .source import VideoSource

UNKNOWN_RATE = Fraction(30)

FINISHED_WAITING = 1
"""Pictures that wait for the encoder: with more, a slow encoder would make old pictures of them."""


class LiveStages:
    """Capture, network and output of one run, in a thread each.

    Args:
        source: Opened when the threads start.
        upscaler: Used by the network's thread alone while it runs.
        sink: Likewise by the output's.
        options: Of the run.
        accounting: Counts frames and times.
        ending: Set to end the source; what it gave is finished.
        swap: Called between frames by the network's thread; whether the network is another now.
        passed: Called by the output's thread after each frame, also one its sink dropped.
        trace: Collects when each frame was in the network, encoded and presented.
    """

    def __init__(
        self,
        source: VideoSource,
        upscaler: Upscaler,
        sink: VideoSink,
        options: LiveOptions,
        accounting: Accounting,
        ending: threading.Event,
        *,
        swap: Callable[[], bool],
        passed: Callable[[], None],
        trace: Trace | None = None,
    ) -> None:
        self.source, self.upscaler, self.sink = source, upscaler, sink
        self.options, self.accounting = options, accounting
        self.clock = time.monotonic
        self.error: BaseException | None = None
        """The first one of any thread."""
        self.first: float | None = None
        """When the first frame was captured."""
        self.last = 0.0
        """When the latest one was out."""
        self.input_size: tuple[int, int] | None = None
        """Width and height of the frame the network took last."""
        self._ending, self._swap, self._tell_passed = ending, swap, passed
        self._trace = trace
        self._nobody_takes = threading.Event()  # what is captured
        self._nobody_writes = threading.Event()  # what is upscaled
        limit = options.max_latency_ms
        self._captured: Channel[Placed] = Channel(
            WaitingFrames(options.policy, None if limit is None else limit / 1000),
            self._nobody_takes,
            self.clock,
        )
        self._upscaled: Channel[tuple[FinishedFrame, FrameTimes]] = Channel(
            WaitingFrames("every", length=FINISHED_WAITING), self._nobody_writes, self.clock
        )

    def start(self) -> list[Worker]:
        """Start the threads; the one of the output, which is last, ends last."""
        stages = {"capture": self._capture, "infer": self._infer, "present": self._present}
        threads = [
            Worker(partial(self._guard, stage), name=f"adcvsr-{name}")
            for name, stage in stages.items()
        ]
        try:
            for thread in threads:
                thread.start()
        except BaseException:  # no further thread, or Ctrl-C
            for event in (self._ending, self._nobody_takes, self._nobody_writes):
                event.set()
            for thread in threads:
                thread.wait_or_call_off()
            raise
        return threads

    @property
    def rate(self) -> Fraction:
        """Nominal frames a second."""
        return self.source.rate or UNKNOWN_RATE

    def seconds_until(self, moment: float) -> float:
        """Seconds from the first frame's capture; 0 where there is none yet.

        Args:
            moment: On `clock`.
        """
        return max(moment - self.first, 0.0) if self.first is not None else 0.0

    def drops(self) -> dict[str, int]:
        """Frames dropped so far, by reason."""
        counts: Counter[str] = Counter()
        for drops in (self._captured.waiting.drops, self.source.drops, self.sink.drops):
            counts.update(dict(drops))  # a copy: other threads count on
        return dict(sorted(counts.items()))

    def _guard(self, stage: Callable[[], None]) -> None:
        try:
            stage()
        except StoppedError:
            pass
        except BaseException as error:
            if self.error is None:
                self.error = error
            self._ending.set()
            # What was finished before a source or a network failed is still written.
            if stage != self._capture:
                self._nobody_takes.set()
            if stage == self._present:
                self._nobody_writes.set()

    def _capture(self) -> None:
        watch = StreamWatch(self.options.stall_frames)
        waited = 0.0
        try:
            with closing(self.source.frames()) as frames:
                for frame in frames:
                    self.first = frame.captured if self.first is None else self.first
                    self.accounting.frame_captured()
                    placed = watch.place(frame, float(1 / self.rate), waited)
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
                if frame.size != self.input_size:
                    self.upscaler.check_memory(self.source.address.text, *frame.size)
                self.input_size = frame.size
                if self._swap():
                    self.accounting.reset("model")
                if (reason := resets.reason(placed)) is not None:
                    self.upscaler.reset()
                    self.accounting.reset(reason)
                rgb = frame.rgb(reformatter)
                picture = self.upscaler(rgb)
                times.inferred = self.clock()
                self._span("infer", times.taken, times.inferred, times.captured)
                done = FinishedFrame(
                    rgb, picture, placed.time, self.rate, frame.colours, frame.captured
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
                times.presented = self.last = self.clock()
                self._span("present", times.encoded, times.presented, times.captured)
                self.accounting.frame_presented(times)
            self._tell_passed()
        self.sink.finish()

    def _span(self, stage: str, began: float, ended: float, captured: float) -> None:
        """Put a thread's work on a frame into the trace, and how old the frame was by then."""
        if self._trace is not None:
            age_ms = round(1000 * (ended - captured), 3)
            self._trace.span(stage, stage, began, ended, age_ms=age_ms)
