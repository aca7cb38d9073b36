"""Progress on a terminal, silence elsewhere; always on stderr, so stdout stays clean."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ._say import is_quiet, shows_progress
from ._terminal import clean, progress


@contextmanager
def frame_progress(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show frames done, frames a second and the time left; yields the callback to feed it."""
    if not shows_progress():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[fps]:>6.1f} fps"),
        TimeRemainingColumn(),
    )
    with progress(*columns) as bar:
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
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
    )
    with progress(*columns) as bar:
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
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[phase]}", markup=False),
    )
    with progress(*columns) as bar:
        task = bar.add_task(clean(label), total=1.0, phase="")
        yield lambda share, phase: bar.update(task, completed=share, phase=clean(phase))


@contextmanager
def training_progress(label: str) -> Iterator[Callable[[Any, float, float], None]]:
    """Show steps, loss and the time left on a terminal; a line a minute elsewhere."""
    if not shows_progress():
        yield _LogLines(label)
        return
    from rich.progress import (
        BarColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("step {task.fields[step]:,}  loss {task.fields[loss]:.5f}"),
        TimeRemainingColumn(),
    )
    with progress(*columns, transient=False) as bar:
        task = bar.add_task(clean(label), total=1.0, step=0, loss=0.0)
        smooth = _Smooth()

        def update(state: Any, loss: float, done: float) -> None:
            bar.update(task, completed=min(done, 1.0), step=state.step, loss=smooth(loss))

        yield update


class _Smooth:
    """Running mean of a noisy figure, about the last hundred values."""

    def __init__(self) -> None:
        self.value: float | None = None

    def __call__(self, value: float) -> float:
        self.value = value if self.value is None else 0.99 * self.value + 0.01 * value
        return self.value


class _LogLines:
    """One line a minute on stderr, for logs."""

    SECONDS = 60.0

    def __init__(self, label: str) -> None:
        self.label, self.smooth, self.next_at = label, _Smooth(), 0.0
        self.first: tuple[float, float] | None = None

    def __call__(self, state: Any, loss: float, done: float) -> None:
        mean = self.smooth(loss)
        self.first = self.first or (state.seconds, done)
        if state.seconds >= self.next_at and not is_quiet():
            self.next_at = state.seconds + self.SECONDS
            sys.stderr.write(
                f"{self.label}: step {state.step:,}, loss {mean:.5f}, {done:.1%} done, "
                f"{state.seconds / 60:.1f} min{self._left(state.seconds, done)}\n"
            )
            sys.stderr.flush()

    def _left(self, seconds: float, done: float) -> str:
        """Time to the schedule's end at the speed since this leg's first step."""
        assert self.first is not None
        passed, covered = seconds - self.first[0], done - self.first[1]
        return f", {passed / covered * (1 - done) / 60:.0f} min left" if covered > 0 else ""


@contextmanager
def count_progress(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show steps done, the time left and what is done next; yields the callback to feed it."""
    if not shows_progress():
        yield lambda done, total, what: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", markup=False),
    )
    with progress(*columns) as bar:
        task = bar.add_task(clean(label), total=None, what="")

        def update(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, what=clean(what))

        yield update
