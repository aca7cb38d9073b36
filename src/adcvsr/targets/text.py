"""The device table as text and as JSON, for `adcvsr targets` and docs/targets.md."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from ..variants import BACKENDS, PRECISIONS, sm_text
from .facts import SOURCES, Fact, Target

COLUMNS = ("target", "device", "SM", "GB", "GB/s", *PRECISIONS, "decodes", "encodes", "DLA")


def rows(targets: Iterable[Target]) -> list[tuple[str, ...]]:
    """Return the cells of each target, in the order of `COLUMNS`; a dash where there is nothing."""
    return [
        (
            each.name,
            each.device,
            "-" if each.sm is None else sm_text(each.sm),
            _number(each.memory_gb),
            _number(each.bandwidth_gb_s),
            *(_number(each.dense_tops.get(precision)) for precision in PRECISIONS),
            _codecs(each.decodes),
            _codecs(each.encodes),
            "-" if each.dla is None else f"{each.dla.engines} ({_number(each.dla.int8_tops)})",
        )
        for each in targets
    ]


def table(targets: Iterable[Target]) -> list[str]:
    """Return the table as aligned lines, the heading first."""
    cells = [COLUMNS, *rows(targets)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def describe(each: Target) -> list[str]:
    """Return every figure of one target with how it is known and from where."""
    lines = [f"{each.name}: {each.device}"]
    lines += [f"  {each.note}"] if each.note else []
    lines += [f"  {name:16} {_fact(fact, unit)}" for name, unit, fact in _facts(each)]
    for backend in BACKENDS:
        runs = ", ".join(each.precisions(backend)) or "does not run here"
        lines.append(f"  {backend:16} {runs}")
    used = dict.fromkeys(fact.source for _, _, fact in _facts(each))
    lines += [f"  [{key}] {' '.join(SOURCES[key]).strip()}" for key in used]
    return lines


def target_dict(each: Target) -> dict[str, Any]:
    """Return a target for JSON: the dataclass's fields, sources spelled out, what runs where."""
    values = dataclasses.asdict(each)
    used = {fact.source for _, _, fact in _facts(each)}
    return {
        **values,
        "backends": {backend: list(each.precisions(backend)) for backend in each.backends},
        "sources": {key: dict(zip(("title", "url"), SOURCES[key], strict=True)) for key in used},
    }


def _facts(each: Target) -> list[tuple[str, str, Fact[Any]]]:
    """Name, unit and fact of every figure a target has."""
    found: list[tuple[str, str, Fact[Any] | None]] = [
        ("memory", "GB", each.memory_gb),
        ("bandwidth", "GB/s", each.bandwidth_gb_s),
        *((key, "TOPS", fact) for key, fact in each.dense_tops.items()),
        ("DLA INT8", "TOPS", each.dla.int8_tops if each.dla else None),
        ("TensorRT", "", each.tensorrt),
        ("JetPack", "", each.jetpack),
        ("CPU", "cores", each.cpu_cores),
        ("decodes", "", each.decodes),
        ("encodes", "", each.encodes),
        ("decoder", "Mpx/s", each.decodes_mpx_s),
        ("encoder", "Mpx/s", each.encodes_mpx_s),
        ("power modes", "", each.power_modes),
    ]
    return [(name, unit, fact) for name, unit, fact in found if fact is not None]


def _fact(fact: Fact[Any], unit: str) -> str:
    value = fact.value
    text = (", ".join(value) or "none") if isinstance(value, tuple) else f"{value:g} {unit}"
    note = f"; {fact.note}" if fact.note else ""
    return f"{text}  ({fact.kind} [{fact.source}]{note})"


def _number(fact: Fact[float] | None) -> str:
    if fact is None:
        return "-"
    mark = {"derived": "*", "measured": "*", "unverified": "?"}.get(fact.kind, "")
    return f"{fact.value:g}{mark}"


def _codecs(fact: Fact[tuple[str, ...]] | None) -> str:
    return "-" if fact is None else " ".join(fact.value) or "none"
