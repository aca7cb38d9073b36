"""Ctrl-C while the main thread waits: the thread it waits for is still waited for afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from adcvsr.runtime.engine import build
from adcvsr.runtime.threads.worker import Worker

LATER_S = 0.1


@pytest.fixture
def interrupt() -> Iterator[threading.Timer]:
    """Ctrl-C a little later; raises in the main thread whatever has been set before."""
    timer = threading.Timer(LATER_S, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    yield timer
    timer.join()
    signal.signal(signal.SIGINT, before)


def test_waited_for_after_an_interrupt(interrupt: threading.Timer) -> None:
    stop, ended = threading.Event(), []

    def work() -> None:
        stop.wait()
        time.sleep(LATER_S)
        ended.append(True)

    worker = Worker(work, name="test")
    worker.start()
    with pytest.raises(KeyboardInterrupt):
        worker.wait(60)
    assert not worker.wait(0)
    assert not ended
    stop.set()
    assert worker.wait()
    assert ended


def test_a_build_has_stopped_when_the_interrupt_is_passed_on(
    interrupt: threading.Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compiler calls back into Python: ended by the process's end, it would crash."""
    cancelled, ended, said = threading.Event(), [], []
    monkeypatch.setattr(build, "_PATIENCE_SECONDS", LATER_S / 10)

    def compile_slowly() -> None:
        cancelled.wait()
        time.sleep(LATER_S)
        ended.append(True)

    with pytest.raises(KeyboardInterrupt):
        build._interruptible(compile_slowly, cancelled.set, said.append)
    assert ended
    assert said == [build.STOPPING]


def test_a_failure_reaches_the_caller() -> None:
    def fail() -> None:
        raise ValueError("no such kernel")

    with pytest.raises(ValueError, match="no such kernel"):
        build._interruptible(fail, lambda: None, print)
    assert build._interruptible(lambda: 3, lambda: None, print) == 3
