"""Telling systemd that the program runs and still works: its notify protocol, without a library.

with ServiceNotifier() as service:
    service.ready("1280x720 -> rtsp://...")
    for frame in frames:
        service.alive()  # cheap: speaks at most four times in a watchdog period

An engine is built within the first frame, or the first one of another size, for minutes: each step
of the compiler asks for patience, and a compiler that makes no step for five minutes is killed.

Outside systemd every call does nothing. The protocol is sd_notify(3): datagrams of text to the
socket that NOTIFY_SOCKET names.
"""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from types import TracebackType

SHARE = 4
"""Messages in a watchdog period; systemd asks for at least two."""


PATIENCE_S = 300.0
"""From one step of long work to the next, before systemd ends the program: ten times the longest
step of a compiler seen on a server."""

_WORD_S = 1.0
"""Between two words about long work."""


class ServiceNotifier:
    """The line to systemd. Call `alive` from the thread whose progress is meant."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._next = 0.0
        self._ready = self._working = False
        self._next_word = 0.0
        address = os.environ.get("NOTIFY_SOCKET", "")
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        meant = os.environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
        self._period = int(microseconds) / 1e6 / SHARE if microseconds.isdigit() and meant else None
        if address and hasattr(socket, "AF_UNIX"):
            # A leading @ is the abstract name space.
            self._address = "\0" + address[1:] if address.startswith("@") else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)

    def ready(self, status: str = "") -> None:
        """Say that the stream runs; `Type=notify` units count as started from here on."""
        self._ready = True
        self._send(f"READY=1\nSTATUS={_line(status)}" if status else "READY=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(f"STATUS={_line(text)}")

    def alive(self) -> None:
        """Say that a frame went through; systemd restarts a program that stops saying so.

        While long work is under way this says nothing: it would end the patience asked for, and a
        frame from before says nothing about that work.
        """
        if self._working or self._period is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._period
        self._send("WATCHDOG=1")

    def working(self, text: str) -> None:
        """Say that long work has begun or made a step; any thread may.

        `EXTEND_TIMEOUT_USEC` moves both ends that a unit has, `TimeoutStartSec` before READY and
        the watchdog after it. Steps that come faster are told once a second.

        Args:
            text: For `systemctl status`.
        """
        now = time.monotonic()
        if self._working and now < self._next_word:
            return
        self._working, self._next_word = True, now + _WORD_S
        self._send(f"EXTEND_TIMEOUT_USEC={round(PATIENCE_S * 1e6)}\nSTATUS={_line(text)}")

    def worked(self) -> None:
        """Say that long work is over: the next frame is due within the watchdog's period.

        A unit that has not started has no watchdog yet, and `WATCHDOG=1` would start it.
        """
        self._working, self._next = False, 0.0
        if self._ready:
            self.alive()

    def stopping(self) -> None:
        """Say that the program ends on purpose."""
        self._send("STOPPING=1")

    def __enter__(self) -> ServiceNotifier:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Say goodbye and close the socket."""
        self.stopping()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._socket is not None:
            # A full or vanished socket must not stop the stream: the watchdog then acts.
            with suppress(OSError):
                self._socket.sendto(text.encode(), self._address)


def _line(text: str) -> str:
    return " ".join(text.split())
