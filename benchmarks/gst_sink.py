"""CPU time of `live` into x264enc behind a `gst:` sink against its own libx264, on the same frames.

Both encode 4:2:0 with superfast, zerolatency and the same quality into mkv; children count. What a
run of few frames takes (loading) is taken off. The bar: at most 1.1 times.

    python benchmarks/gst_sink.py [--frames 200] [--rounds 3] [--size 320x180]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from gst_element import over_bar

LARGEST_RATIO = 1.1
FEW = 20
ENCODER = "x264enc tune=zerolatency speed-preset=superfast pass=quant quantizer=20 key-int-max=30"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="320x180")
    arguments = parser.parse_args()
    counts = (FEW, arguments.frames + FEW)
    found: dict[str, list[list[float]]] = {"libx264": [], "x264enc": []}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(arguments.rounds):
            for kind, each in found.items():
                commands = (command(kind, count, arguments.size, Path(name)) for count in counts)
                each.append([cpu_seconds(words) for words in commands])
    sys.exit(over_bar(found, "x264enc", "libx264", arguments.frames, LARGEST_RATIO))


def command(kind: str, count: int, size: str, folder: Path) -> list[str]:
    out = folder / "out.mkv"
    sink = f"gst:{ENCODER} ! h264parse ! matroskamux ! filesink location={out}"
    source = f"test://?size={size}&fps=1000&frames={count}"
    made = [sys.executable, "-m", "adcvsr", "live", "--source", source, "--policy", "every"]
    made += ["--sink", str(out) if kind == "libx264" else sink, "--overwrite", "--threads", "1"]
    return [*made, "-q", "--model", "nano", "--variant", "fp32-onnx"]


def cpu_seconds(words: list[str]) -> float:
    """What a command, its threads and its children took."""
    before = os.times()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )


if __name__ == "__main__":
    main()
