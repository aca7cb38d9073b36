"""The README's table of speed: measured here, printed to be pasted, within six minutes.

Each row is `adcvsr upscale` of a drawn clip of dense texture, in a process of its own; rows take
turns over the rounds and the fastest round counts, since other work only ever slows one. What the
rows cannot say stands below them: processors, versions, the time other programs took meanwhile,
and the latency of `adcvsr live`. A machine that other programs use is named as such, and its
rows are for looking at, not for the README.

    python benchmarks/readme_table.py [--rounds 2] [--minutes 6] [--frames-share 1.0]

The lines go between the marks `<!-- speed -->` and `<!-- end of speed -->` of README.md;
`--write` puts them there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from upscale_speed import drawn_clip, together_ms

from adcvsr.runtime.bench.conditions import read_conditions

README = Path(__file__).resolve().parents[1] / "README.md"
MARKS = ("<!-- speed -->\n", "<!-- end of speed -->\n")
TIMES = "\N{MULTIPLICATION SIGN}"
QUIET = 0.05
"""Share of the processors that other programs may take for rows that are quoted."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what is upscaled, and how many frames of it."""

    size: str
    model: str
    variant: str
    frames: int
    options: tuple[str, ...] = ()


ROWS = (
    Row("320x180", "nano", "int8", 300),
    Row("320x180", "nano", "fp32", 300),
    Row("320x180", "small", "int8", 100),
    Row("640x360", "nano", "int8", 100),
    Row("640x360", "nano", "int8", 100, ("--scale", "2")),
)
LIVE = "test://?size=320x180&fps=30"
LIVE_S = 20


@dataclass
class Found:
    """The best round of a row."""

    report: dict[str, Any]
    others: float
    """Share of the processors that other programs took meanwhile."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=6, help="no round that ends later")
    parser.add_argument("--frames-share", type=float, default=1.0, help="of each row's frames")
    parser.add_argument("--write", action="store_true", help="put the lines into README.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        seconds = 60 * given.minutes - LIVE_S
        found = dict(measure(Path(folder), given.rounds, seconds, given.frames_share))
        command = ["live", "--source", LIVE, "--sink", "null://", "--model", "nano"]
        live = run(command, "--duration", str(LIVE_S))
    text = "".join(f"{line}\n" for line in lines(found, live))
    print(text, end="")
    print(f"({time.monotonic() - began:.0f} s)", file=sys.stderr)
    if given.write:
        write(text)


def measure(folder: Path, rounds: int, seconds: float, share: float) -> Iterator[tuple[Row, Found]]:
    """The rows in turn, as many rounds as there is time for."""
    best: dict[Row, Found] = {}
    began = time.monotonic()
    for index in range(rounds):
        round_began = time.monotonic()
        for row in ROWS:
            found = upscale(row, folder, share)
            if row not in best or found.report["fps"] > best[row].report["fps"]:
                best[row] = found
        took = time.monotonic() - round_began
        if index + 1 < rounds and time.monotonic() - began + took > seconds:
            print(f"{index + 1} of {rounds} rounds: no time for another", file=sys.stderr)
            break
    yield from best.items()


def upscale(row: Row, folder: Path, share: float) -> Found:
    width, height = map(int, row.size.split("x"))
    clip = drawn_clip(folder, max(8, round(row.frames * share)), height, width)
    command = ["upscale", str(clip), str(folder / "out.mp4"), "--overwrite", "--model", row.model]
    return run(command, "--variant", row.variant, *row.options)


def run(command: list[str], *options: str) -> Found:
    """A command with `--json`, and what other programs took of the processors meanwhile."""
    busy, began = busy_seconds(), time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "adcvsr", *command, *options, "--json"], stdout=output
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"adcvsr {' '.join(command)} failed")
        output.seek(0)
        report = json.load(output)
    own = used.ru_utime + used.ru_stime
    spent = busy_seconds() - busy - own
    return Found(report, max(0.0, spent) / ((time.monotonic() - began) * (os.cpu_count() or 1)))


def busy_seconds() -> float:
    """Processor time of all programs and of other machines on this host so far."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")


def lines(found: dict[Row, Found], live: Found) -> Iterator[str]:
    """Markdown: the table, then the conditions."""
    conditions = read_conditions()
    heads = "input → output | network | in | frames a second | CPU-ms a frame"
    yield f"| {heads} (decode, network, encode) |"
    yield "|---|---|---|---|---|"
    for row, each in found.items():
        width, height = each.report["output_size"]
        spent = together_ms(each.report)
        stages = ", ".join(f"{spent[name]:.0f}" for name in ("decode", "infer", "encode"))
        yield (
            f"| {row.size.replace('x', TIMES)} → {width}{TIMES}{height} | `{row.model}` "
            f"| {row.variant.upper()} | {_fps(each.report['fps'])} | {stages} |"
        )
    others = max(each.others for each in (*found.values(), live))
    day = datetime.now(timezone.utc).date()
    yield ""
    yield (
        f"Measured {day} on {conditions['processors_usable']} processors "
        f"({conditions['processor']}), Python {conditions['python']}, no GPU, with x264 "
        f"`veryfast`, a drawn clip of dense texture; other programs took at most {others:.0%} of "
        f"the processors "
        f"(`python benchmarks/readme_table.py`)."
    )
    latency = live.report["ms"]["latency"]
    yield (
        f"`adcvsr live` of 320{TIMES}180 at 30 fps: {latency['p50']:.0f} ms from captured to "
        f"presented (median), {latency['p99']:.0f} ms at the 99th percentile, over {LIVE_S} s."
    )
    if others > QUIET:
        yield f"**Not for the README: other programs took more than {QUIET:.0%} of the processors**"


def _fps(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def write(text: str) -> None:
    before, rest = README.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    README.write_text(f"{before}{MARKS[0]}{text}{MARKS[1]}{after}")


if __name__ == "__main__":
    main()
