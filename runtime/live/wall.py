"""One page and HTTP API for all streams of a process: a wall of tiles, each a click from its page.

What a stream's own page answers is below `/streams/NAME/`, from the same code; who may ask is the
same, too. The API is written down in `openapi.json`, which is served.

    wall = Wall("127.0.0.1", 8080, token="", max_viewers=4)
    wall.control = control
    page = wall.open_page("door")
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

from ...errors import AdcVsrError
from .page_requests import JSON, RequestHandler
from .page_server import PageServer
from .page_state import PageState, read_page

TILE_S = 3.0
"""A tile is encoded for this long after somebody asked for it."""

TILE_WAIT_S = 1.0
"""Whoever asks for the first one waits so long at most."""

_BELOW = re.compile(r"/streams/([A-Za-z0-9_-]{1,32})(/.*)?")

ASKS_JSON = f"send {JSON}, from this page or from a program"


class TakenError(AdcVsrError):
    """A stream of the name runs already."""


class Control(Protocol):
    """What the API does to the streams; called by threads of the server."""

    def listed(self) -> dict[str, Any]:
        """All streams, JSON-ready."""

    def add(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a stream. Raises: `TakenError`, `AdcVsrError`."""

    def remove(self, name: str) -> None:
        """End a stream. Raises: `KeyError`."""

    def reset(self, name: str) -> None:
        """Have a stream forget its past. Raises: `KeyError`."""

    def why_not_ready(self) -> str:
        """Why no stream runs; empty where one does."""

    def why_not_healthy(self) -> str:
        """Why the process should be started again; empty where it works."""


class TilePage(PageState):
    """What one stream shows: its pairs for the wipe view, and small pictures for the wall."""

    def __init__(self, token: str, max_viewers: int) -> None:
        super().__init__(token, max_viewers)
        self._wanted_until = 0.0
        self._tile, self._tile_at = b"", 0.0
        self._tiled = threading.Condition()

    @property
    def tile_is_wanted(self) -> bool:
        """Whether somebody looks at the wall."""
        return time.monotonic() < self._wanted_until

    @property
    def tile_age_s(self) -> float:
        """Seconds since the latest small picture."""
        return time.monotonic() - self._tile_at

    def show_tile(self, jpeg: bytes) -> None:
        """Make a small picture the newest."""
        with self._tiled:
            self._tile, self._tile_at = jpeg, time.monotonic()
            self._tiled.notify_all()

    def next_tile(self) -> bytes:
        """The newest small picture, waited for where there is none of now; empty without one."""
        with self._tiled:
            self._wanted_until = time.monotonic() + TILE_S
            self._tiled.wait_for(lambda: self.tile_age_s < TILE_S or self.closed, TILE_WAIT_S)
            return self._tile if self.tile_age_s < TILE_S else b""


class WallHandler(RequestHandler):
    """Answers one connection to the wall."""

    _page: PageState | None = None  # of the stream that is asked for

    @property
    def page(self) -> PageState:
        """See `RequestHandler`."""
        return self._page or self.server.page

    @property
    def wall(self) -> Wall:
        """The server's."""
        wall = self.server.page
        assert isinstance(wall, Wall)
        return wall

    def _delete(self, path: str) -> None:
        found = _BELOW.fullmatch(path)
        if found is None or found[2]:
            self._refuse(HTTPStatus.NOT_FOUND, "DELETE goes to /streams/NAME")
        elif not self._is_ours():
            self._refuse(HTTPStatus.FORBIDDEN, "only from this page or from a program")
        else:
            self._do(found[1], self.wall.control.remove)

    def _get(self, path: str) -> None:
        control = self.wall.control
        if path == "/streams":
            self._answer_json(control.listed())
        elif path == "/openapi.json":
            self._answer(self.wall.api, JSON)
        elif path in ("/healthz", "/readyz"):
            why = control.why_not_ready() if path == "/readyz" else control.why_not_healthy()
            status = HTTPStatus.SERVICE_UNAVAILABLE if why else HTTPStatus.OK
            self._refuse(status, why or "ok")
        elif path in ("/", "/metrics"):
            super()._get(path)
        elif (found := _BELOW.fullmatch(path)) is None:
            known = "/, /streams, /metrics, /healthz, /readyz, /openapi.json and /streams/NAME/..."
            self._refuse(HTTPStatus.NOT_FOUND, f"there are {known}")
        elif (page := self.wall.pages.get(found[1])) is None:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no stream '{found[1]}'")
        elif found[2] == "/picture":
            if tile := page.next_tile():
                self._answer(tile, "image/jpeg")
            else:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "no picture yet")
        else:
            self._page = page
            super()._get(found[2] or "/stats")

    def _post(self, path: str) -> None:
        found = _BELOW.fullmatch(path)
        if path == "/streams":
            self._add()
        elif found is None or found[1] not in self.wall.pages:
            self._refuse(HTTPStatus.NOT_FOUND, "POST goes to /streams and /streams/NAME/...")
        elif found[2] == "/reset":
            if self._comes_from_the_page():
                self._do(found[1], self.wall.control.reset)
            else:
                self._refuse(HTTPStatus.FORBIDDEN, ASKS_JSON)
        else:
            self._page = self.wall.pages[found[1]]
            super()._post(found[2] or "")

    def _add(self) -> None:
        if not self.wall.token:
            # It opens cameras and writes files with this program's rights.
            self._refuse(
                HTTPStatus.FORBIDDEN,
                "a stream is added with a token alone: set ADCVSR_PAGE_TOKEN (docs/live.md)",
            )
        elif not self._comes_from_the_page():
            self._refuse(HTTPStatus.FORBIDDEN, ASKS_JSON)
        elif (wish := self._read_wish()) is None or not isinstance(wish.value, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, 'expected {"name": "...", "source": "...", ...}')
        else:
            try:
                self._answer_json(self.wall.control.add(wish.value), HTTPStatus.CREATED)
            except TakenError as error:
                self._refuse(HTTPStatus.CONFLICT, str(error))
            except TimeoutError:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the program is busy; look later")
            except AdcVsrError as error:
                self._refuse(HTTPStatus.BAD_REQUEST, str(error))

    def _do(self, name: str, what: Any) -> None:
        try:
            what(name)
        except KeyError:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no stream '{name}'")
        except TimeoutError:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the program is busy; look later")
        else:
            self._answer_json({"stream": name}, HTTPStatus.ACCEPTED)


class Wall(PageServer):
    """Serves the wall; see `PageServer`."""

    handler: ClassVar[type[RequestHandler]] = WallHandler
    control: Control
    """Set before anybody is let in."""

    def __init__(
        self, host: str, port: int, token: str, max_viewers: int, control: Control
    ) -> None:
        self.control = control
        self.pages: dict[str, TilePage] = {}
        """By stream."""
        self.api = read_page("openapi.json")
        super().__init__(host, port, token, max_viewers)
        self.page = read_page("wall.html")

    def open_page(self, name: str) -> TilePage:
        """A page for a stream that begins."""
        page = TilePage(self.token, self.max_viewers)
        page.callers = self.callers
        self.pages[name] = page
        return page

    def close_page(self, name: str, page: TilePage) -> None:
        """Let the viewers of a stream go that has ended."""
        page.let_go()
        if self.pages.get(name) is page:  # else another one has its name already
            del self.pages[name]
