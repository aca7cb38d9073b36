"""Who is connected to the preview page, and who has to go when more come.

Whoever sends nothing, or a letter at a time, or does not take his answer keeps his connection;
whoever behaves is done within milliseconds. So, where there is no room for a new one, the oldest
connection goes, of the client that has the most.

    callers = Callers(32)
    callers.arrived(connection, "10.0.0.7")
    callers.left(connection)
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections import Counter
from contextlib import suppress

SERVED_S = 10.0
"""A request has to be there this long after the connection, however slowly it comes."""

MAX_REQUEST_BYTES = 16 << 10
"""Of a request line with its headers and its body."""


class TooLongError(OSError):
    """A request has more bytes than any of ours."""


class Callers:
    """Connections that are being served; the oldest of the greediest client makes room.

    Args:
        most: Connections at a time.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.evicted = 0
        """Connections that had to go."""
        self._clients: dict[socket.socket, str] = {}  # in the order they came
        self._lock = threading.Lock()

    def arrived(self, connection: socket.socket, client: str) -> None:
        """Take a connection in; another one may be ended for it.

        Args:
            connection: Accepted.
            client: Address it comes from.
        """
        with self._lock:
            if len(self._clients) >= self.most:
                counts = Counter(self._clients.values())
                greediest = max(counts.values())
                oldest = next(c for c, who in self._clients.items() if counts[who] == greediest)
                del self._clients[oldest]
                self.evicted += 1
                with suppress(OSError):  # gone by itself meanwhile
                    oldest.shutdown(socket.SHUT_RDWR)
            self._clients[connection] = client

    def left(self, connection: socket.socket) -> None:
        """Forget a connection: it is over, or counted elsewhere from now on."""
        with self._lock:
            self._clients.pop(connection, None)


class RequestReader(io.RawIOBase):
    """What a connection sends, up to a moment and up to a size.

    Args:
        connection: Its time-out is set before each piece.
        deadline: By `time.monotonic`, seconds.

    Raises:
        TimeoutError: When read after the deadline.
        TooLongError: When read beyond `MAX_REQUEST_BYTES`.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._left = MAX_REQUEST_BYTES

    def readable(self) -> bool:
        """See `io.RawIOBase`."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `io.RawIOBase`."""
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the request is not complete in time")
        if self._left <= 0:
            raise TooLongError("the request is too long")
        self._connection.settimeout(remaining)
        count = self._connection.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count
