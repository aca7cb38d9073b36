"""The stages of a stream or a file: threads that hand frames to each other and end in order.

stages = Stages(failed=stop.set)
stages.add("decode", decode)
stages.add("encode", encode)
stages.start(call_off=stop.set)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from .frame_queue import StoppedError
from .worker import Worker, wait_whatever_comes


class Stages:
    """Threads of which any may fail: the first error counts.

    Args:
        failed: Called with each error, in the thread that failed, to have the others end.
        ended: Called at the end of each stage, in its thread.
    """

    def __init__(
        self, failed: Callable[[], None], ended: Callable[[], None] = lambda: None
    ) -> None:
        self.error: BaseException | None = None
        """The first one of any stage."""
        self.was_stopped = False
        """Whether a stage was stopped before its end."""
        self._failed, self._ended = failed, ended
        self._threads: list[Worker] = []

    def add(self, name: str, work: Callable[[], None], *, daemon: bool = False) -> Worker:
        """Add a stage, which `start` begins.

        Args:
            name: Of its thread.
            work: All of it; ends quietly with `StoppedError`.
            daemon: See `Worker`.
        """
        thread = Worker(partial(self._guard, work), name=f"adcvsr-{name}", daemon=daemon)
        self._threads.append(thread)
        return thread

    def start(self, call_off: Callable[[], None]) -> None:
        """Begin all stages, or none.

        Args:
            call_off: Has those end that have begun where one cannot, or Ctrl-C came.
        """
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            call_off()
            self.wait_whatever_comes()
            raise

    def fail(self, error: BaseException) -> None:
        """Have all end for an error; from any thread."""
        if self.error is None:
            self.error = error
        self._failed()

    def wait(self, seconds: float) -> bool:
        """Wait so long for each stage; whether all have ended."""
        return all(thread.wait(seconds) for thread in self._threads)

    def wait_whatever_comes(self) -> None:
        """Wait until all stages have ended, see `worker.wait_whatever_comes`."""
        wait_whatever_comes(self._threads)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedError:
            self.was_stopped = True
        except BaseException as error:
            self.fail(error)
        self._ended()
