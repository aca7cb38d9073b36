"""Ctrl-C and polite kills during training: the step is finished and saved first.

with StopSignal(report) as stop:
    ...
    if stop.wished:
        ...  # save, then leave
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class StopSignal:
    """Turns the first signal into a wish; the second does what signals did before.

    Args:
        report: Told that the step is finished first.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.wished = False
        self._report = report
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._wish) for number in numbers}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _wish(self, number: int, frame: FrameType | None) -> None:
        self.wished = True
        before = dict(self._before)
        self.__exit__(None, None, None)  # a second signal acts at once
        self._before = before
        self._report("stopping: the step is finished and saved; once more to stop at once")
