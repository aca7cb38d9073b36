"""The network's thread: one for all streams of a process, each in its turn.

A round gives every stream that has a frame one run of the network, so that a fast camera gets no
more turns than a slow one, and one without frames, or whose sinks are full, keeps nobody waiting.
Streams carry their own past; a round is also what a network with a batch axis would take at once.

    turns = InferTurns(bell, [stages])
    turns.run()
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from .frame_queue import POLL_SECONDS
from .live_stages import LiveStages


class InferTurns:
    """Runs the network for streams until all have ended.

    Args:
        bell: Set by the streams whenever one may have something to do.
        streams: Those that are there at first.
    """

    def __init__(self, bell: threading.Event, streams: Iterable[LiveStages] = ()) -> None:
        self.bell = bell
        self._streams = list(streams)
        self._lock = threading.Lock()

    def join(self, stream: LiveStages) -> None:
        """Take one more stream in, from any thread; it leaves by ending."""
        with self._lock:
            self._streams.append(stream)
        self.bell.set()

    def round(self) -> bool:
        """Give every stream its turn once, and forget those that have ended.

        Returns:
            Whether the network ran for one of them.
        """
        with self._lock:
            streams = list(self._streams)
        ran = [stream.turn() for stream in streams]
        with self._lock:
            self._streams = [stream for stream in self._streams if not stream.is_over]
        return any(ran)

    def run(self) -> None:
        """Go round until no stream is left; in the network's thread."""
        while self._streams:
            self.bell.clear()
            if not self.round():
                self.bell.wait(POLL_SECONDS)
