"""The HTTP side of the preview page: bounded, with a token where it is needed.

server = PageServer("127.0.0.1", 8080, token="", max_viewers=4)
"""

from __future__ import annotations

import threading
from typing import ClassVar

from ...errors import OutputNotWritableError
from .page_requests import HttpServer, RequestHandler
from .page_state import PageState


class PageServer(PageState):
    """Serves the page from threads of its own.

    Args:
        host: Address to listen at.
        port: 0 for any.
        token: Asked of every request; empty for none, which is for loopback alone.
        max_viewers: Streams of pictures at a time.

    Raises:
        OutputNotWritableError: The address is taken or is not this machine's.
    """

    handler: ClassVar[type[RequestHandler]] = RequestHandler

    def __init__(self, host: str, port: int, token: str, max_viewers: int) -> None:
        super().__init__(token, max_viewers)
        try:
            self._server = HttpServer((host, port), self, self.handler)
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

    def close(self) -> None:
        """Stop listening and let viewers go."""
        if self.closed:
            return
        self.let_go()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
