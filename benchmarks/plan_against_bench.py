"""Hold the fitted cost model to `adcvsr bench` on this CPU, at five sizes.

    python benchmarks/plan_against_bench.py [--model nano] [--rounds 5] [--minutes 4]

The sizes take turns over several rounds, each measured as `adcvsr bench` does, and each size's
figure is the median of its clocks, divided by what the model stored in the package says. A run
counts only where other programs took at most 6 % of one processor meanwhile: the network's threads
wait for each other at every layer, so what holds up one of them holds up the frame. Rounds go on
until every size has `--rounds` such runs, or `--minutes` are over.

Exit code 0 where all sizes are within 1.25, 1 where one is beyond, 3 where the machine was too busy
to tell. CPU time over threads, which other work moves less, stands beside every clock and decides
nothing. A minute and a half on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from fit_costs import modelled_ms

from adcvsr.cli.commands import cli
from adcvsr.plan.fitted import Fit, read_fitted
from adcvsr.plan.ledger import read_ledger

SIZES = ("160x90", "240x136", "320x180", "480x270", "640x360")
MOST = 1.25
BUSY = 0.06
"""Of one processor, what other programs may take of a run that counts."""

LEAST_RUNS = 3
"""Of a size, that count: a median of fewer is none."""

BEYOND, TOO_BUSY = 1, 3
"""Exit codes."""


@dataclass(frozen=True)
class Run:
    """One `adcvsr bench` of one size."""

    size: str
    clock_ms: float
    """Median of the frames' clocks."""
    cpu_ms: float
    """Median of the frames' CPU time over the number of threads."""
    modelled_ms: float
    others: float | None
    """Share of all processors that other programs took, 0 to 1; None where not told."""
    processors: int

    @property
    def counts(self) -> bool:
        """Whether the machine was this run's."""
        return self.others is not None and self.others * self.processors <= BUSY


def measure(model: str, variant: str, size: str, seconds: float, fits: dict[str, Fit]) -> Run:
    """One run here.

    Raises:
        SystemExit: The command failed.
    """
    how = ["--variant", variant, "--size", size, "--duration", str(seconds), "--no-start"]
    done = CliRunner().invoke(cli, ["bench", model, "--backend", "ort-cpu", *how, "--json"])
    if done.exit_code:
        raise SystemExit(f"{done.stderr}{done.exception or ''}")
    entry = {"file": "run.json", "target": "cpu", "fitted": [variant]}
    document = {"sources": {}, "networks": {}, "runs": [], "bench": [entry], "left_out": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "results").mkdir()
        (path / "results" / "run.json").write_text(done.stdout)
        (path / "ledger.json").write_text(json.dumps(document))
        (row,) = read_ledger(path / "ledger.json").rows
    modelled = modelled_ms(row, fits)
    assert modelled is not None
    result = json.loads(done.stdout)
    (found,), facts = result["variants"], result["conditions"]
    return Run(
        size,
        clock_ms=found["latency_ms"]["p50"],
        cpu_ms=found["cpu_ms"]["p50"] / facts["threads"],
        modelled_ms=modelled,
        others=facts["others_share"],
        processors=os.cpu_count() or 1,
    )


def judge(runs: list[Run]) -> tuple[list[str], int]:
    """What the runs say of the model.

    Args:
        runs: Of all sizes, in any order.

    Returns:
        Lines to print, and the exit code.
    """
    lines, by_clock, by_cpu, short = list[str](), list[float](), list[float](), list[str]()
    for size in dict.fromkeys(run.size for run in runs):
        its = [run for run in runs if run.size == size]
        counted = [run for run in its if run.counts]
        modelled = its[0].modelled_ms
        cpu = float(np.median([run.cpu_ms for run in counted or its]))
        by_cpu.append(_off(cpu, modelled))
        told = f"CPU time over threads {cpu:.2f} ms, {by_cpu[-1]:.2f} off"
        if len(counted) < LEAST_RUNS:
            short.append(size)
            clock = f"{len(counted)} of {len(its)} runs count, {LEAST_RUNS} are needed"
        else:
            values = [run.clock_ms for run in counted]
            by_clock.append(_off(float(np.median(values)), modelled))
            clock = (
                f"{np.median(values):.2f} ms by the clock ({min(values):.2f} to "
                f"{max(values):.2f} in {len(counted)} of {len(its)} runs), {by_clock[-1]:.2f} off"
            )
        lines.append(f"{size}: {modelled:.2f} ms modelled, {clock}; {told}")
    if short:
        return [*lines, _too_busy(runs, short, max(by_cpu))], TOO_BUSY
    worst = max(by_clock)
    word = "ok" if worst <= MOST else "BEYOND"
    lines.append(f"{word}: {worst:.2f} at worst by the clock, {MOST} allowed")
    return lines, 0 if worst <= MOST else BEYOND


def _off(measured: float, modelled: float) -> float:
    return max(modelled / measured, measured / modelled)


def _too_busy(runs: list[Run], short: list[str], cpu: float) -> str:
    shares = [run.others for run in runs if run.others is not None]
    if not shares:
        return (
            "NOT JUDGED: this system does not tell what other programs take of the processors; "
            "run it on Linux"
        )
    allowed = BUSY / runs[0].processors
    return (
        f"NOT JUDGED: the machine was busy: of the processors this program could have only "
        f"{1 - float(np.median(shares)):.0%} in the median run, {1 - allowed:.0%} are needed "
        f"({', '.join(short)}). CPU time is {cpu:.2f} off at worst; end what else runs, then run "
        "this again"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variant", default="fp32-onnx")
    parser.add_argument("--duration", type=float, default=2.0, help="Seconds a run.")
    parser.add_argument("--rounds", type=int, default=5, help="Runs that count, of each size.")
    parser.add_argument("--minutes", type=float, default=4.0, help="No round begins after these.")
    chosen = parser.parse_args()
    if chosen.rounds < LEAST_RUNS:
        parser.error(f"--rounds is {chosen.rounds}, expected at least {LEAST_RUNS}")
    fits, runs = dict(read_fitted().classes), list[Run]()
    end = time.monotonic() + 60 * chosen.minutes
    missing = dict.fromkeys(SIZES, chosen.rounds)
    while any(missing.values()) and (not runs or time.monotonic() < end):
        for size in (size for size in SIZES if missing[size]):
            run = measure(chosen.model, chosen.variant, size, chosen.duration, fits)
            runs.append(run)
            missing[size] -= run.counts
            others = "unknown" if run.others is None else f"{run.others:.1%}"
            print(
                f"{run.size}: {run.clock_ms:.2f} ms by the clock, {run.cpu_ms:.2f} CPU time over "
                f"threads; other programs took {others} of the processors: "
                f"{'counts' if run.counts else 'does not count'}",
                flush=True,
            )
    lines, code = judge(runs)
    print("\n".join(["", *lines]))
    return code


if __name__ == "__main__":
    sys.exit(main())
