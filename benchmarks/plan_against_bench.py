"""Hold the fitted cost model to `adcvsr bench` on this CPU, at five sizes.

    python benchmarks/plan_against_bench.py [--model nano] [--duration 6]

Every size is measured as `adcvsr bench` does, read as a row of the ledger is (CPU time over threads
where other work makes wall time worthless), and divided by what the model stored in the package
says. Exit code 1 where one is off by more than 1.25. A minute on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner
from fit_costs import modelled_ms

from adcvsr.cli.commands import cli
from adcvsr.plan.fitted import read_fitted
from adcvsr.plan.ledger import Row, read_ledger

SIZES = ("160x90", "240x136", "320x180", "480x270", "640x360")
MOST = 1.25


def measure(model: str, variant: str, duration: float, folder: Path) -> list[Row]:
    """Rows of this machine."""
    (folder / "results").mkdir()
    entries = []
    for size in SIZES:
        how = ["--variant", variant, "--size", size, "--duration", str(duration), "--no-start"]
        done = CliRunner().invoke(cli, ["bench", model, "--backend", "ort-cpu", *how, "--json"])
        if done.exit_code:
            raise SystemExit(f"{done.stderr}{done.exception or ''}")
        name = f"{size}.json"
        (folder / "results" / name).write_text(done.stdout)
        entries.append({"file": name, "target": "cpu", "fitted": [variant]})
    document = {"sources": {}, "networks": {}, "runs": [], "bench": entries, "left_out": []}
    (folder / "ledger.json").write_text(json.dumps(document))
    return list(read_ledger(folder / "ledger.json").rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variant", default="fp32-onnx")
    parser.add_argument("--duration", type=float, default=6.0, help="Seconds a size.")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(chosen.model, chosen.variant, chosen.duration, Path(folder))
    fits, worst = dict(read_fitted().classes), 1.0
    for row in rows:
        modelled = modelled_ms(row, fits)
        assert modelled is not None
        factor = max(modelled / row.ms, row.ms / modelled)
        worst = max(worst, factor)
        print(
            f"{row.network} {row.width}x{row.height} on {row.device}: {row.ms:.2f} ms measured "
            f"({row.note}), {modelled:.2f} modelled: {factor:.2f} off"
        )
    print(f"{'ok' if worst <= MOST else 'BEYOND'}: {worst:.2f} at worst, {MOST} allowed")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
