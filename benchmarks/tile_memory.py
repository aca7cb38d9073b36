"""Peak memory and speed of `adcvsr upscale` with and without tiles.

Upscales a drawn clip at each tile size in a process of its own and prints the peak resident memory
the system reports.

    python benchmarks/tile_memory.py [--size 1280x720] [--frames 6] [--tiles 512 256] [--model nano]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="1280x720", help="of the input")
    parser.add_argument("--frames", type=int, default=6)
    parser.add_argument("--tiles", type=int, nargs="+", default=[512, 256])
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        drawn = draw_clip(1, height, width)[0]
        write_clip(clip, (drawn for _ in range(arguments.frames)))
        for tile in (None, *arguments.tiles):
            peak, report = run(clip, Path(folder) / "out.mp4", arguments.model, tile)
            work = report["tiles"]["work"] if report["tiles"] else 1.0
            print(
                f"tile {tile or 'none':>5}: peak {peak:7.1f} MiB, work {work:.2f}, "
                f"network {report['stages']['infer']['cpu_seconds'] / report['frames']:.2f} "
                "CPU-s a frame"
            )


def run(clip: Path, output: Path, model: str, tile: int | None) -> tuple[float, dict[str, object]]:
    command = [sys.executable, "-m", "adcvsr", "upscale", str(clip), str(output), "--overwrite"]
    command += ["--model", model, "--json", "--preset", "ultrafast"]
    command += ["--tile", str(tile)] if tile else []
    with tempfile.TemporaryFile() as stdout:
        process = subprocess.Popen(command, stdout=stdout)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"upscale failed with status {status}")
        stdout.seek(0)
        return usage.ru_maxrss / 1024, json.loads(stdout.read())


if __name__ == "__main__":
    main()
