"""Decode, infer and encode at the same time, in three threads with bounded queues between.

Every frame comes out, in order; memory does not depend on the video's length. The first error of
any stage stops all of them and is raised to the caller; so is Ctrl-C. Another thread may `stop` it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import av
from av.video.reformatter import VideoReformatter

from ..arrays import Frame, Levels
from ..pictures.limits import queue_length
from ..pictures.yuv_picture import AnyPicture, rgb_of
from .processing.processor import FrameProcessor
from .threads.stage_threads import StageThreads
from .threads.worker import Worker, wait_whatever_comes
from .video.compare import CompareSink
from .video.sink import FileSink
from .video.sink_plain import PlainSink
from .video.source import FileSource, SourceFrame

POLL_SECONDS = 0.1
"""How often a waiting stage looks whether to stop."""

T = TypeVar("T")
Item: TypeAlias = "SourceFrame | av.Packet[Any]"


@dataclass(frozen=True)
class FinishedFrame:
    """A frame on its way to the sinks."""

    picture: AnyPicture
    """(4H, 4W, 3) uint8 RGB, or YUV 4:2:0."""

    pts: int
    """Presentation time in ticks of the source's time base."""

    low: Frame | None
    """What it was made of, (H, W, 3), where it is compared."""

    alpha: Levels | None
    """Of the source, (H, W), where it is kept."""


@dataclass
class StageTimes:
    """Time one stage spent."""

    wall: float = 0.0
    """Seconds working, without waiting for its neighbours."""

    threads: StageThreads = field(default_factory=StageThreads)
    """CPU seconds, helper threads included."""

    watch: Callable[[float, float], None] | None = None
    """Called with the begin and end of every piece of work, by `time.monotonic`."""

    def worked(self, began: float) -> None:
        """Count the time since `began` as work."""
        now = time.monotonic()
        self.wall += now - began
        if self.watch is not None:
            self.watch(began, now)


@dataclass
class PipelineResult:
    """What a run of the pipeline did."""

    frames: int = 0
    """Frames written."""

    seconds: float = 0.0
    """Wall seconds from the first frame's decoding to the last one's encoding."""

    stages: dict[str, StageTimes] = field(
        default_factory=lambda: {name: StageTimes() for name in ("decode", "infer", "encode")}
    )


class StoppedError(Exception):
    """A stage was stopped before its end: another failed, or somebody stopped the run."""


class Pipeline:
    """One run from a source through a processor into a sink.

    Args:
        source: Opened.
        processor: Of an opened session, at the start of a stream.
        sink: Opened, its encoder started.
        scale: Of the network.
        compare: Takes both pictures of every frame as well; None for none.
        result: Filled while running; its stages may have claimed threads already.
        progress: Called in the encoding thread after every frame with the frames written.
    """

    def __init__(
        self,
        source: FileSource,
        processor: FrameProcessor,
        sink: FileSink | PlainSink,
        result: PipelineResult,
        progress: Callable[[int], None],
        *,
        scale: int,
        compare: CompareSink | None = None,
    ) -> None:
        self.source, self.processor, self.sink = source, processor, sink
        self.compare = compare
        self.result = result
        self.progress = progress
        self._stop = threading.Event()
        self._shown = VideoReformatter()
        self._error: BaseException | None = None
        self._cut_short = False
        frame_bytes = source.info.width * source.info.height * 3 * (2 if source.deep else 1)
        self._decoded: queue.Queue[Item | None] = queue.Queue(queue_length(frame_bytes))
        self._upscaled: queue.Queue[FinishedFrame | av.Packet[Any] | None] = queue.Queue(
            queue_length(frame_bytes * scale**2)
        )

    def run(self) -> PipelineResult:
        """Run to the end of the source.

        Raises:
            AdcVsrError: A stage failed.
            KeyboardInterrupt: The user interrupted; all stages have ended.
            StoppedError: It was stopped before the last frame was encoded.
        """
        began = time.monotonic()
        threads = [
            Worker(partial(self._guard, name, stage), name=f"adcvsr-{name}")
            for name, stage in (
                ("decode", self._decode),
                ("infer", self._infer),
                ("encode", self._encode),
            )
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while not thread.wait(POLL_SECONDS):
                    pass
        finally:
            self.stop()
            wait_whatever_comes(threads)
        if self._error is not None:
            raise self._error
        if self._cut_short:
            raise StoppedError
        self.result.seconds = time.monotonic() - began
        return self.result

    def stop(self) -> None:
        """End all stages after the frame they are at; from any thread, at any time."""
        self._stop.set()
        self.source.ended.set()

    def _guard(self, name: str, stage: Callable[[StageTimes], None]) -> None:
        times = self.result.stages[name]
        try:
            with times.threads.own():
                stage(times)
        except StoppedError:
            self._cut_short = True
        except BaseException as error:
            if self._error is None:
                self._error = error
            self._stop.set()
        finally:
            times.threads.sample()

    def _decode(self, times: StageTimes) -> None:
        for item in _timed(iter(self.source), times):
            self._put(self._decoded, item)
        self._put(self._decoded, None)

    def _infer(self, times: StageTimes) -> None:
        waiting: deque[Item] = deque()  # in reading order, until the frame before is finished
        while (item := self._get(self._decoded)) is not None:
            waiting.append(item)
            if isinstance(item, SourceFrame):
                self._pass_on(self.processor.push(item.picture), waiting, times)
            self._pass_packets(waiting)
        self._pass_on(self.processor.finish(), waiting, times)
        self._put(self._upscaled, None)

    def _pass_on(
        self, pictures: Iterator[AnyPicture], waiting: deque[Item], times: StageTimes
    ) -> None:
        """Hand finished pictures over at their frames' times, with the packets between."""
        for picture in _timed(pictures, times):
            frame = waiting.popleft()
            assert isinstance(frame, SourceFrame)
            low = frame.rgb if self.compare is not None else None
            self._put(self._upscaled, FinishedFrame(picture, frame.pts, low, frame.alpha))
            self._pass_packets(waiting)

    def _pass_packets(self, waiting: deque[Item]) -> None:
        """Hand over the packets that no unfinished frame precedes."""
        while waiting and not isinstance(packet := waiting[0], SourceFrame):
            waiting.popleft()
            self._put(self._upscaled, packet)

    def _encode(self, times: StageTimes) -> None:
        while (item := self._get(self._upscaled)) is not None:
            began = time.monotonic()
            if isinstance(item, FinishedFrame):
                self.sink.write(item.picture, item.pts, item.alpha)
                if self.compare is not None and item.low is not None:
                    self.compare.write(item.low, rgb_of(item.picture, self._shown), item.pts)
                self.result.frames += 1
                self.progress(self.result.frames)
            else:
                self.sink.carry(item)
            times.worked(began)
        began = time.monotonic()
        times.threads.claim_late()
        self.sink.flush()
        if self.compare is not None:
            self.compare.flush()
        times.worked(began)

    def _put(self, target: queue.Queue[T], item: T) -> None:
        while not self._stop.is_set():
            try:
                target.put(item, timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return
        raise StoppedError

    def _get(self, source: queue.Queue[T]) -> T:
        while not self._stop.is_set():
            try:
                return source.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
        raise StoppedError


def _timed(items: Iterator[T], times: StageTimes) -> Iterator[T]:
    """Yield items, counting the time spent making them."""
    while True:
        began = time.monotonic()
        try:
            item = next(items)
        except StopIteration:
            return
        finally:
            times.worked(began)
        yield item
