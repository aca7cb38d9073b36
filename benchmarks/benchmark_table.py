"""Put results of the field's benchmarks into the table of docs/benchmarks.md.

adcvsr evaluate Vid4 --protocol vid4 --model nano --model small -o vid4.json
python benchmarks/benchmark_table.py vid4.json

A row of the same benchmark, method and inputs is replaced. A result of a part of a benchmark, or of
fewer frames than the field takes, is refused: such figures are nobody else's.

python benchmarks/benchmark_table.py own.json --own "three clips of ours"

puts other clips that were measured under a benchmark's conventions into a table of their own, which
names them and no benchmark.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
SETS, OWN = "rows", "own rows"
HEAD = "| benchmark | method | inputs | clips | figures | by |"
RULE = "|---|---|---|---|---|---|"


def rows_of(report: dict[str, Any], own: str = "") -> list[str]:
    """Rows of a report of `adcvsr evaluate --protocol`.

    Args:
        report: Its JSON.
        own: What the clips are, where they are not the benchmark's; takes its name's place.

    Raises:
        ValueError: It is no such report, or of a part.
    """
    protocol = report["protocol"]
    benchmark = protocol.get("benchmark")
    if benchmark is None:
        raise ValueError("made without --protocol")
    if not own:
        _require_whole(protocol)
    if report["failed"]:
        raise ValueError(f"{len(report['failed'])} clips could not be measured")
    metrics = report["metrics"]
    rows = []
    for method in report["methods"]:
        means = report["mean"][method["name"]]
        figures = ", ".join(
            f"{metrics[name]['title']} {value:.4f}".rstrip() + f" {metrics[name]['unit']}".rstrip()
            for name, value in means.items()
            if value is not None
        )
        variant = f" {method['variant']}" if "variant" in method else ""
        cells = (
            f"{own}, as `{benchmark['name']}` measures" if own else benchmark["name"],
            method["name"].removesuffix(variant) + variant,
            protocol["inputs"],
            str(len(report["clips"])),
            figures,
            f"adcvsr {report['adcvsr']}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _require_whole(protocol: dict[str, Any]) -> None:
    """Refuse a part of a benchmark.

    Raises:
        ValueError: It is one; the message says what is missing.
    """
    if protocol["missing"]:
        raise ValueError(f"not the whole benchmark: {', '.join(protocol['missing'])} missing")
    if protocol["odd"]:
        raise ValueError(f"not the benchmark's frames: {'; '.join(protocol['odd'])}")
    if protocol.get("frames", 0) < 1_000_000:
        raise ValueError("made with --frames: not all frames of the clips")


def merged(page: str, rows: list[str], table: str = SETS) -> str:
    """The page with these rows, which take the place of those of the same first three cells.

    Args:
        page: Its text.
        rows: New ones.
        table: `SETS` or `OWN`, whose rows they are.
    """
    first, last = f"<!-- {table} -->", f"<!-- end of {table} -->"
    begin, end = page.index(first) + len(first), page.index(last)
    old = [line for line in page[begin:end].splitlines() if line.startswith("| ")]
    kept = {key_of(line): line for line in old if line != HEAD}
    kept |= {key_of(line): line for line in rows}
    lines = "\n".join([HEAD, RULE, *(kept[key] for key in sorted(kept))])
    return f"{page[:begin]}\n{lines}\n{page[end:]}"


def key_of(row: str) -> tuple[str, ...]:
    """Benchmark, method and inputs."""
    return tuple(cell.strip() for cell in row.strip("|").split("|")[:3])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", nargs="+", type=Path, help="Files of 'adcvsr evaluate -o'.")
    parser.add_argument("--own", default="", metavar="WHAT", help="Clips that are not the set's.")
    chosen = parser.parse_args()
    for path in chosen.reports:
        try:
            rows = rows_of(json.loads(path.read_text()), chosen.own)
        except (OSError, ValueError, KeyError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            return 1
        PAGE.write_text(merged(PAGE.read_text(), rows, OWN if chosen.own else SETS))
        print("\n".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
