"""What the preview page is asked and answers: who may ask, page, figures, wishes, pictures.

Each connection has a `RequestHandler` in a thread of its own; what it may take is bounded by
`page_callers`.
"""

from __future__ import annotations

import hmac
import io
import json
import socket
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ...errors import AdcVsrError
from ...reading import Item, parse_json
from .model_switch import ModelSwitch, SwitchRefusedError
from .page_callers import SERVED_S, RequestReader, TooLongError
from .page_state import LOOPBACK_NAMES, MAX_REQUESTS, TIMEOUT_S, PageState
from .zoom import Zoom, read_wish

SEND_BYTES = 1 << 18
"""Kept by the system for a viewer: about a pair of pictures, so that a slow one sees late frames
only by one, and skips the others."""

JSON = "application/json"

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data: blob:",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

MAX_BODY_BYTES = 4096
"""Of a wish."""

WISHES = {
    "/models": 'expected {"model": "...", "variant": "..."}',
    "/crop": 'expected {"crop": "WxH+X+Y"}, or {"crop": null} for the whole picture',
}
"""Where wishes go, and what they look like."""

UNKNOWN_HOST = (
    "this page is not served under that host name: open it as http://127.0.0.1:PORT or "
    "http://localhost:PORT, or give it a token (docs/live.md)"
)
"""To who came by another name than loopback's, to a page without a token."""


