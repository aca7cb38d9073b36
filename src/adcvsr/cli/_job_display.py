"""How far jobs are, over all their workers: a live table on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._progress import LOG_SECONDS
from ._say import is_quiet, say, shows_progress
from ._terminal import clean, raw

if TYPE_CHECKING:
    from ..runtime.jobs.folder import Job
    from ..runtime.jobs.watch import Snapshot

ROWS = 12
"""Segments shown at most of those that are being made."""

REFRESHED_S = 0.5

Look = "Callable[[], list[tuple[str, Snapshot]]]"


def look_at(jobs: Sequence[Job]) -> Callable[[], list[tuple[str, Snapshot]]]:
    """What looks at jobs: the name and state of each."""
    from ..runtime.jobs.watch import JobWatch

    watches = [JobWatch(job) for job in jobs]
    return lambda: [(Path(w.job.plan.settings.output).name, w.look()) for w in watches]


@contextmanager
def jobs_progress(jobs: Sequence[Job]) -> Iterator[None]:
    """Show jobs on stderr while they are made: a table on a terminal, else a JSON line a minute."""
    look = look_at(jobs)
    if shows_progress():
        with _live(look, sys.stderr, transient=True):
            yield
        return
    ended = threading.Event()
    logs = threading.Thread(target=_log, args=(look, ended), name="adcvsr-job-log", daemon=True)
    if not is_quiet():
        logs.start()
    try:
        yield
    finally:
        ended.set()
        if not is_quiet():
            logs.join()


def watch_job(job: Job, *, every_s: float, as_json: bool) -> None:
    """Show a job on stdout until all of it is made: a table on a terminal, else JSON lines."""
    look = look_at([job])
    pause = threading.Event()
    if as_json or not sys.stdout.isatty():
        while True:
            found = look()
            print_lines(found, lambda line: print(line, flush=True))  # noqa: T201
            if found[0][1].is_made:
                return
            pause.wait(every_s)
    with _live(look, sys.stdout, transient=False):
        while not look()[0][1].is_made:
            pause.wait(every_s)


def print_lines(found: list[tuple[str, Snapshot]], tell: Callable[[str], None]) -> None:
    """A JSON line for each job."""
    for name, snapshot in found:
        tell(json.dumps({"job": name, **snapshot.to_json()}))


def _log(look: Callable[[], list[tuple[str, Snapshot]]], ended: threading.Event) -> None:
    look()  # speeds count from here
    while not ended.wait(LOG_SECONDS):
        print_lines([each for each in look() if each[1].making], say)


@contextmanager
def _live(
    look: Callable[[], list[tuple[str, Snapshot]]], stream: Any, *, transient: bool
) -> Iterator[None]:
    from rich.console import Console
    from rich.live import Live

    with Live(
        console=Console(file=raw(stream)),
        get_renderable=lambda: table(look()),
        refresh_per_second=1 / REFRESHED_S,
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        yield


def table(found: list[tuple[str, Snapshot]]) -> Any:
    """Draw jobs: a bar over all their frames, and the segments that are being made."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    shots = [snapshot for _, snapshot in found]
    done, frames = (sum(s.frames_done for s in shots), sum(s.frames for s in shots))
    made, segments = (
        sum(getattr(s, name) for s in shots) for name in ("segments_done", "segments")
    )
    fps = sum(s.fps or 0.0 for s in shots)
    left = f"{clock((frames - done) / fps)} left" if fps else "time left: not known yet"
    name = found[0][0] if len(found) == 1 else f"{len(found)} files"
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(clean(name)),
        ProgressBar(total=max(frames, 1), completed=done, width=30),
        Text(f"{done:,}/{frames:,} frames"),
        Text(f"{made}/{segments} segments"),
        Text(f"{fps:.1f} fps"),
        Text(left),
    )
    rows = Table.grid(padding=(0, 2))
    making = [(name, each) for name, snapshot in found for each in snapshot.making]
    for name, each in making[:ROWS]:
        rows.add_row(
            Text(f"segment {each.index}" + (f" of {clean(name)}" if len(found) > 1 else "")),
            ProgressBar(total=max(each.frames, 1), completed=each.done, width=20),
            Text(f"{each.done}/{each.frames}"),
            Text(clean(each.who)),
        )
    if len(making) > ROWS:
        rows.add_row(Text(f"and {len(making) - ROWS} more"))
    return Group(head, rows)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
