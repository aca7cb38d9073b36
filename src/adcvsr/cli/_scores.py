"""Tables of figures for `adcvsr evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..calibration.report import Report
    from ..calibration.scores import ClipScores, Evaluation
    from ..metrics import Metric

PIPE_WIDTH = 200
"""Columns where the output is no terminal: nothing is cut off in a file."""


def print_report(report: Report) -> None:
    """Print every file's figures, the means, and what was won over bicubic."""
    from rich.console import Console

    result = report.evaluation
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(_table(result, arrows=console.encoding.startswith("utf")))
    for line in _absences(result):
        click.echo(line)
    if any(metric.name == "warp" for metric in result.metrics):
        click.echo("warp falls with blur too: read it beside HaarPSI and the truth's own")


def clip_line(clip: ClipScores, metric: Metric) -> str:
    """One line of a file that is done: one metric of every method."""
    values = ((name, clip.value(name, metric.name)) for name in clip.figures)
    figures = ", ".join(f"{name} {_number(v, metric)}" for name, v in values if v is not None)
    return f"{clip.file.name}: {metric.title} {figures}"


def _table(result: Evaluation, *, arrows: bool) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("frames", justify="right")
    table.add_column("method", no_wrap=True)
    for metric in result.metrics:
        table.add_column(_heading(metric, arrows=arrows), justify="right")
    for clip in result.clips:
        rows = [name for name in result.rows() if name in clip.figures]
        for index, name in enumerate(rows):
            first = (clip.file.name, str(clip.frames)) if not index else ("", "")
            figures = (_number(clip.value(name, m.name), m) for m in result.metrics)
            table.add_row(*first, name, *figures, end_section=name == rows[-1])
    _add_means(table, result)
    _add_gains(table, result)
    return table


def _heading(metric: Metric, *, arrows: bool) -> str:
    """Title over unit and the direction of better."""
    up, down = "↑↓" if arrows else ("higher", "lower")
    return f"{metric.title}\n{metric.unit} {up if metric.higher_is_better else down}"


def _add_means(table: Table, result: Evaluation) -> None:
    frames = str(sum(clip.frames for clip in result.clips))
    rows = result.rows()
    for index, name in enumerate(rows):
        first = (f"mean of {len(result.clips)}", frames) if not index else ("", "")
        means = (_number(result.mean(name, metric), metric) for metric in result.metrics)
        table.add_row(*first, name, *means, style="bold", end_section=name == rows[-1])


def _add_gains(table: Table, result: Evaluation) -> None:
    """What is better than the first method: mean gain, and on how many files."""
    baseline = result.methods[0]
    for index, name in enumerate(result.methods[1:]):
        cells = []
        for metric in result.metrics:
            found = result.compare(name, baseline, metric)
            cells.append(
                f"{found.gain:+.{metric.digits}f} {found.better}/{found.files}" if found else "-"
            )
        first = (f"better than {baseline} by, on", "") if not index else ("", "")
        table.add_row(*first, name, *cells)


def _absences(result: Evaluation) -> Iterator[str]:
    """A line a metric and reason, for what has no figure."""
    for metric in result.metrics:
        reasons: dict[str, list[str]] = {}
        for clip in result.clips:
            if metric.name in clip.reasons:
                reasons.setdefault(clip.reasons[metric.name], []).append(clip.file.name)
        for reason, files in reasons.items():
            named = files[0] if len(files) == 1 else f"{len(files)} files"
            yield f"no {metric.title} for {named}: {reason}"


def _number(value: float | None, metric: Metric) -> str:
    if value is None:
        return "-"
    return "equal" if math.isinf(value) else f"{value:.{metric.digits}f}"
