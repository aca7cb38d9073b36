"""Memory of a live run that goes on: what it holds after a minute against what it holds at the end.

Runs `adcvsr live` for the minutes given and reads its own figures, a line a second. What the second
minute holds is what a run of one minute ends with. The bar: the last minute holds at most 5 % more.
The slope is the median of all slopes between minutes (Theil-Sen), so that one jump is not a leak.

    python benchmarks/soak.py [--minutes 60] [--source URI] [--sink URI] [-- OPTIONS OF LIVE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

LARGEST_GROWTH = 1.05
LEAST_MINUTES, MOST_MINUTES = 3, 24 * 60
"""Below there is no slope; beyond, a day, slopes between all minutes take long to count."""

GRACE_SECONDS = 120
"""For loading and ending."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--source", default="test://?size=160x90&fps=15")
    parser.add_argument("--sink", default="null://")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("options", nargs="*", help="of adcvsr live, after --")
    arguments = parser.parse_args()
    if not LEAST_MINUTES <= arguments.minutes <= MOST_MINUTES:
        raise SystemExit(
            f"--minutes {arguments.minutes:g}: expected {LEAST_MINUTES} to {MOST_MINUTES}"
        )
    with tempfile.TemporaryDirectory() as folder:
        stats = Path(folder) / "stats.jsonl"
        report = run(arguments, stats)
        records = [json.loads(line) for line in stats.read_text().splitlines()]
    result = judge(records, report)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        tell(result)
    sys.exit(not result["passed"])


def run(arguments: argparse.Namespace, stats: Path) -> dict[str, Any]:
    """Run the stream; return its report."""
    seconds = arguments.minutes * 60
    command = [sys.executable, "-m", "adcvsr", "live", "--json", "--stats-jsonl", str(stats)]
    command += ["--source", arguments.source, "--sink", arguments.sink]
    command += ["--duration", f"{seconds:g}", *arguments.options]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, timeout=seconds + GRACE_SECONDS
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def judge(records: list[dict[str, Any]], report: dict[str, Any]) -> dict[str, Any]:
    """Compare the memory of minutes, and see that every frame is accounted for."""
    minutes = memory_by_minute(records)
    # The first minute holds the start; the second begins where a run of one minute ends.
    early, late = minutes[1], minutes[max(minutes)]
    slopes = [
        (minutes[b] - minutes[a]) / (b - a)
        for a, b in itertools.combinations(sorted(minutes)[1:], 2)
    ]
    lost = sum(count for why, count in report["drops"].items() if why != "damaged")
    balanced = report["captured"] == report["presented"] + lost + report["unfinished"]
    return {
        "passed": late <= LARGEST_GROWTH * early and balanced and report["presented"] > 0,
        "minutes": round(report["seconds"] / 60, 2),
        "mb_after_a_minute": round(early / 1e6, 2),
        "mb_last_minute": round(late / 1e6, 2),
        "growth": round(late / early, 4),
        "mb_an_hour": round(60 * statistics.median(slopes) / 1e6, 3),
        "mb_by_minute": [round(minutes[minute] / 1e6, 2) for minute in sorted(minutes)],
        "balanced": balanced,
        **{key: report[key] for key in ("captured", "presented", "drops", "resets", "reconnects")},
        "latency_ms": report["ms"]["latency"],
        "ran": f"{report['source']} -> {report['sink']}, {report['model']} {report['variant']}",
    }


def memory_by_minute(records: list[dict[str, Any]]) -> dict[int, float]:
    """Median bytes of each minute since the first frame; a last one cut short is left out."""
    held: dict[int, list[int]] = defaultdict(list)
    for record in records:
        if record["rss_bytes"] is None:
            raise SystemExit(
                "this system does not tell the memory of a process (/proc/self/status)"
            )
        held[int(record["seconds"] // 60)].append(record["rss_bytes"])
    last = max(held)
    if len(held[last]) < 30:
        del held[last]
    return {minute: statistics.median(values) for minute, values in held.items()}


def tell(result: dict[str, Any]) -> None:
    print(f"{result['ran']}: {result['minutes']} minutes")
    print(f"frames: {result['presented']} of {result['captured']}, dropped {result['drops']}")
    print(
        f"memory: {result['mb_after_a_minute']} MB after a minute, "
        f"{result['mb_last_minute']} MB in the last one: {result['growth']:.4f} "
        f"(at most {LARGEST_GROWTH}); "
        f"slope {result['mb_an_hour']:+.3f} MB an hour"
    )
    print(f"minutes: {result['mb_by_minute']} MB")
    print("passed" if result["passed"] else "FAILED")


if __name__ == "__main__":
    main()
