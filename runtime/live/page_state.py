"""What the preview page shows and whom it admits; many threads read it.

state = PageState(token="", max_viewers=4)
state.show(pair)  # every viewer gets the newest one
"""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

from .model_switch import ModelSwitch
from .page_callers import Callers
from .zoom import Zoom

MAX_REQUESTS = 32
"""Connections besides viewers at a time; for further ones the oldest are closed."""

TIMEOUT_S = 10.0
"""A viewer or asker that takes nothing for this long is let go."""

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def read_page(name: str) -> bytes:
    """A page that lies beside this file."""
    return Path(__file__).with_name(name).read_bytes()


class PageState:
    """The newest pictures and figures, and who watches.

    Args:
        token: Asked of every request; empty for none, which is for loopback alone.
        max_viewers: Streams of pictures at a time.
    """

    def __init__(self, token: str, max_viewers: int) -> None:
        self.token, self.max_viewers = token, max_viewers
        self.viewers = 0
        """Streams of pictures that run."""
        self._viewers_of: Counter[str] = Counter()
        self.page = read_page("page.html")
        self.stats, self.metrics = b"{}", b""
        self.switch: ModelSwitch | None = None
        """Between models, once there is one."""
        self.zoom: Zoom | None = None
        """Which part is upscaled, once a stream runs."""
        self.callers = Callers(MAX_REQUESTS)
        self.closed = False
        self._news = threading.Condition()
        self._pair, self._number = b"", 0

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

    def let_go(self) -> None:
        """Let viewers go: nothing more is shown."""
        with self._news:
            self.closed = True
            self._news.notify_all()
