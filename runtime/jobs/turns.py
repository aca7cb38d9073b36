"""Segments one after another without a pause: the network goes from one to the next at once.

While a segment's encoder empties and its file is forced to the disk, the network already has the
next one's frames, which were read ahead. Each segment is made in a thread of its own, of which two
run at once at most; only the network, whose state belongs to one stream, is waited for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from ...pictures.yuv_picture import AnyPicture
from ..pipeline import Pipeline
from ..processing.cut_reset import CutResetProcessor
from ..processing.processor import FrameProcessor
from ..threads.frame_queue import POLL_SECONDS, StoppedError
from ..threads.worker import Worker, wait_whatever_comes
from .plan import Segment

AT_ONCE = 2
"""Segments: one whose frames are read, and one that is encoded to its end."""


class Hold:
    """What others know of a segment that is made in another thread, and how they end it."""

    def __init__(self) -> None:
        self.read = threading.Event()
        """Set when no more of the source will be read."""
        self._stopped = threading.Event()
        self._pipeline: Pipeline | None = None

    @property
    def stopped(self) -> bool:
        """Whether it is to end as it is."""
        return self._stopped.is_set()

    def run(self, pipeline: Pipeline) -> None:
        """Run a pipeline, unless it was stopped before.

        Raises:
            StoppedError: It was stopped, now or before.
        """
        self._pipeline = pipeline
        if self.stopped:
            raise StoppedError
        pipeline.run()

    def stop(self) -> None:
        """End it as it is; a segment whose last picture is encoded is finished all the same."""
        self._stopped.set()
        if self._pipeline is not None:
            self._pipeline.stop()


class TurnProcessor(FrameProcessor):
    """The network for the length of one segment: from its first frame to its last picture.

    Args:
        inner: The network's, used by all segments in turn.
        cuts: What of it looks for cuts; None where they do not matter.
        turn: Who has the network.
        segment: The one to be made.
        hold: Of the segment.
    """

    def __init__(
        self,
        inner: FrameProcessor,
        cuts: CutResetProcessor | None,
        turn: threading.Lock,
        segment: Segment,
        hold: Hold,
    ) -> None:
        self.held = 0.0
        """Seconds for which the segment had the network; known at the end."""
        self.scene_cuts: int | None = None
        """Cuts of the segment without those before and after it, known at the end; None where none
        are looked for."""
        self._inner, self._cuts, self._turn = inner, cuts, turn
        self._hold = hold
        self._at, self._own = 0, range(segment.warm_up, segment.warm_up + segment.frames)
        self._counted = 0
        self._facts: dict[str, Any] = {}
        self._ours = False
        self._since = 0.0

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`; the first one waits for the network.

        Raises:
            StoppedError: The segment was stopped meanwhile.
        """
        self._take()
        before = self._cuts.cuts if self._cuts is not None else 0
        yield from self._inner.push(frame)
        if self._cuts is not None and self._at in self._own:
            self._counted += self._cuts.cuts - before
        self._at += 1

    def finish(self) -> Iterator[AnyPicture]:
        """See `FrameProcessor`; the next segment gets the network."""
        self._take()
        yield from self._inner.finish()
        self._facts = self._inner.facts()
        if self._cuts is not None:
            self.scene_cuts = self._counted
        self.reset()

    def reset(self) -> None:
        """Give the network back; safe at any time."""
        if self._ours:
            self._inner.reset()
            self._ours = False
            self.held = time.monotonic() - self._since
            self._turn.release()

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`; known at the end."""
        return self._facts

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        return self._inner.notes()

    def _take(self) -> None:
        if self._ours:
            return
        while not self._turn.acquire(timeout=POLL_SECONDS):
            if self._hold.stopped:
                raise StoppedError
        self._ours = True
        self._since = time.monotonic()
        self._inner.reset()


class _Making:
    """One segment and its thread."""

    def __init__(self, index: int, make: Callable[[Hold], None]) -> None:
        self.index, self.hold = index, Hold()
        self.error: BaseException | None = None
        self._make = make
        self.thread = Worker(self._run, name=f"adcvsr-segment-{index}")

    def _run(self) -> None:
        try:
            self._make(self.hold)
        except BaseException as error:
            self.error = error
        finally:
            self.hold.read.set()


class Turns:
    """Makes segments in their order, two at once where they overlap. Use it as a context manager.

    Args:
        settle: Called by `ready` with each segment that is over, in their order, and its error;
            raises where those after it shall not go on.
    """

    def __init__(self, settle: Callable[[int, BaseException | None], None]) -> None:
        self._settle = settle
        self._making: deque[_Making] = deque()

    def __enter__(self) -> Turns:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait for what is under way; it is stopped first where an error ends the block."""
        for each in self._making:
            if error is not None:
                each.hold.stop()
        wait_whatever_comes([each.thread for each in self._making])

    def start(self, index: int, make: Callable[[Hold], None]) -> None:
        """Begin a segment; call `ready` before.

        Args:
            index: Its number.
            make: Makes it, in another thread.
        """
        making = _Making(index, make)
        self._making.append(making)
        making.thread.start()

    def ready(self, *, alone: bool = False) -> None:
        """Wait until the next segment may begin.

        Args:
            alone: Whether nothing else shall be under way by then.
        """
        while self._making:
            going = [each for each in self._making if not each.thread.wait(0)]
            while self._making and self._making[0] not in going:
                over = self._making.popleft()
                self._settle(over.index, over.error)
            if not going:
                continue
            if alone or len(going) >= AT_ONCE:
                going[0].thread.wait(POLL_SECONDS)
            elif going[-1].hold.read.wait(POLL_SECONDS):
                return
