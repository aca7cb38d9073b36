"""Two results of `adcvsr bench` beside each other, and what keeps them from being compared.

compare(json.loads(a), json.loads(b))["rows"]
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BenchError
from ...reading import Item, read_json
from .bench import SCHEMA

MUST_MATCH = ("bundle.name", "bundle.parameters", "size")
"""What another value of makes a comparison pointless."""

SHOULD_MATCH = (
    "conditions.processor",
    "conditions.board",
    "conditions.threads",
    "conditions.governors",
    "conditions.power_mode",
    "conditions.packages",
    "conditions.adcvsr",
    "conditions.system",
)
"""What explains a difference."""

FIGURES = ("p50", "p90", "p95", "p99")


def read_result(path: Path) -> dict[str, Any]:
    """Read what `adcvsr bench --json` wrote.

    Raises:
        BenchError: The file cannot be read, is something else, or from a newer version.
    """
    advice = f"expected a result of 'adcvsr bench -o {path.name}'"
    return check_result(read_json(path, error=BenchError, advice=advice, pipe=True), str(path))


def check_result(result: Item, source: str) -> dict[str, Any]:
    """Hold what was read against the schema.

    Args:
        result: The whole of it.
        source: Where it is from, for messages.

    Raises:
        BenchError: It is something else, or from a newer version.
    """
    if (schema := result["schema"].integer(1)) > SCHEMA:
        raise BenchError(f"'{source}' has schema {schema}, this adcvsr reads {SCHEMA}; upgrade it")
    for key in ("bundle", "conditions"):
        result[key].mapping()
    for row in result["variants"].items():
        _check_row(row)
    if (warnings := result.get("warnings")) is not None:
        for entry in warnings.items():
            entry["text"].text()
    return result.mapping()


def _check_row(row: Item) -> None:
    """Hold a row against what `compare` looks up."""
    row["variant"].text()
    row["backend"].text()
    for figures, names in (("latency_ms", FIGURES), ("cpu_ms", ("mean",))):
        for name in names:
            if name not in row[figures].mapping():
                row[figures].expected(f"an object with {', '.join(names)}")
            if (figure := row[figures].get(name)) is not None:
                figure.number()
    if "fps" not in row.mapping():
        row.expected("an object with fps")
    for found in (row.get("fps"), (row.get("start") or _none(row)).get("memory_bytes")):
        if found is not None:
            found.number()


def _none(row: Item) -> Item:
    return replace(row, value={})


def compare(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Compare every variant that both have.

    Args:
        first: From `read_result`.
        second: Likewise.

    Returns:
        `rows` with both figures and second over first of each, `differences` of the conditions,
        `only` in one of them, and `warnings` of both.

    Raises:
        BenchError: They measured different bundles or sizes, or have no variant in common.
    """
    for key in MUST_MATCH:
        if _get(first, key) != _get(second, key):
            raise BenchError(
                f"the results cannot be compared: {key} is {_get(first, key)} in the first and "
                f"{_get(second, key)} in the second"
            )
    rows = {}
    for label, result in (("first", first), ("second", second)):
        rows[label] = {
            (row.get("name", row["variant"]), row["backend"]): row for row in result["variants"]
        }
    both = [key for key in rows["first"] if key in rows["second"]]
    if not both:
        have = [", ".join(name for name, _ in rows[label]) for label in ("first", "second")]
        raise BenchError(f"no variant in both: the first has {have[0]}, the second {have[1]}")
    return {
        "rows": [_row(rows["first"][key], rows["second"][key]) for key in both],
        "only": {
            "first": sorted(name for name, b in rows["first"] if (name, b) not in both),
            "second": sorted(name for name, b in rows["second"] if (name, b) not in both),
        },
        "differences": {
            key: [_get(first, key), _get(second, key)]
            for key in SHOULD_MATCH
            if _get(first, key) != _get(second, key)
        },
        "warnings": {
            "first": [entry["text"] for entry in first.get("warnings", [])],
            "second": [entry["text"] for entry in second.get("warnings", [])],
        },
        "worthless": any(
            entry.get("worthless") for r in (first, second) for entry in r.get("warnings", [])
        ),
    }


def _row(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    def pair(one: float | None, other: float | None) -> dict[str, Any]:
        ratio = round(other / one, 4) if one and other else None
        return {"first": one, "second": other, "ratio": ratio}

    return {
        "variant": first.get("name", first["variant"]),
        "backend": first["backend"],
        **{name: pair(*(r["latency_ms"][name] for r in (first, second))) for name in FIGURES},
        "cpu_ms": pair(*(r["cpu_ms"]["mean"] for r in (first, second))),
        "fps": pair(first["fps"], second["fps"]),
        "memory_bytes": pair(
            *((r.get("start") or {}).get("memory_bytes") for r in (first, second))
        ),
    }


def _get(result: dict[str, Any], key: str) -> Any:
    value: Any = result
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
