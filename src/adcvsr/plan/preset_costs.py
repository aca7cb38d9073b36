"""What every preset costs, for `adcvsr plan --all`: a table that comes with the package.

Most presets have no bundle to count, and counting takes an export of untrained weights, which takes
torch and minutes. So the counts are stored, with the command that makes them again:

    python -m adcvsr.export.count_presets

The stored graphs are FP32; FP16 is counted from them with every float half as large.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BackendUnavailableError, ConfigError
from ..graph.cost import GraphCost, NodeCost
from ..reading import read_json
from ..targets import TARGETS
from .planning import memory_bytes, memory_limit
from .roofline import predict

TABLE = Path(__file__).with_name("preset_costs.json")
COMMAND = "python -m adcvsr.export.count_presets"

COLUMNS = (
    *("preset", "target", "backend", "arithmetic", "G MAC", "activations MB", "state MB"),
    *("weights MB", "memory MB", "ms a frame", "fps"),
)

Row = dict[str, Any]


def all_rows() -> tuple[list[Row], list[str]]:
    """Predict every preset on every target.

    Returns:
        A row each, and what has to be known to read them.
    """
    stored = read_json(TABLE, error=ConfigError, advice=f"make it again: {COMMAND}").mapping()
    rows = [_row(entry, name) for entry in stored["presets"] for name in TARGETS]
    size = f"{stored['width']}x{stored['height']}"
    return rows, [
        f"frames of {size}; counted from untrained exports, stored in the package ({COMMAND})",
        "times are predictions, fitted to published measurements (docs/measurements.md); "
        "'adcvsr plan BUNDLE' says how sure, and corrects them by measurements",
    ]


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as aligned lines, the heading first."""
    cells = [COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return [
        "  ".join(
            cell.ljust(width) if index < 4 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]


def pack_cost(cost: GraphCost) -> dict[str, Any]:
    """A cost for the table: equal nodes as one list of a count, the operator and seven figures."""
    counted: dict[tuple[Any, ...], int] = {}
    for node in cost.nodes:
        key = (
            node.op_type,
            node.multiply_adds,
            node.read_bytes,
            node.written_bytes,
            node.weight_bytes,
            node.score_bytes,
            node.in_channels,
            node.out_channels,
        )
        counted[key] = counted.get(key, 0) + 1
    return {
        "nodes": [[count, *key] for key, count in counted.items()],
        "weight_bytes": cost.weight_bytes,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "fused_peak_activation_bytes": cost.fused_peak_activation_bytes,
        "state_bytes": cost.state_bytes,
    }


def unpack_cost(entry: dict[str, Any]) -> GraphCost:
    """The cost that `pack_cost` stored; nodes have no names."""
    nodes = []
    for count, *figures, read, written in entry["nodes"]:
        node = replace(NodeCost("", *figures), in_channels=read, out_channels=written)
        nodes += [node] * count
    return GraphCost(
        nodes=tuple(nodes),
        weight_bytes=entry["weight_bytes"],
        peak_activation_bytes=entry["peak_activation_bytes"],
        fused_peak_activation_bytes=entry["fused_peak_activation_bytes"],
        state_bytes=entry["state_bytes"],
    )


def in_fp16(cost: GraphCost) -> GraphCost:
    """The same graph with every float half as large."""
    nodes = [
        replace(
            node,
            read_bytes=node.read_bytes // 2,
            written_bytes=node.written_bytes // 2,
            weight_bytes=node.weight_bytes // 2,
            score_bytes=node.score_bytes // 2,
            element="float16",
        )
        for node in cost.nodes
    ]
    return GraphCost(
        nodes=tuple(nodes),
        weight_bytes=cost.weight_bytes // 2,
        peak_activation_bytes=cost.peak_activation_bytes // 2,
        fused_peak_activation_bytes=cost.fused_peak_activation_bytes // 2,
        state_bytes=cost.state_bytes // 2,
    )


def _row(entry: dict[str, Any], name: str) -> Row:
    target, fresh = TARGETS[name], entry["fresh_frames"]
    backend = target.backends[0]
    cost = unpack_cost(entry)
    precision = "fp16" if "fp16" in target.precisions(backend) else "fp32"
    if precision == "fp16":
        cost = in_fp16(cost)
    row: Row = {
        "preset": entry["preset"],
        "target": name,
        "backend": backend,
        "precision": precision,
        "multiply_adds": cost.multiply_adds // fresh,
        "activation_bytes": cost.activation_bytes // fresh,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "state_bytes": cost.state_bytes,
        "weight_bytes": cost.weight_bytes,
        "memory_bytes": memory_bytes(
            cost, entry["width"], entry["height"], entry["frames"], backend
        ),
        "frame_ms": None,
        "fits_memory": None,
        "reason": "",
    }
    limit = memory_limit(target)
    row["fits_memory"] = limit is None or row["memory_bytes"] <= limit
    try:
        row["frame_ms"] = round(predict(cost.nodes, target, backend).seconds / fresh * 1000, 3)
    except BackendUnavailableError as error:
        row["reason"] = str(error)
    return row


def _cells(row: Row) -> tuple[str, ...]:
    ms = row["frame_ms"]
    return (
        row["preset"],
        row["target"],
        row["backend"],
        row["precision"],
        f"{row['multiply_adds'] / 1e9:.1f}",
        f"{row['activation_bytes'] / 1e6:.0f}",
        f"{row['state_bytes'] / 1e6:.1f}",
        f"{row['weight_bytes'] / 1e6:.1f}",
        f"{row['memory_bytes'] / 1e6:.0f}" + ("" if row["fits_memory"] else " too much"),
        "-" if ms is None else f"{ms:.2f}",
        "-" if ms is None or not row["fits_memory"] else f"{1000 / ms:.1f}",
    )
