"""`--trace FILE`, of the commands that run a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ._say import note

if TYPE_CHECKING:
    from ..runtime.trace import Trace

trace_option = click.option(
    "--trace",
    "trace_path",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a trace of stages and layers for ui.perfetto.dev or chrome://tracing.",
)


@contextmanager
def open_trace(path: Path | None, *, overwrite: bool) -> Iterator[Trace | None]:
    """Collect a trace where a file is asked for, and write it at the end.

    Raises:
        OutputExistsError: The file exists and may not be replaced.
        OutputNotWritableError: It cannot be written.
    """
    if path is None:
        yield None
        return
    from ..files import check_new
    from ..runtime.trace import Trace

    check_new(path, overwrite=overwrite)
    with Trace(path) as trace:
        yield trace
    if trace.dropped:
        note(f"the trace is full, {trace.dropped} later events are left out")
