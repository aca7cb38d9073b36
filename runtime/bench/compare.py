"""Two results of `adcvsr bench` beside each other, and what keeps them from being compared.

compare(json.loads(a), json.loads(b))["rows"]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import BenchError
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
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        schema = result["schema"]
        _ = [row["latency_ms"]["p50"] for row in result["variants"]], result["conditions"]
    except OSError as error:
        raise BenchError(f"cannot read '{path}': {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"'{path}' is no result of 'adcvsr bench -o {path.name}'") from error
    if not isinstance(schema, int) or schema > SCHEMA:
        raise BenchError(f"'{path}' has schema {schema}, this adcvsr reads {SCHEMA}; upgrade it")
    return dict(result)


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
        rows[label] = {(row["variant"], row["backend"]): row for row in result["variants"]}
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
        "variant": first["variant"],
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
        value = (value or {}).get(part)
    return value
