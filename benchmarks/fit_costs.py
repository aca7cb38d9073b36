"""Fit the cost model of `adcvsr plan` to the ledger of measured speeds, and say how well it fits.

python benchmarks/fit_costs.py            # says it
python benchmarks/fit_costs.py --write    # also writes src/adcvsr/plan/fitted.json and the tables
                                          # of docs/measurements.md
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np

from adcvsr.errors import AdcVsrError
from adcvsr.files import replace_file
from adcvsr.plan.fitted import COMMAND, FIGURES, TABLE, Fit, as_table, class_of
from adcvsr.plan.fitting import fit_classes
from adcvsr.plan.ledger import Ledger, Row, read_ledger
from adcvsr.plan.work import count_work
from adcvsr.targets import target

HERE = Path(__file__).parent
LEDGER = HERE / "ledger.json"
PAGE = HERE.parent / "docs" / "measurements.md"


def modelled_ms(row: Row, fits: dict[str, Fit]) -> float | None:
    """What the fitted model says of a row; None where it is not fitted."""
    if not row.fitted or row.target is None:
        return None
    where = target(row.target)
    of_floats = row.precision if row.precision in {"fp32", "tf32"} else "fp32"
    work = count_work(row.nodes, where, row.backend, of_floats).slowed(row.compute_share)
    fit = fits[class_of(where, row.backend)]
    return float(1e3 * work.seconds(np.array(fit.values)).sum())


def row_lines(ledger: Ledger, fits: dict[str, Fit]) -> list[str]:
    """The table of measured speeds."""
    lines = [
        "| device, power | runtime | network | size | precision | ms | modelled | source |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ledger.rows:
        modelled = modelled_ms(row, fits)
        power = f", {row.power}" if row.power else ""
        if row.compute_share != 1:
            power += f", {row.compute_share:.2f} of the target's arithmetic"
        told = "not fitted" if modelled is None else f"{modelled:.2f} ({modelled / row.ms:.2f})"
        lines.append(
            f"| {row.device}{power} | {row.runtime} | {row.network} | {row.width}x{row.height} "
            f"| {row.precision} | {row.ms:.2f} | {told} | {row.source} |"
        )
    return lines


def fit_lines(fits: dict[str, Fit]) -> list[str]:
    """The table of classes."""
    lines = [
        "| class | rows | devices | networks | compute | half channels | bandwidth | kernel "
        "| spread | a row left out | a network left out | a device left out | inside 90 % |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for fit in fits.values():
        compute, half, bandwidth, kernel = fit.values
        left = [
            "{:.2f}, {:.2f}".format(*fit.left_out[key]) if key in fit.left_out else "-"
            for key in ("row", "network", "device")
        ]
        lines.append(
            f"| {fit.name} | {fit.rows} | {', '.join(fit.devices)} | {fit.networks} "
            f"| {compute:.2f} | {half:.1f} | {bandwidth:.2f} | {kernel * 1e6:.1f} µs "
            f"| {np.exp(fit.spread):.2f} | {' | '.join(left)} | {fit.covered:.0%} |"
        )
    return lines


def note_lines(ledger: Ledger) -> list[str]:
    """What is to be known of each source's rows."""
    notes = dict.fromkeys((row.source, row.device, row.note) for row in ledger.rows)
    return [f"- `{source}`, {device}: {note}" for source, device, note in notes if note]


def source_lines(ledger: Ledger) -> list[str]:
    """Titles and addresses."""
    return [f"- `{key}`: {each.title}, <{each.url}>" for key, each in ledger.sources.items()]


def left_lines(ledger: Ledger) -> list[str]:
    """What was found and not taken."""
    return [f"- {each.what}: {each.why}. {_place(each.url)}" for each in ledger.left_out]


def _place(url: str) -> str:
    return f"<{url}>" if "://" in url else f"`{url}`"


def tables(ledger: Ledger, fits: dict[str, Fit]) -> dict[str, list[str]]:
    """All parts of the page that are made from the ledger."""
    return {
        "rows": row_lines(ledger, fits),
        "notes": note_lines(ledger),
        "fit": fit_lines(fits),
        "sources": source_lines(ledger),
        "left out": left_lines(ledger),
    }


def fill(page: str, parts: dict[str, list[str]]) -> str:
    """The page with its made parts put in anew."""
    for name, lines in parts.items():
        marks = f"<!-- {name} -->", f"<!-- end of {name} -->"
        made = "\n".join([marks[0], *lines, marks[1]])
        page, count = re.subn(
            f"{re.escape(marks[0])}.*?{re.escape(marks[1])}",
            lambda _, made=made: made,
            page,
            flags=re.S,
        )
        if count != 1:
            raise SystemExit(f"error: {PAGE} has {count} parts '{name}', expected 1")
    return page


def as_json(ledger: Ledger, fits: dict[str, Fit]) -> str:
    """`fitted.json`."""
    table = {
        "made_by": f"{COMMAND} --write",
        "figures": list(FIGURES),
        "ledger_sha256": ledger.sha256,
        "classes": {name: as_table(fit) for name, fit in fits.items()},
    }
    return json.dumps(table, indent=1) + "\n"


def main() -> int:
    """Fit, and say or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    try:
        ledger = read_ledger(LEDGER)
        fits = fit_classes(ledger.rows)
    except AdcVsrError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join([*row_lines(ledger, fits), "", *fit_lines(fits)]))
    if options.write:
        data = as_json(ledger, fits).encode()
        replace_file(TABLE, lambda part: part.write_bytes(data))
        page = fill(PAGE.read_text(), tables(ledger, fits)).encode()
        replace_file(PAGE, lambda part: part.write_bytes(page))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
