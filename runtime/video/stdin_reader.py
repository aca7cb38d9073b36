"""Standard input as FFmpeg reads it, without being held up by a program that sends nothing."""

from __future__ import annotations

import os
import select
import threading

from .y4m_header import HEAD_BYTES

STDIN_FD = 0

POLL_S = 0.2
"""How often a wait looks whether reading is to end."""

CHUNK_BYTES = 1 << 20


class StdinReader:
    """A file object for PyAV.

    Args:
        ended: Set to end: standard input then seems to be at its end.
    """

    name = "-"

    def __init__(self, ended: threading.Event) -> None:
        self._ended = ended
        self.bytes_read = 0
        self.head = b""
        """The first bytes that were read."""

    def read(self, count: int) -> bytes:
        """Up to so many bytes; none at the end."""
        while not self._ended.is_set():
            if select.select([STDIN_FD], [], [], POLL_S)[0]:
                data = os.read(STDIN_FD, count)
                self.bytes_read += len(data)
                self.head += data[: HEAD_BYTES - len(self.head)]
                return data
        return b""
