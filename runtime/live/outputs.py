"""The sinks of one stream: each has a queue and a thread of its own, and misses pictures alone.

A picture goes to every sink. The network goes on as soon as one of them has room, so the fastest
sets the pace; where another one's queue is full, the oldest picture in it gives way, and is counted
for that sink. With the policy `every` nothing may be missed: there the slowest sets the pace.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..threads.worker import Worker
from ..trace import Trace
from .accounting import Accounting, FrameTimes
from .depth import ToSdr, is_deep, to_hdr
from .frame_queue import POLL_SECONDS
from .sink import FinishedFrame, VideoSink

ALONE_WAITING = 1
"""Pictures that wait for a stream's only sink: the network waits with them, and with more a slow
encoder would make old pictures of them."""

TOGETHER_WAITING = 4
"""Pictures that wait for one of several sinks: it may be busy for a moment without missing any."""

NOTHING = np.empty((0, 0, 3), np.uint8)

SINK_FIGURES = ("encode", "present", "latency")


class Passage:
    """A picture on its way to all sinks: it is out with the first one, and lost where none sent it.

    Args:
        accounting: Of the stream; told once.
        sinks: How many the picture goes to.
    """

    def __init__(self, accounting: Accounting, sinks: int) -> None:
        self._accounting, self._left = accounting, sinks
        self._out = False
        self._lock = threading.Lock()

    def sent(self, times: FrameTimes) -> None:
        """A sink sent it."""
        with self._lock:
            first, self._out = not self._out, True
            self._left -= 1
        if first:
            self._accounting.frame_presented(times)

    def missed(self) -> None:
        """A sink did not, and will not."""
        with self._lock:
            self._left -= 1
            lost = not self._left and not self._out
        if lost:
            self._accounting.frame_lost()


class Output:
    """A sink, the pictures that wait for it, and what its thread does.

    Args:
        sink: Used by the output's thread alone while it runs.
        waiting: Pictures that wait at most.
        bell: Set whenever there is room again.
        passed: Called by its thread after each picture, also one its sink dropped.
        trace: Collects when each picture was encoded and presented.
        label: Of its spans in the trace.
    """

    def __init__(
        self,
        sink: VideoSink,
        waiting: int,
        bell: threading.Event,
        *,
        passed: Callable[[], None],
        trace: Trace | None = None,
        label: str = "",
    ) -> None:
        self.sink, self.accounting = sink, Accounting()
        self.clock = time.monotonic
        self.last = 0.0
        """When the latest picture was out."""
        self.thread: Worker | None = None
        """Which sends; None before it is started."""
        self._waiting, self._bell, self._passed = waiting, bell, passed
        self._trace, self._label = trace, label
        self._changed = threading.Condition()
        self._pictures: deque[tuple[FinishedFrame, FrameTimes, Passage]] = deque()
        self._newer, self._after_end = 0, 0
        self.was_left = False
        """Whether nobody waits for it any more, though it has not ended."""
        self._ended, self._over = False, False
        self._busy_since: float | None = None
        self._to_sdr = ToSdr()
        self._why_not_deep: dict[bool, str] = {}  # by whether it is HDR
        self._began: FinishedFrame | None = None  # the first frame, without its pictures

    @property
    def has_room(self) -> bool:
        """Whether a picture can be taken without missing one."""
        with self._changed:
            return self._over or len(self._pictures) < self._waiting

    @property
    def is_over(self) -> bool:
        """Whether nothing is taken any more: the end has come, or the sink failed."""
        return self._over

    def put(self, frame: FinishedFrame, times: FrameTimes, passage: Passage) -> None:
        """Take a picture; where there is no room, the oldest one that waits gives way."""
        missed = []
        with self._changed:
            if self._over:
                missed.append(passage)
                self._after_end += 1
            else:
                if len(self._pictures) >= self._waiting:
                    missed.append(self._pictures.popleft()[2])
                    self._newer += 1
                self._pictures.append((frame, replace(times), passage))
                self._changed.notify_all()
        for each in missed:
            each.missed()

    def end(self) -> None:
        """Say that no more pictures come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def run(self) -> None:
        """Send pictures until the end, and finish the output; in the output's thread.

        Raises:
            AdcVsrError: The sink failed.
        """
        try:
            while (item := self._next()) is not None:
                self._send(*item)
                self._passed()
            if not self.was_left:
                self.sink.finish()
        finally:
            self._stop_taking()

    def drops(self) -> dict[str, int]:
        """Pictures this sink did not send, by reason: `newer`, or `sink` where it was gone."""
        counts = Counter(newer=self._newer, sink=self._after_end) + Counter(dict(self.sink.drops))
        return dict(sorted(counts.items()))

    def figures(self) -> dict[str, Any]:
        """What it sent, missed and took, JSON-ready."""
        ms = self.accounting.percentiles()
        return {
            "sink": self.sink.address.text,
            "presented": self.accounting.presented,
            "drops": self.drops(),
            "ms": {name: ms[name] for name in SINK_FIGURES},
            "output_size": self.sink.size,
            "encoder": self.sink.encoder,
            "copies": self.sink.copies,
        }

    def wait(self, seconds: float) -> bool:
        """Wait for its thread to end, or for some seconds; whether nobody needs to wait for it."""
        return self.was_left or self.thread is None or self.thread.wait(seconds)

    def stands_still(self) -> bool:
        """Whether the sink has been busy with one picture for longer than it may be."""
        since = self._busy_since
        return since is not None and self.clock() - since > self.sink.patience_s

    def leave_behind(self) -> None:
        """Wait for it no longer: its thread is in a call that does not return."""
        self.was_left = True
        self._stop_taking()

    def close(self) -> None:
        """Close the sink, unless its thread is still in it."""
        if not self.was_left:
            self.sink.close()

    def _next(self) -> tuple[FinishedFrame, FrameTimes, Passage] | None:
        with self._changed:
            while not self._pictures:
                if self._ended:
                    return None
                self._changed.wait(POLL_SECONDS)
            item = self._pictures.popleft()
        self._bell.set()
        return item

    def _send(self, frame: FinishedFrame, times: FrameTimes, passage: Passage) -> None:
        began = self._busy_since = self.clock()
        try:
            encoded = self.sink.encode(self._held(frame))
            times.encoded = self.clock()
            self._span("encode", began, times.encoded, times.captured)
            sent = encoded is not None and self.sink.present(encoded)
        finally:
            self._busy_since = None
        if not sent:
            passage.missed()
            return
        times.presented = self.last = self.clock()
        self._span("present", times.encoded, times.presented, times.captured)
        self.accounting.frame_presented(times)
        passage.sent(times)

    def _held(self, frame: FinishedFrame) -> FinishedFrame:
        """The frame as the sink holds it: of 8 bits of SDR where it takes no more.

        A stream that changes between SDR, PQ and HLG goes on as what the sink began with.
        """
        if self.sink.reduces:
            return frame
        if not is_deep(frame.picture):
            return self._as_it_began(frame)
        hdr = frame.hdr is not None
        if hdr not in self._why_not_deep:
            self._why_not_deep[hdr] = self.sink.why_not_deep(hdr=hdr)
        if self._why_not_deep[hdr] or (hdr and self._began is not None and not self._began.hdr):
            frame = self._to_sdr.frame(frame)
        return self._as_it_began(frame)

    def _as_it_began(self, frame: FinishedFrame) -> FinishedFrame:
        """A frame in the HDR of the first one, where that was HDR."""
        if self._began is None:
            self._began = replace(frame, source=NOTHING, picture=NOTHING)
        began = self._began
        if began.hdr is None or began.hdr == frame.hdr:
            return frame
        return to_hdr(frame, began.colours, began.hdr)

    def _stop_taking(self) -> None:
        with self._changed:
            self._over = True
            left = [item[2] for item in self._pictures]
            self._after_end += len(left)
            self._pictures.clear()
        for each in left:
            each.missed()
        self._bell.set()

    def _span(self, stage: str, began: float, ended: float, captured: float) -> None:
        """Put its work on a picture into the trace, and how old the picture was by then."""
        if self._trace is not None:
            age_ms = round(1000 * (ended - captured), 3)
            self._trace.span(stage + self._label, stage, began, ended, age_ms=age_ms)
