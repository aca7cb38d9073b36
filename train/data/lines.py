"""Lines to show that a worker process met while it made samples.

A worker never writes itself: the terminal belongs to the first process, and a lock on it that some
thread held while the worker was forked would stay locked in the worker forever.
"""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.data import get_worker_info


class Lines:
    """Shows lines at once, or keeps them in a worker until its batch goes over.

    Args:
        report: Shows a line; called in the first process alone.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._kept: list[str] = []

    def __call__(self, line: str) -> None:
        """Show a line, or keep it."""
        if get_worker_info() is None:
            self._report(line)
        else:
            self._kept.append(line)

    def take(self) -> tuple[str, ...]:
        """Give what was kept, once."""
        taken, self._kept = tuple(self._kept), []
        return taken
