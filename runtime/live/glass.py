"""Latency from glass to glass: the output is received again, and the time in its pictures read."""

from __future__ import annotations

import threading
from types import TracebackType

from av.video.reformatter import VideoReformatter

from ...errors import AdcVsrError
from .accounting import Accounting
from .notes import Notes
from .pattern import age_of, read_time, wall_ms
from .source import open_source


class GlassReader:
    """Receives a stream of coded pictures in a thread of its own and accounts for their age.

    Args:
        address: Of a source.
        accounting: Gets an age for every picture.

    Raises:
        ConfigError: No such source.
    """

    def __init__(self, address: str, accounting: Accounting) -> None:
        self._stop = threading.Event()
        self._source = open_source(address, self._stop)
        self._accounting = accounting
        self._thread = threading.Thread(target=self._read, name="adcvsr-glass")
        self.notes = Notes()
        """Lines worth telling the user."""
        self.unread = 0
        """Pictures whose time could not be read."""

    def __enter__(self) -> GlassReader:
        """Start to receive."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop; waits as long as the source's time-out."""
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        reformatter = VideoReformatter()
        try:
            for frame in self._source.frames():
                coded = read_time(frame.rgb(reformatter))
                if coded is None:
                    self._miss()
                else:
                    self._accounting.picture_seen(age_of(coded, wall_ms()))
        except AdcVsrError as error:
            if not self._stop.is_set():
                self.notes.add(f"glass to glass is not measured: {error}")

    def _miss(self) -> None:
        self.unread += 1
        if self.unread == 1:
            self.notes.add("pictures came back whose time cannot be read: is the source test://?")
