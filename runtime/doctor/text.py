"""The report as text: the verdict on top, then the findings by group, ASCII for serial consoles."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .findings import GROUPS, BackendVerdict, Finding, Report

MARKS = {"ok": "ok", "info": "", "warning": "warning", "missing": "missing", "unknown": "unknown"}
COLOURS = {"ok": "green", "warning": "yellow", "missing": "red", "unknown": "magenta"}

Paint = Callable[[str, str], str]
"""Colours a text: `paint("ok", "green")`."""


def report_lines(report: Report, paint: Paint) -> Iterator[str]:
    """Yield the lines of a report."""
    verdict = report.verdict
    target = verdict.target or "no target of the table"
    yield f"adcvsr {report.version} on {target} ({verdict.target_note})"
    for backend in verdict.backends:
        yield from _backend_lines(backend, paint)
    for group in GROUPS:
        lines = [each for each in report.findings if each.group == group]
        if lines:
            yield ""
            yield group
        for each in lines:
            yield from _finding_lines(each, paint)
    yield ""
    yield f"{_count(report)} in {report.seconds:.1f} s"
    if any(each.mark == "unknown" for each in report.findings):
        yield "unknown: run it again, now that the files are in memory, or with --wait 30"


def _backend_lines(backend: BackendVerdict, paint: Paint) -> Iterator[str]:
    mark = {"yes": "ok", "no": "info", "unknown": "unknown"}[backend.runs]
    if backend.runs == "no" and backend.precisions:
        mark = "missing"
    word = {"ok": "runs", "info": "no", "missing": "not yet", "unknown": "unknown"}[mark]
    text = ", ".join(backend.precisions) if backend.runs == "yes" else backend.why
    if backend.in_this_version is False and backend.precisions:
        text += " (the machine's side; this version of adcvsr has no such backend)"
    yield _line(word, COLOURS.get(mark, ""), backend.name, text, paint)
    if backend.fix:
        yield _fix(backend.fix)


def _finding_lines(each: Finding, paint: Paint) -> Iterator[str]:
    yield _line(MARKS[each.mark], COLOURS.get(each.mark, ""), each.name, each.value, paint)
    if each.fix:
        yield _fix(each.fix)


def _line(mark: str, colour: str, name: str, text: str, paint: Paint) -> str:
    return f"  {paint(mark.ljust(8), colour)} {name:22} {text}".rstrip()


def _fix(text: str) -> str:
    return f"{'':11}-> {text}"


def _count(report: Report) -> str:
    marks = [each.mark for each in report.findings]
    return (
        ", ".join(
            f"{marks.count(mark)} {mark}"
            for mark in ("missing", "warning", "unknown")
            if mark in marks
        )
        or "nothing to do"
    )
