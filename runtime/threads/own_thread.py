"""A thread that does all the work of something that must not be used from several.

thread = OwnThread("adcvsr-ort-cuda")
thread.call(session.run, frame)   # from any thread; waits, and raises what the work raised
thread.close()
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class OwnThread:
    """One thread, started with the first call.

    Args:
        name: Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def call(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do work there and wait for it; its error is raised here."""
        return self._pool.submit(work, *arguments).result()

    def close(self) -> None:
        """Wait for what is under way, and end the thread."""
        self._pool.shutdown(wait=True)
