"""Tables of figures for `adcvsr evaluate`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from ..calibration.evaluate.report import Report
    from ..calibration.evaluate.scores import ClipScores, Comparison, Evaluation
    from ..metrics import Metric


UNBOUNDED = 10_000
"""Columns that no table needs."""


def print_report(report: Report) -> None:
    """Print every file's figures, the means, and what was won over bicubic."""
    from rich.console import Console

    result = report.evaluation
    # File names are no markup; without styles nothing of a table steers the terminal.
    console = Console(markup=False, highlight=False, emoji=False, color_system=None)
    terminal, utf = console.width, console.encoding.startswith("utf")
    for table in (_figures(result, utf=utf), _gains(result, utf=utf)):
        # Figures are never cut off: a file has room, a terminal too narrow wraps the lines.
        needed = Console(width=UNBOUNDED, markup=False).measure(table)
        least = max(terminal, needed.minimum)
        console.width = least if console.is_terminal else needed.maximum
        console.print(table)
    for line in (*_absences(result), *_cuts(result)):
        click.echo(line)
    if any(metric.name == "warp" for metric in result.metrics):
        click.echo("warp falls with blur too: read it beside HaarPSI and the truth's own")


def clip_line(clip: ClipScores, metric: Metric) -> str:
    """One line of a file that is done: one metric of every method."""
    values = ((name, clip.value(name, metric.name)) for name in clip.figures)
    figures = ", ".join(f"{name} {_number(v, metric)}" for name, v in values if v is not None)
    return f"{clip.name}: {metric.title} {figures}"


def _figures(result: Evaluation, *, utf: bool) -> Table:
    """One section a file, then the means."""
    up, down = "↑↓" if utf else ("higher", "lower")
    directions = [up if metric.higher_is_better else down for metric in result.metrics]
    headings = [
        f"{metric.title}\n{metric.unit} {direction}".replace(" \n", "\n").strip()
        for metric, direction in zip(result.metrics, directions, strict=True)
    ]
    table = _table("", headings)
    for clip in result.clips:
        rows = [name for name in result.rows() if name in clip.figures]
        table.add_row(f"{clip.name} ({clip.frames})")
        for name in rows:
            figures = (_number(clip.value(name, m.name), m) for m in result.metrics)
            table.add_row(f"  {name}", *figures, end_section=name == rows[-1])
    frames = sum(clip.frames for clip in result.clips)
    table.add_row(f"mean of {len(result.clips)} ({frames} frames)")
    for name in result.rows():
        means = (_number(result.mean(name, metric), metric) for metric in result.metrics)
        table.add_row(f"  {name}", *means, style="bold")
    return table


def _gains(result: Evaluation, *, utf: bool) -> Table:
    """What is better than the first method: mean gain, its error, and on how many files."""
    baseline = result.methods[0]
    on = "files" if all(clip.seed is None for clip in result.clips) else "files and draws"
    table = _table(f"better than {baseline} by (on {on})", [m.title for m in result.metrics])
    for name in result.methods[1:]:
        cells = []
        for metric in result.metrics:
            found = result.compare(name, baseline, metric)
            cells.append(_gain(found, metric, "±" if utf else "+/-") if found else "-")
        table.add_row(name, *cells)
    return table


def _gain(found: Comparison, metric: Metric, sign: str) -> str:
    error = "" if found.error is None else f"\n{sign}{found.error:.{metric.digits}f}"
    return f"{found.gain:+.{metric.digits}f}{error}\n({found.better}/{found.files})"


def _table(first: str, headings: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(first, overflow="fold", min_width=16, vertical="bottom")
    for heading in (heading.replace("frame diff.", "frame\ndiff.") for heading in headings):
        least = max(map(len, heading.split("\n")))
        table.add_column(heading, justify="right", no_wrap=True, min_width=least)
    return table


def _absences(result: Evaluation) -> Iterator[str]:
    """A line a metric and reason, for what has no figure."""
    for metric in result.metrics:
        reasons: dict[str, list[str]] = {}
        for clip in result.clips:
            if metric.name in clip.reasons:
                reasons.setdefault(clip.reasons[metric.name], []).append(clip.name)
        for reason, files in reasons.items():
            named = files[0] if len(files) == 1 else f"{len(files)} files"
            yield f"no {metric.title} for {named}: {reason}"


def _cuts(result: Evaluation) -> Iterator[str]:
    """A line a file with scene cuts."""
    for clip in result.clips:
        if clip.cuts:
            yield (
                f"{clip.name}: {clip.cuts} scene cut{'s' * (clip.cuts > 1)}, where causal "
                "networks start again and no measure of time looks across"
            )


def _number(value: float | None, metric: Metric) -> str:
    if value is None:
        return "-"
    return "equal" if math.isinf(value) else f"{value:.{metric.digits}f}"
