"""The network's thread: one for all streams of a process, each in its turn.

A round gives every stream that has a frame one run of the network, so that a fast camera gets no
more turns than a slow one, and one without frames, or whose sinks are full, keeps nobody waiting.
Streams of more priority come first within a round. Frames of one size run in one batch where the
network takes one: those that are there, and those due within `BATCH_WAIT_S`.

    turns = InferTurns(bell, [stages])
    turns.run()
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import cast

from ..sessions.batch_slots import run_ahead
from ..sessions.stream_session import StreamSession
from ..threads.frame_queue import POLL_SECONDS
from .live_stages import LiveStages

BATCH_WAIT_S = 0.004
"""A frame waits this long for those of others to run with; never for one that is overdue."""


class InferTurns:
    """Runs the network for streams until all have ended.

    Args:
        bell: Set by the streams whenever one may have something to do.
        streams: Those that are there at first.
        stays: Whether it goes on without streams, until `end`.
    """

    def __init__(
        self, bell: threading.Event, streams: Iterable[LiveStages] = (), *, stays: bool = False
    ) -> None:
        self.bell, self._stays = bell, stays
        self.clock = time.monotonic
        self.batches: Counter[int] = Counter()
        """How often so many frames ran in one batch."""
        self._streams = list(streams)
        self._lock = threading.Lock()

    def join(self, stream: LiveStages) -> None:
        """Take one more stream in, from any thread; it leaves by ending."""
        with self._lock:
            self._streams.append(stream)
        self.bell.set()

    def end(self) -> None:
        """Go on until no stream is left, and no longer; from any thread."""
        self._stays = False
        self.bell.set()

    def round(self) -> bool:
        """Give every stream its turn once, and forget those that have ended.

        Returns:
            Whether the network ran for one of them.
        """
        with self._lock:
            streams = sorted(self._streams, key=lambda each: -each.options.priority)
        ran = False
        for _, equals in groupby(streams, key=lambda each: each.options.priority):
            ran |= self._serve(list(equals))
        with self._lock:
            self._streams = [stream for stream in self._streams if not stream.is_over]
        return ran

    def run(self) -> None:
        """Go round until no stream is left; in the network's thread."""
        while self._streams or self._stays:
            self.bell.clear()
            self._wait_for_company()
            if not self.round():
                self.bell.wait(POLL_SECONDS)

    def _serve(self, streams: Sequence[LiveStages]) -> bool:
        """Those that may share a batch together, then the others one by one."""
        batched = [stream for stream in streams if stream.batches]
        if len(batched) < 2:
            batched = []
        taken = [(stream, frame) for stream in batched if (frame := stream.take()) is not None]
        try:
            together = [
                (cast("StreamSession", stream.upscaler.session_of(frame.low)), frame.low)
                for stream, frame in taken
            ]
            self.batches.update(run_ahead(together))
        except Exception as error:
            for stream, _ in taken:
                stream.give_up(error)
            taken = []
        for stream, frame in taken:
            stream.upscale(frame)
        turns = [stream.turn() for stream in streams if stream not in batched]
        return bool(taken) or any(turns)

    def _wait_for_company(self) -> None:
        with self._lock:
            streams = [stream for stream in self._streams if stream.batches]
        if len(streams) < 2:
            return
        end = self.clock() + BATCH_WAIT_S
        while any(stream.has_frame for stream in streams):
            now = self.clock()
            if now >= end or not any(stream.is_due(now, end) for stream in streams):
                return
            self.bell.wait(end - now)
            self.bell.clear()
