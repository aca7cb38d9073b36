"""Time and peak memory of exporting a network; the bar for `paper` is 12 GB.

Exports an untrained preset in a process of its own and prints the peak resident memory the system
reports, the larger of its own and of AutoCast's process, which never holds the weights.

    python benchmarks/export_memory.py [--preset paper] [--causal] [--clips CLIP] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BAR_BYTES = 12e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--clips", type=Path, help="adds FP16 with this clip")
    parser.add_argument("--keep", type=Path, help="the bundle's place; else it is thrown away")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = arguments.keep or Path(folder) / arguments.preset
        command = [sys.executable, "-m", "adcvsr", "export", "-o", str(output), "--overwrite"]
        command += ["--untrained", arguments.preset, *["--causal"] * arguments.causal]
        if arguments.clips:
            command += ["--fp16", "--clips", str(arguments.clips)]
        start = time.perf_counter()
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"export failed with code {process.returncode}")
        size = sum(file.stat().st_size for file in output.iterdir())
    peak = usage.ru_maxrss * 1024
    print(
        f"{seconds:.0f} s ({usage.ru_utime + usage.ru_stime:.0f} CPU-s), peak {peak / 1e9:.2f} GB "
        f"(bar {BAR_BYTES / 1e9:g}), bundle {size / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