class RequestHandler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: HttpServer
    timeout = TIMEOUT_S
    server_version, sys_version = "adcvsr", ""
    requestline, request_version, command = "", "HTTP/1.0", ""  # until they are read

    def setup(self) -> None:
        """See `StreamRequestHandler`; the request has to be complete in time, and short."""
        super().setup()
        self.rfile.close()
        reader = RequestReader(self.connection, time.monotonic() + SERVED_S)
        self.rfile = io.BufferedReader(reader)

    def handle(self) -> None:
        """See `BaseHTTPRequestHandler`; what comes too slowly or is too long is told so."""
        try:
            super().handle()
        except TooLongError:
            self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except TimeoutError:
            self._give_up(HTTPStatus.REQUEST_TIMEOUT)

    def parse_request(self) -> bool:
        """See `BaseHTTPRequestHandler`; addresses that make no sense are refused here."""
        if not super().parse_request():
            return False
        self.connection.settimeout(TIMEOUT_S)
        try:
            for address in (self.path, f"//{self.headers.get('Host', '')}"):
                _ = urlsplit(address).hostname
        except ValueError:
            self._give_up(HTTPStatus.BAD_REQUEST)
            return False
        return True

    @property
    def page(self) -> PageState:
        """What is asked for."""
        return self.server.page

    def do_GET(self) -> None:
        """Answer one request."""
        if self._is_admitted():
            self._get(urlsplit(self.path).path)

    def _get(self, path: str) -> None:
        page = self.page
        if path == "/":
            self._answer(page.page, "text/html; charset=utf-8")
        elif path == "/stats":
            self._answer(page.stats, JSON)
        elif path == "/metrics":
            self._answer(page.metrics, "text/plain; version=0.0.4; charset=utf-8")
        elif path == "/models":
            self._answer_json(page.switch.state() if page.switch else {})
        elif path == "/crop":
            self._answer_json(page.zoom.state() if page.zoom else {})
        elif path == "/pictures":
            self._stream()
        else:
            known = "there are /, /pictures, /stats, /metrics, /models and /crop"
            self._refuse(HTTPStatus.NOT_FOUND, known)

    def do_POST(self) -> None:
        """Take a wish: another model to `/models`, another part of the picture to `/crop`."""
        if self._is_admitted():
            self._post(urlsplit(self.path).path)

    def do_DELETE(self) -> None:
        """Take something away."""
        if self._is_admitted():
            self._delete(urlsplit(self.path).path)

    def _delete(self, path: str) -> None:
        self._refuse(HTTPStatus.NOT_FOUND, f"there is nothing to delete at {path}")

    def _post(self, path: str) -> None:
        page = self.page
        if path not in WISHES or page.switch is None or page.zoom is None:
            self._refuse(HTTPStatus.NOT_FOUND, "POST goes to /models or /crop, while a stream runs")
        elif not self._comes_from_the_page():
            self._refuse(HTTPStatus.FORBIDDEN, f"only from this page, as {JSON}")
        elif (wish := self._read_wish()) is None:
            self._refuse(HTTPStatus.BAD_REQUEST, WISHES[path])
        elif path == "/models":
            self._switch(page.switch, wish)
        else:
            self._zoom(page.zoom, wish)

    def _switch(self, switch: ModelSwitch, wish: Item) -> None:
        try:
            model, variant = wish["model"].text(), wish["variant"].text()
        except AdcVsrError:
            self._refuse(HTTPStatus.BAD_REQUEST, WISHES["/models"])
            return
        try:
            switch.ask(model, variant)
        except SwitchRefusedError as error:
            self._refuse(HTTPStatus.CONFLICT, str(error))
        else:
            self._answer_json(switch.state(), HTTPStatus.ACCEPTED)

    def _zoom(self, zoom: Zoom, wish: Item) -> None:
        try:
            zoom.ask(read_wish(wish.value))
        except AdcVsrError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._answer_json(zoom.state(), HTTPStatus.ACCEPTED)

    def _give_up(self, status: HTTPStatus) -> None:
        self.connection.settimeout(TIMEOUT_S)
        self.close_connection = True
        self.send_error(status)

    def log_message(self, *args: Any) -> None:
        """Log nothing: addresses hold tokens."""

    def _is_admitted(self) -> bool:
        """Whether who asks may; else he is told."""
        if not self._host_is_ours():
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, UNKNOWN_HOST)
        elif not self._may(urlsplit(self.path).query):
            self._refuse(HTTPStatus.FORBIDDEN, "add ?token=... to the address")
        else:
            return True
        return False

    def _comes_from_the_page(self) -> bool:
        """Whether no other web page sends this.

        A browser says which page asks (Origin), and sends JSON to another site only after it has
        been allowed to, which it never is here.
        """
        return self._is_ours() and self.headers.get_content_type() == JSON

    def _is_ours(self) -> bool:
        """Whether the page that asks, where a browser says so, is this one."""
        origin = self.headers.get("Origin")
        return origin is None or urlsplit(origin).netloc == self.headers.get("Host")

    def _read_wish(self) -> Item | None:
        """The request's body; None where it is no JSON."""
        try:
            length = int(self.headers.get("Content-Length", ""))
            if not 0 <= length <= MAX_BODY_BYTES:
                return None
            body = self.rfile.read(length)
            return parse_json(body, source="the request", error=AdcVsrError)
        except (ValueError, OSError, AdcVsrError):
            return None
        finally:
            self.connection.settimeout(TIMEOUT_S)

    def _host_is_ours(self) -> bool:
        """Whether the request came by a name of loopback, or has to show a token anyway.

        Else any web page could read the camera through a name of its own that it lets point here
        (DNS rebinding).
        """
        if self.server.page.token:
            return True
        name = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        return name in LOOPBACK_NAMES

    def _may(self, query: str) -> bool:
        token = self.server.page.token
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        # As in the address of the sink, a + is a +.
        given = parse_qs(query.replace("+", "%2B")).get("token", [bearer])[0]
        return not token or hmac.compare_digest(given.encode(), token.encode())

    def _answer(self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _answer_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(json.dumps(content).encode(), JSON, status)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(f"{why}\n".encode(), "text/plain; charset=utf-8", status)

    def _head(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self) -> None:
        page = self.page
        client = self.client_address[0]
        if not page.admit_viewer(client):
            self._refuse(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"all {page.max_viewers} places for viewers are taken: close a page, or give more "
                "(?viewers=N)",
            )
            return
        page.callers.left(self.request)
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # a viewer whose cable was pulled
                ms = int(1000 * TIMEOUT_S)
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, ms)
            self._head(HTTPStatus.OK, "application/octet-stream", None)
            number = 0
            with suppress(OSError):  # the viewer went
                while not page.closed:
                    pair, newest = page.next_pair(number)
                    # An empty record keeps the connection; it also finds out who has gone.
                    self.wfile.write(pair if newest > number else bytes(12))
                    number = newest
        finally:
            page.leave_viewer(client)


class HttpServer(ThreadingHTTPServer):
    """Listens for a page, and knows who is connected."""

    daemon_threads = True  # a viewer that takes nothing must not hold up the end
    request_queue_size = MAX_REQUESTS

    def __init__(
        self,
        place: tuple[str, int],
        page: PageState,
        handler: type[RequestHandler] = RequestHandler,
    ) -> None:
        self.page = page
        if ":" in place[0]:
            self.address_family = socket.AF_INET6
        super().__init__(place, handler)

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
