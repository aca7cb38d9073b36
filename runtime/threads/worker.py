"""Threads that the main thread waits for, where Ctrl-C may come at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from ...errors import OutOfResourcesError


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
        self._begun, self._called_off, self._lock = False, False, threading.Lock()

    def start(self) -> None:
        """Start the thread.

        Raises:
            OutOfResourcesError: The system gives no further one.
        """
        start_thread(self)

    def run(self) -> None:
        """Call the target, unless it was called off; in the thread."""
        try:
            with self._lock:
                self._begun = not self._called_off
            if self._begun:
                super().run()
        finally:
            self._over.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the thread has ended, or for some seconds; returns whether it has."""
        if not self._over.wait(seconds):
            return False
        self.join()  # of its last few instructions
        return True

    def wait_or_call_off(self) -> None:
        """Wait until the thread has ended; where it has not begun yet, it never does.

        An interrupt inside `start` leaves open whether it will.
        """
        with self._lock:
            self._called_off = not self._begun
        if not self._called_off:
            self.wait()


def wait_whatever_comes(threads: Sequence[Worker]) -> None:
    """Wait until all threads have ended, through further interrupts.

    Closing a container or a session under a running stage crashes the process, and a second Ctrl-C
    is common: the first one takes up to a frame to act.
    """
    while True:
        try:
            for thread in threads:
                thread.wait_or_call_off()
        except KeyboardInterrupt:
            continue
        return


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
        OutOfResourcesError: The system gives no further one.
    """
    try:
        threading.Thread.start(thread)
    except RuntimeError as error:
        if thread.ident is not None:
            raise  # it was started before: a mistake of ours
        raise OutOfResourcesError(
            f"the system gives no thread for '{thread.name}' ({error}): raise the limit of "
            "processes (ulimit -u, pids.max of a container) or of memory, or end other programs"
        ) from error
