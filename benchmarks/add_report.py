"""Take what `adcvsr report` made on someone's machine into `benchmarks/results`.

    python benchmarks/add_report.py report.zip --machine orin-nano-super

writes each result of `bench` as `<machine>-<bundle>-<width>x<height>-<backend>.json`, as it is,
prints the lines of the table in `benchmarks/results/README.md`, and what `deploy` said of engines.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from adcvsr.errors import BenchError, OutputExistsError
from adcvsr.files import replace_file
from adcvsr.runtime.report.received import read_report

RESULTS = Path(__file__).parent / "results"


def rows(name: str, result: dict[str, Any]) -> list[str]:
    """Lines of the table: one a variant."""
    worthless = any(each.get("worthless") for each in result.get("warnings", ()))
    facts = result["conditions"]
    where = facts.get("board") or facts.get("processor") or "unknown"
    lines = []
    for number, row in enumerate(result["variants"]):
        first = number == 0
        wall = row["latency_ms"]
        ratio = (row.get("cpu_ratio") or {}).get("median")
        cells = [
            f"[{name}]({name})" if first else "",
            f"{where}" if first else "",
            f"{row['backend']}, {row['variant']}",
            "worthless" if worthless else f"{wall['p50']:.1f} / {wall['p99']:.1f}",
            f"{row['cpu_ms']['mean']:.1f}",
            "1" if ratio is None else f"{ratio:.3f}",
            f"{result.get('date', '')[:10]}, {facts.get('power_mode') or 'no power mode'}"
            if first
            else "the same run",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> int:
    """Read one report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("--machine", required=True, help="a short name: orin-nano-super")
    parser.add_argument("--into", type=Path, default=RESULTS)
    options = parser.parse_args()
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", options.machine):
        parser.error("--machine: small letters, digits and dashes")
    try:
        report = read_report(options.report)
        files = {}
        for result in report.results.values():
            width, height = result["size"]
            backend = result["variants"][0]["backend"]
            bundle = re.sub(r"[^A-Za-z0-9_-]", "", str(result["bundle"]["name"]))
            files[f"{options.machine}-{bundle}-{width}x{height}-{backend}.json"] = result
        if there := [name for name in files if (options.into / name).exists()]:
            raise OutputExistsError(f"'{there[0]}' is there already; take another --machine")
        for name, result in files.items():
            data = (json.dumps(result, indent=1) + "\n").encode()
            replace_file(options.into / name, lambda part, data=data: part.write_bytes(data))
            print("\n".join(rows(name, result)))
    except (BenchError, OutputExistsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for name, deployed in report.deployments.items():
        for tried in deployed.get("candidates", ()):
            print(f"{name}: {'; '.join(tried.get('reasons', ())) or 'accepted'}", file=sys.stderr)
    for step in report.steps:
        if step.get("exit") != 0:
            print(f"failed: {step['command']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
