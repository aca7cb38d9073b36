"""Progress on a terminal, silence elsewhere; always on stderr, so stdout stays clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._say import is_quiet, say, shows_progress
from ._terminal import clean, progress

LOG_SECONDS = 60.0
"""Between lines of a log."""


def _columns(*texts: str, share: bool = False) -> tuple[Any, ...]:
    """What every bar shows: a label, how much is done, a command's own texts, and the time left."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    return (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn() if share else MofNCompleteColumn(),
        *(TextColumn(text, markup=False) for text in texts),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


@contextmanager
def frame_progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show frames done, frames a second and the time left; yields the callback to feed it."""
    if not shows_progress():
        yield None
        return
    with progress(*_columns("{task.fields[fps]:>6.1f} fps")) as bar:
        task = bar.add_task(clean(label), total=None, fps=0.0)

        def update(done: int, expected: int) -> None:
            elapsed = bar.tasks[0].elapsed or 0.0
            bar.update(
                task,
                completed=done,
                total=max(expected, done) if expected else None,
                fps=done / elapsed if elapsed else 0.0,
            )

        yield update


@contextmanager
def files_progress(count: int) -> Iterator[Callable[[int, str], Callable[[int, int], None] | None]]:
    """One display for many files: yields what starts the next file and gives its callback."""
    if not shows_progress():
        yield lambda index, name: None
        return
    with progress(*_columns("{task.fields[unit]}")) as bar:
        files = bar.add_task("all files", total=count, unit="files")
        frames = bar.add_task("", total=None, unit="frames")

        def start(index: int, name: str) -> Callable[[int, int], None]:
            bar.update(files, completed=index)
            bar.reset(frames, description=clean(name), total=None)

            def update(done: int, expected: int) -> None:
                total = max(expected, done) if expected else None
                bar.update(frames, completed=done, total=total)

            return update

        yield start


@contextmanager
def build_progress(label: str) -> Iterator[Callable[[float, str], None] | None]:
    """Show the share of a build that is done, the compiler's phase and the time left."""
    if not shows_progress():
        yield None
        return
    texts = "{task.elapsed:.0f} s", "{task.fields[phase]}"
    with progress(*_columns(*texts, share=True)) as bar:
        task = bar.add_task(clean(label), total=1.0, phase="")
        yield lambda share, phase: bar.update(task, completed=share, phase=clean(phase))


@contextmanager
def training_progress(label: str) -> Iterator[Callable[[Any, float, float], None]]:
    """Show steps, loss and the time left on a terminal; a line a minute elsewhere."""
    if not shows_progress():
        yield _LogLines(label)
        return
    figures = "step {task.fields[step]:,}  loss {task.fields[loss]:.5f}"
    with progress(*_columns(figures, share=True), transient=False) as bar:
        task = bar.add_task(clean(label), total=1.0, step=0, loss=0.0)
        smooth = _Smooth()

        def update(state: Any, loss: float, done: float) -> None:
            bar.update(task, completed=min(done, 1.0), step=state.step, loss=smooth(loss))

        yield update


class _CountLines:
    """A line a minute on stderr, of things that are counted."""

    def __init__(self, label: str) -> None:
        self.label, self.began = label, time.monotonic()
        self.next_at = self.began + LOG_SECONDS

    def __call__(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now < self.next_at and done < total:
            return
        self.next_at = now + LOG_SECONDS
        seconds = (now - self.began) / max(done, 1)
        left = seconds * (total - done) / 60
        say(f"{self.label}: {done} of {total}, {seconds:.1f} s each, {left:.0f} min left")


class _Smooth:
    """Running mean of a noisy figure, about the last hundred values."""

    def __init__(self) -> None:
        self.value: float | None = None

    def __call__(self, value: float) -> float:
        self.value = value if self.value is None else 0.99 * self.value + 0.01 * value
        return self.value


class _LogLines:
    """One line a minute on stderr, for logs."""

    def __init__(self, label: str) -> None:
        self.label, self.smooth, self.next_at = label, _Smooth(), 0.0
        self.first: tuple[float, float] | None = None

    def __call__(self, state: Any, loss: float, done: float) -> None:
        mean = self.smooth(loss)
        self.first = self.first or (state.seconds, done)
        if state.seconds >= self.next_at and not is_quiet():
            self.next_at = state.seconds + LOG_SECONDS
            sys.stderr.write(
                f"{self.label}: step {state.step:,}, loss {mean:.5f}, {min(done, 1):.1%} done, "
                f"{state.seconds / 60:.1f} min{self._left(state.seconds, done)}\n"
            )
            sys.stderr.flush()

    def _left(self, seconds: float, done: float) -> str:
        """Time to the schedule's end at the speed since this leg's first step."""
        assert self.first is not None
        passed, covered = seconds - self.first[0], done - self.first[1]
        left = 1 - done
        if covered <= 0 or left < 0:  # a step that was begun in time ends after it
            return ""
        return f", {passed / covered * left / 60:.0f} min left"


@contextmanager
def count_progress(label: str, *, log: bool = False) -> Iterator[Callable[[int, int, str], None]]:
    """Show steps done, the time left and what is done next; yields the callback to feed it.

    Args:
        label: What is done.
        log: Whether it takes hours: a line a minute where there is no terminal, and the bar stays.
    """
    if not shows_progress():
        yield _CountLines(label) if log else lambda done, total, what: None
        return
    with progress(*_columns("{task.fields[what]}"), transient=not log) as bar:
        task = bar.add_task(clean(label), total=None, what="")

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, what=clean(what))

        yield update
