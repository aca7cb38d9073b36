"""One stream of a live run: its capture and its sinks, a thread each, and its turns at the network.

The network's thread is the run's (`infer_turns`): it serves one stream or many and gives each a
turn. What a stream needs is its own: the past, the queue, the sinks, the figures.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...arrays import Frame
from ...pictures.colour import Colours
from ...pictures.crop import Crop
from ...pictures.hdr import HdrFacts
from ...pictures.yuv_picture import AnyPicture
from ..threads.frame_queue import Channel, WaitingFrames
from ..threads.stages import Stages
from ..threads.worker import Worker
from ..trace import Trace
from ..upscaler import Upscaler
from .accounting import Accounting, FrameTimes
from .content_watch import ContentWatch
from .depth import Depth, is_deep
from .live_report import LiveOptions
from .outputs import ALONE_WAITING, TOGETHER_WAITING, Output, Passage
from .pixels import LivePixels
from .resets import Placed, Reason, ResetPolicy, StreamWatch, capture
from .sink import FinishedFrame, VideoSink
from .source import UNKNOWN_RATE, LiveFrame, VideoSource
from .zoom import Zoom

JITTER_S = 0.002
"""A frame that is this late is still waited for, where frames of others wait to run with it."""


@dataclass(frozen=True)
class Taken:
    """A frame on its way through the network."""

    placed: Placed
    low: AnyPicture
    """What the network gets: (H, W, 3) uint8 RGB, or YUV 4:2:0."""
    times: FrameTimes
    colours: Colours
    """What the numbers of `low` mean."""
    hdr: HdrFacts | None = None
    """Where they are PQ or HLG."""


class LiveStages:
    """Capture, network and output of one stream.

    Args:
        source: Opened when the threads start.
        upscaler: Used by the network's thread alone while it runs; its past is the stream's.
        sinks: Each used by a thread of its own.
        options: Of the run.
        accounting: Counts frames and times.
        ending: Set to end the source; what it gave is finished.
        bell: Set whenever the stream may have something for the network.
        zoom: Which part of each frame is upscaled.
        content: Looks at the frames the network gets.
        swap: Called between frames by the network's thread; whether the network is another now.
        passed: Called by an output's thread after each frame, also one its sink dropped.
        depth: Says what of more than 8 bits is kept; without it all is reduced.
        trace: Collects when each frame was in the network, encoded and presented.
        name: Of the stream, where there are several.
    """

    def __init__(
        self,
        source: VideoSource,
        upscaler: Upscaler,
        sinks: Sequence[VideoSink],
        options: LiveOptions,
        accounting: Accounting,
        ending: threading.Event,
        *,
        bell: threading.Event,
        zoom: Zoom,
        content: ContentWatch,
        swap: Callable[[], bool],
        passed: Callable[[], None],
        depth: Depth | None = None,
        trace: Trace | None = None,
        name: str = "",
    ) -> None:
        self.source, self.upscaler = source, upscaler
        self.options, self.accounting = options, accounting
        self.clock = time.monotonic
        self.first: float | None = None
        """When the first frame was captured."""
        self.input_size: tuple[int, int] | None = None
        """Width and height of what the network took last."""
        self.is_over = False
        """Whether the network gets nothing from it any more."""
        self.reset_asked = threading.Event()
        """Set by any thread: the past is forgotten before the next frame."""
        self._put_at = 0.0  # when the latest frame was there
        self._ending, self._swap, self._zoom = ending, swap, zoom
        self._content = content
        self._trace, self._label = trace, f" {name}" if name else ""
        self._nobody_takes = threading.Event()  # what is captured
        self._stages = Stages(failed=ending.set, ended=self._stop_without_sinks)
        self._resets = ResetPolicy(cuts=options.cut_reset)
        self.pixels = LivePixels(upscaler, options.pixels, depth, times=_times_of(sinks))
        limit = options.max_latency_ms
        self._bell = bell
        self._late: deque[Taken] = deque()
        """Frames whose pictures are still to come, where the network looks ahead."""
        self._tail: Generator[Frame, None, None] | None = None
        """Their pictures, once nothing follows in their stream."""
        self._held: tuple[Placed, Crop | None, Reason] | None = None
        """A frame that waits for these, what of it is upscaled, why it begins a new stream."""
        self._captured: Channel[Placed] = Channel(
            WaitingFrames(options.policy, None if limit is None else limit / 1000),
            self._nobody_takes,
            self.clock,
            bell,
        )
        alone = len(sinks) == 1
        self.outputs = [
            Output(
                sink,
                ALONE_WAITING if alone else TOGETHER_WAITING,
                bell,
                passed=passed,
                trace=trace,
                label=self._label if alone else f"{self._label} {sink.address.text}",
            )
            for sink in sinks
        ]

    def start(self) -> list[Worker]:
        """Start the threads; returns capture's, and each output has its own."""
        capture = self._stages.add("capture", self._capture)
        for output in self.outputs:
            # One that is left behind must not hold up the end of the process.
            output.thread = self._stages.add("present", output.run, daemon=True)
        self._stages.start(self.call_off)
        return [capture]

    def call_off(self) -> None:
        """End everything without finishing what was captured."""
        self._ending.set()
        self._nobody_takes.set()
        self._end_outputs()

    def close(self) -> None:
        """Let go of the network; called when its thread has ended."""
        if self._tail is not None:
            self._tail.close()
            self._tail = None

    @property
    def error(self) -> BaseException | None:
        """The first one of any thread."""
        return self._stages.error

    @property
    def rate(self) -> Fraction:
        """Nominal frames a second."""
        return self.source.rate or UNKNOWN_RATE

    @property
    def last(self) -> float:
        """When the latest picture was out; 0 before the first."""
        return max(output.last for output in self.outputs)

    def seconds_until(self, moment: float) -> float:
        """Seconds from the first frame's capture; 0 where there is none yet.

        Args:
            moment: On `clock`.
        """
        return max(moment - self.first, 0.0) if self.first is not None else 0.0

    def drops(self) -> dict[str, int]:
        """Frames dropped so far, by reason; `sink` are those that no sink sent."""
        counts: Counter[str] = Counter()
        for drops in (self._captured.waiting.drops, self.source.drops):
            counts.update(dict(drops))  # a copy: other threads count on
        counts += Counter(sink=self.accounting.lost)
        return dict(sorted(counts.items()))

    def turn(self) -> bool:
        """Give the network one frame, if there is one and its picture has somewhere to go.

        Never waits. An error ends this stream, and is kept in `error`.

        Returns:
            Whether the network ran.
        """
        taken = self.take()
        if taken is not None:
            self.upscale(taken)
        return taken is not None

    def take(self) -> Taken | None:
        """Take the next frame for the network, where `turn` would; `upscale` has to follow."""
        if self.is_over:
            return None
        if self._nobody_takes.is_set():
            self._end_outputs()
            return None
        try:
            if not self._is_over_but_late():
                return self._take_next()
        except BaseException as error:
            self.give_up(error)
        return None

    def _take_next(self) -> Taken | None:
        if not self._has_room():
            return None
        if self._tail is not None:
            self._give_late(self._tail)
            return None
        if self._held is not None:
            held, self._held = self._held, None
            return self._prepared(*held)
        placed = self._captured.poll(self.accounting.ahead_seconds())
        return None if placed is None else self._prepare(placed)

    def _is_over_but_late(self) -> bool:
        """End the outputs where nothing comes any more, or begin with what is late."""
        if self._tail is not None or self._held is not None or not self._captured.is_over:
            return False
        if self._late:
            self._tail = self.upscaler.finish()
            return False
        self._end_outputs()
        return True

    def _give_late(self, tail: Iterator[Frame]) -> None:
        """Pass on one more of the pictures that are late."""
        picture = next(tail, None)
        if picture is None:
            self._tail = None
            self._late.clear()
        else:
            self._pass_on(self._late.popleft(), picture)
        self._bell.set()

    def upscale(self, taken: Taken) -> None:
        """Run the network, if it did not run ahead, and pass the picture on; see `turn`."""
        try:
            self._finish(taken)
        except BaseException as error:
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """End this stream for an error in the network's thread."""
        self.fail(error)
        self._nobody_takes.set()

    @property
    def batches(self) -> bool:
        """Whether its frames may run in one batch with those of others."""
        return self.upscaler.batches and not self.is_over

    def is_due(self, now: float, until: float) -> bool:
        """Whether its next frame is expected between two moments and has not come.

        A camera that stands still, or is away, is not waited for: its frame was due long ago.
        """
        due = self._put_at + float(1 / self.rate)
        return now - JITTER_S <= due <= until and not self.has_frame

    @property
    def has_frame(self) -> bool:
        """Whether a frame waits for the network."""
        return len(self._captured.waiting) > 0

    @property
    def is_ending(self) -> bool:
        """Whether no more frames are captured; those that were are finished."""
        return self._ending.is_set() or self._captured.has_ended

    def leave_behind(self, output: Output) -> None:
        """Wait no longer for a sink whose call does not return."""
        output.leave_behind()
        self._stop_without_sinks()

    def _has_room(self) -> bool:
        """Whether the network may go on: with `every` all sinks have room, else one has."""
        enough = all if self.options.policy == "every" else any
        return enough(each.has_room for each in self.outputs if not each.is_over)

    def _end_outputs(self) -> None:
        self.is_over = True
        for output in self.outputs:
            output.end()

    def _stop_without_sinks(self) -> None:
        """Without a sink nobody takes what is captured."""
        if all(output.is_over for output in self.outputs):
            self._nobody_takes.set()

    def fail(self, error: BaseException) -> None:
        """End the stream for an error; the first one counts."""
        self._stages.fail(error)

    def _capture(self) -> None:
        capture(self.source, self._captured, StreamWatch(self.options.stall_frames), self._came)

    def _came(self, frame: LiveFrame) -> None:
        self.first = frame.captured if self.first is None else self.first
        self.accounting.frame_captured()
        self._put_at = self.clock()

    def _prepare(self, placed: Placed) -> Taken | None:
        """Make a frame ready; None where pictures of the stream before it are still to come."""
        frame, taken = placed.frame, self.clock()
        name = self.source.address.text
        part = self._zoom.part(name, *frame.size)
        size = frame.size if part is None else (part.width, part.height)
        if size != self.input_size:
            self.upscaler.check_memory(name, *size, deep=self.pixels.keeps_deep(frame))
        self.input_size = size
        if self._swap():
            self.accounting.reset("model")
        reason = self._resets.reason(placed) or ("crop" if self._zoom.changed else None)
        if self.reset_asked.is_set():
            self.reset_asked.clear()
            reason = "asked"
        if reason is not None and self._late:
            self._held, self._tail = (placed, part, reason), self.upscaler.finish()
            self._bell.set()
            return None
        return self._prepared(placed, part, reason, taken)

    def _prepared(
        self, placed: Placed, part: Crop | None, reason: Reason | None, taken: float | None = None
    ) -> Taken:
        frame = placed.frame
        times = FrameTimes(frame.captured, taken=self.clock() if taken is None else taken)
        if reason is not None:
            self.upscaler.reset()
            if self.upscaler.session.bundle.state:  # else there is no past to forget
                self.accounting.reset(reason)
            if reason == "cut":
                self._content.cut(self.upscaler.session.variant)
        low = self.pixels.take(frame, part)
        if not is_deep(low):  # which another variant runs, that was calibrated on nothing
            self._content.look(low, frame.luma, self.upscaler.session.variant, times.taken)
        return Taken(placed, low, times, self.pixels.colours, self.pixels.hdr)

    def _finish(self, taken: Taken) -> None:
        picture = self.pixels.run(taken.low)
        if self.upscaler.bundle.delay:
            self._late.append(taken)
            taken = self._late[0]
            if picture is not None:
                self._late.popleft()
        if picture is not None:
            self._pass_on(taken, picture)

    def _pass_on(self, taken: Taken, picture: AnyPicture) -> None:
        """Give a picture to all sinks."""
        placed, low, times = taken.placed, taken.low, taken.times
        frame = placed.frame
        times.inferred = self.clock()
        if self._trace is not None:
            age_ms = round(1000 * (times.inferred - times.captured), 3)
            track = f"infer{self._label}"
            self._trace.span(track, "infer", times.taken, times.inferred, age_ms=age_ms)
        done = FinishedFrame(
            low, picture, placed.time, self.rate, taken.colours, frame.captured, taken.hdr
        )
        passage = Passage(self.accounting, len(self.outputs))
        for output in self.outputs:
            output.put(done, times, passage)


def _times_of(sinks: Sequence[VideoSink]) -> int:
    """How many times the input's size all pictures are wanted that are asked to be of some size."""
    sizes = [size for sink in sinks if (size := sink.encode_options.size) is not None]
    scales = {size.scale for size in sizes}
    return (scales.pop() or 0) if len(scales) == 1 else 0
