"""Threads that the main thread waits for, where Ctrl-C may come at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Worker(threading.Thread):
    """A thread that counts as running until it has ended.

    An exception out of a signal handler that interrupts `Thread.join` makes Python up to 3.12 take
    the thread for ended (python/cpython#90882), and what it uses is then closed under it. Wait for
    this one with `wait`, after an interrupt once more.

    Args:
        target: What to run.
        name: Of the thread.
        daemon: The process may end without it.
    """

    def __init__(self, target: Callable[[], None], *, name: str, daemon: bool = False) -> None:
        super().__init__(target=target, name=name, daemon=daemon)
        self._over = threading.Event()

    def run(self) -> None:
        """Call the target; in the thread."""
        try:
            super().run()
        finally:
            self._over.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, or for some seconds; returns whether it has."""
        if not self._over.wait(seconds):
            return False
        self.join()  # of its last few instructions
        return True
