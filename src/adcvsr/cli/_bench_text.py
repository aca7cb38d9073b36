"""Tables of `adcvsr bench` and `adcvsr bench compare`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ._say import warn


def print_result(result: dict[str, Any]) -> None:
    """Print what was measured; warnings first, for they may make the rest worthless."""
    for entry in result["warnings"]:
        warn(f"warning: {entry['text']}")
    width, height = result["size"]
    scale = result["bundle"].get("scale", 4)
    machine = result["conditions"]
    click.echo(
        f"{result['bundle']['name']}, {width}x{height} -> {scale * width}x{scale * height}, on "
        f"{machine['board'] or machine['processor'] or machine['machine']}, "
        f"{machine['threads'] or '-'} threads, {result['seconds']:g} s taking turns"
    )
    for other in result.get("beside", ()):
        scale = other["scale"]
        click.echo(f"beside it {other['name']}, to {scale * width}x{scale * height}")
    rows = result["variants"]
    heads = ("variant", "p50", "p90", "p95", "p99 ms", "CPU ms", "copy ms", "fps", "memory", "size")
    click.echo(_table(heads, [_row(row) for row in rows]))
    for row in rows[1:]:
        click.echo(_ratio_line(row))
    for row in rows:
        if sustained := row.get("sustained"):
            joules = sustained["joules_per_frame"]
            energy = f", {joules:.3f} J a frame ({sustained['joules_from']})" if joules else ""
            click.echo(f"{row['variant']} alone: {sustained['fps']:.1f} fps{energy}")
    quantities = result["sensors"]["quantities"]
    if quantities:
        told = (f"{key} {q['min']:g}-{q['max']:g}" for key, q in quantities.items())
        click.echo(f"while measuring: {', '.join(told)}")
    cut = result["sensors"]["throttling"]
    if result["sensors"]["sources"] and cut:
        click.echo(f"clocks were cut: {', '.join(cut)}")


def print_comparison(comparison: dict[str, Any], first: str, second: str) -> None:
    """Print both results' figures and the second's over the first's."""
    for label, name in (("first", first), ("second", second)):
        for text in comparison["warnings"][label]:
            warn(f"warning ({name}): {text}")
    heads = ("variant", "figure", first, second, "ratio")
    lines = [
        (
            f"{row['variant']} on {row['backend']}" if not index else "",
            title,
            _number(row[key]["first"], scale),
            _number(row[key]["second"], scale),
            _number(row[key]["ratio"]),
        )
        for row in comparison["rows"]
        for index, (key, title, scale) in enumerate(
            (
                ("p50", "p50 ms", 1.0),
                ("p99", "p99 ms", 1.0),
                ("cpu_ms", "CPU ms", 1.0),
                ("fps", "fps", 1.0),
                ("memory_bytes", "memory MB", 1e-6),
            )
        )
    ]
    click.echo(_table(heads, lines, left=2))
    for key, (one, other) in comparison["differences"].items():
        click.echo(f"differs: {key}: {one} / {other}")
    for label, name in (("first", first), ("second", second)):
        if comparison["only"][label]:
            click.echo(f"only in {name}: {', '.join(comparison['only'][label])}")


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    latency, start = row["latency_ms"], row.get("start") or {}
    memory = start.get("memory_bytes")
    return (
        f"{row.get('name', row['variant'])} ({row['backend']})",
        *(_number(latency[p]) for p in ("p50", "p90", "p95", "p99")),
        _number(row["cpu_ms"]["mean"]),
        _number(row["copy_ms"]),
        _number(row["fps"]),
        f"{memory / 1e6:.0f} MB" if memory else "-",
        f"{row['model_bytes'] / 1e6:.2f} MB",
    )


def _ratio_line(row: dict[str, Any]) -> str:
    parts = []
    for kind, name in (("wall", "wall"), ("cpu", "CPU")):
        if found := row[f"{kind}_ratio"]:
            parts.append(
                f"{found['median']:.3f} by {name} time ({found['low']:.3f} to {found['high']:.3f})"
            )
    return f"{row.get('name', row['variant'])} / {row['ratio_to']}: {', '.join(parts)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    widths = [max(len(str(line[i])) for line in (heads, *rows)) for i in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (heads, *rows)
    )


def _number(value: float | None, scale: float = 1.0) -> str:
    if value is None:
        return "-"
    scaled = value * scale
    return f"{scaled:.0f}" if abs(scaled) >= 1000 else f"{scaled:.3g}"
