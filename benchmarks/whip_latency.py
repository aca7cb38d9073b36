"""From glass to glass over WHIP: how old `live`'s pictures are when a WHIP server has decoded them.

`adcvsr live` upscales a pattern with the time in it and sends it to a server of aiortc's in this
process, which reads the time in each decoded picture. Beside it what `live` itself takes, until a
picture left for GStreamer. The first two seconds are left out.

    python benchmarks/whip_latency.py [--seconds 20] [--size 160x90] [--fps 15] [-- OPTIONS OF LIVE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from adcvsr.arrays import Levels
from adcvsr.runtime.live.pattern import age_of, read_time, wall_ms

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from whip_server import WhipServer

SETTLE_S = 2.0
GRACE_S = 120


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("options", nargs="*", help="of adcvsr live, after --")
    arguments = parser.parse_args()
    ages: list[int] = []
    unread, began = 0, 0.0

    def seen(_: float, picture: Levels) -> None:
        nonlocal unread, began
        began = began or time.monotonic()
        coded = read_time(picture)
        if coded is None:
            unread += 1
        elif time.monotonic() - began > SETTLE_S:
            ages.append(age_of(coded, wall_ms()))

    with WhipServer() as server:
        server.on_picture = seen
        command = [sys.executable, "-m", "adcvsr", "live", "--json"]
        command += ["--sink", f"{server.address}?timeout=60"]
        command += ["--source", f"test://?size={arguments.size}&fps={arguments.fps}"]
        command += ["--duration", f"{arguments.seconds:g}", *arguments.options]
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=arguments.seconds + GRACE_S,
        )
    report = json.loads(done.stdout)
    if len(ages) < 2:
        raise SystemExit(f"{len(ages)} pictures arrived whose time could be read, {unread} others")
    cuts = statistics.quantiles(ages, n=100)
    result = {
        "pictures": len(ages),
        "unread": unread,
        "glass_ms": {"p50": round(cuts[49], 1), "p90": round(cuts[89], 1), "max": max(ages)},
        "live_ms": report["ms"]["latency"],
        "drops": report["drops"],
        "encoder": report["encoder"],
        "ran": f"{report['model']} {report['variant']}",
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['ran']}, {result['encoder']}, dropped {result['drops']}")
    print(f"live until it left: {result['live_ms']} ms")
    print(f"glass to glass: {result['glass_ms']} ms over {result['pictures']} pictures")
    print(f"not read: {unread}")


if __name__ == "__main__":
    main()
