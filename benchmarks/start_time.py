"""Start time of the command line: `adcvsr --help`, median of several runs. The bar is 0.2 s.

python benchmarks/start_time.py [--runs 15]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    times = []
    for _ in range(parser.parse_args().runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "adcvsr", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - began)
    print(f"adcvsr --help: median {statistics.median(times):.3f} s, largest {max(times):.3f} s")


if __name__ == "__main__":
    main()
