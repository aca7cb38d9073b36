"""Several test cameras over one network: drops, latency of each, cost a frame against one camera.

    python benchmarks/cameras.py --seconds 60

The one camera has as many pixels as all together (twice the width and height for four). The load of
the machine is printed, as it decides the figures where others use it, too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from typing import Any

NOBODY = "rtsp://127.0.0.1:9/stream?timeout=1"
"""A camera that is away."""


def live(arguments: list[str]) -> dict[str, Any]:
    """Run `adcvsr live` and return its report."""
    command = [sys.executable, "-m", "adcvsr", "live", *arguments, "--json", "-q"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def main() -> None:
    """Run and print; exit 1 where frames were dropped or a p99 is beyond two frame intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=90)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variant", default="int8-ort")
    parser.add_argument("--rounds", type=int, default=1, help="of the cost, the order changing")
    parser.add_argument("--dead", action="store_true", help="once more beside a dead camera")
    chosen = parser.parse_args()
    common = ["--model", chosen.model, "--variant", chosen.variant, "--backend", "ort-cpu"]
    common += ["--duration", str(chosen.seconds)]

    print(f"load before: {' '.join(f'{each:.1f}' for each in os.getloadavg())}")
    size = f"{chosen.width}x{chosen.height}"
    streams = [
        f"--stream=c{index}=test://?size={size}&fps={chosen.fps},sink=null://"
        for index in range(chosen.cameras)
    ]
    together = live([*streams, *common])
    limit = 2000 / chosen.fps
    bad = False
    for name, report in together["streams"].items():
        latency = report["ms"]["latency"]
        print(
            f"{name}: {report['presented']} of {report['captured']}, drops {report['drops']}, "
            f"p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms (limit {limit:.0f})"
        )
        bad = bad or bool(report["drops"]) or latency["p99"] > limit
    print(f"load after: {' '.join(f'{each:.1f}' for each in os.getloadavg())}")

    if chosen.dead:
        dead = f"--stream=dead={NOBODY},sink=null://"
        beside = live([*streams, dead, *common])
        print("with a camera beside them that is away, p99 against without it:")
        for name, report in together["streams"].items():
            before, after = (r["ms"]["latency"]["p99"] for r in (report, beside["streams"][name]))
            print(f"{name}: {after:.1f} ms, {after / before:.2f} times")

    scale = chosen.cameras**0.5
    width, height = round(chosen.width * scale), round(chosen.height * scale)
    source = f"test://?size={width}x{height}&fps={chosen.fps}"
    single = ["--source", source, "--sink", "null://"]
    pixels = chosen.cameras * chosen.width * chosen.height / (width * height)
    ratios = []
    for number in range(chosen.rounds):
        runs = [streams, single] if number % 2 else [single, streams]
        costs = {id(run): live([*run, *common])["cpu_ms_per_frame"] for run in runs}
        many, one = costs[id(streams)], costs[id(single)]
        ratios.append(many * chosen.cameras / one / pixels)
        print(
            f"cost: {many:.2f} CPU-ms a frame of {size}, {one:.2f} of {width}x{height}: "
            f"{ratios[-1]:.2f} for the same pixels"
        )
    if ratios:
        print(f"cost, median of {len(ratios)} rounds: {statistics.median(ratios):.2f}")
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
