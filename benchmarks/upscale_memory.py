"""Peak memory of `adcvsr upscale` against the clip's length: it must not grow.

Upscales the same drawn content at two lengths, each in a process of its own, and compares the peak
resident memory the system reports. The bar is 5 %.

    python benchmarks/upscale_memory.py [--short 300] [--long 3000] [--model nano]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from upscale_speed import drawn_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--short", type=int, default=300)
    parser.add_argument("--long", type=int, default=3000)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for frames in (arguments.short, arguments.long):
            clip = drawn_clip(Path(folder), frames)
            peaks[frames] = peak_mib(clip, Path(folder) / "out.mp4", arguments.model)
            print(f"{frames} frames: peak {peaks[frames]:.1f} MiB")
    print(f"ratio {peaks[arguments.long] / peaks[arguments.short]:.3f}")


def peak_mib(clip: Path, output: Path, model: str) -> float:
    command = [sys.executable, "-m", "adcvsr", "upscale", str(clip), str(output), "--overwrite"]
    process = subprocess.Popen([*command, "--model", model], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"upscale failed with status {status}")
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
