"""The HTTP side of the preview page: bounded, with a token where it is needed.

server = PageServer("127.0.0.1", 8080, token="", max_viewers=4)
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ...errors import OutputNotWritableError
from .model_switch import ModelSwitch
from .page_callers import Callers
from .page_requests import LOOPBACK_NAMES, TIMEOUT_S, RequestHandler

MAX_REQUESTS = 32
"""Connections besides viewers at a time; for further ones the oldest are closed."""


class PageServer:
    """Serves the page from threads of its own.

    Args:
        host: Address to listen at.
        port: 0 for any.
        token: Asked of every request; empty for none, which is for loopback alone.
        max_viewers: Streams of pictures at a time.

    Raises:
        OutputNotWritableError: The address is taken or is not this machine's.
    """

    def __init__(self, host: str, port: int, token: str, max_viewers: int) -> None:
        self.token, self.max_viewers = token, max_viewers
        self.viewers = 0
        """Streams of pictures that run."""
        self._viewers_of: Counter[str] = Counter()
        self.page = Path(__file__).with_name("page.html").read_bytes()
        self.stats, self.metrics = b"{}", b""
        self.switch: ModelSwitch | None = None
        """Between models, once there is one."""
        self.callers = Callers(MAX_REQUESTS)
        self.closed = False
        self._news = threading.Condition()
        self._pair, self._number = b"", 0
        try:
            self._server = HttpServer((host, port), self)
        except OSError as error:
            raise OutputNotWritableError(
                f"cannot listen at {host}:{port}: {error.strerror or error}; choose another port"
            ) from error
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="adcvsr-page", daemon=True
        )
        self._thread.start()

    def show(self, pair: bytes) -> None:
        """Make a record of pictures the newest."""
        with self._news:
            self._pair, self._number = pair, self._number + 1
            self._news.notify_all()

    def tell(self, stats: bytes, metrics: bytes) -> None:
        """Set what `/stats` and `/metrics` answer."""
        self.stats, self.metrics = stats, metrics

    def next_pair(self, after: int) -> tuple[bytes, int]:
        """Wait for a record newer than number `after`; the same number where none comes in time."""
        with self._news:
            self._news.wait_for(lambda: self._number > after or self.closed, TIMEOUT_S / 2)
            return self._pair, self._number

    def admit_viewer(self, client: str) -> bool:
        """Count one viewer more, if there is room.

        A client leaves a place to others, except on loopback, where a tunnel's ends all look alike.

        Args:
            client: Address he comes from.
        """
        with self._news:
            most = self.max_viewers
            if client not in LOOPBACK_NAMES:
                most = max(most - 1, 1)
            room = self.viewers < self.max_viewers and self._viewers_of[client] < most
            self.viewers += room
            self._viewers_of[client] += room
            return room

    def leave_viewer(self, client: str) -> None:
        """Count one less."""
        with self._news:
            self.viewers -= 1
            self._viewers_of[client] -= 1
            self._viewers_of += Counter()  # forgets who has none

    def close(self) -> None:
        """Stop listening and let viewers go."""
        if self.closed:
            return
        with self._news:
            self.closed = True
            self._news.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class HttpServer(ThreadingHTTPServer):
    """Listens for a page, and knows who is connected."""

    daemon_threads = True  # a viewer that takes nothing must not hold up the end
    request_queue_size = MAX_REQUESTS

    def __init__(self, place: tuple[str, int], page: PageServer) -> None:
        self.page = page
        if ":" in place[0]:
            self.address_family = socket.AF_INET6
        super().__init__(place, RequestHandler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """See `BaseServer`."""
        self.page.callers.arrived(request, client_address[0])
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """See `BaseServer`."""
        self.page.callers.left(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: viewers come and go."""
