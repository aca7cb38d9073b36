"""CPU time of the element `adcvsr` in gst-launch-1.0 against `adcvsr live` on the same frames.

Both read a y4m file of 4:2:0, upscale it on one thread of the CPU and make 4:2:0 of the pictures.
What a run of few frames takes (loading) is taken off. The bar: at most 1.05 times.

    python benchmarks/gst_element.py [--frames 300] [--rounds 3] [--size 320x180]

It needs gst-python's loader and GStreamer's Python of the version that runs this.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime import gstreamer

LARGEST_RATIO = 1.05
FEW = 20
FPS = 1000
"""So that `live`, which plays files at their own pace, does not wait."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="320x180")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            count: write(folder / f"{count}.y4m", count, width, height)
            for count in (FEW, arguments.frames + FEW)
        }
        found: dict[str, list[list[float]]] = {"live": [], "element": []}
        for _ in range(arguments.rounds):
            for kind, make in (("live", live), ("element", element)):
                found[kind].append([cpu_seconds(make(path), folder) for path in files.values()])
    sys.exit(over_bar(found, "element", "live", arguments.frames, LARGEST_RATIO))


def over_bar(
    found: dict[str, list[list[float]]], made: str, base: str, frames: int, bar: float
) -> bool:
    """Print CPU time of a frame of both kinds, and whether one takes too much beside the other.

    Each kind's is by its shortest run of few frames and its shortest of many.
    """
    best = {}
    for kind, rounds in found.items():
        few, many = (min(each) for each in zip(*rounds, strict=True))
        best[kind] = 1000 * (many - few) / frames
        told = ", ".join(f"{many:.2f} - {few:.2f}" for few, many in rounds)
        print(f"{kind}: {best[kind]:.2f} CPU-ms a frame ({told} s)")
    ratio = best[made] / best[base]
    print(f"ratio {ratio:.3f}, bar {bar}")
    return ratio > bar


def write(path: Path, count: int, width: int, height: int) -> Path:
    clip = draw_clip(10, height, width)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{FPS}:1 Ip A1:1 C420mpeg2\n".encode())
        for index in range(count):
            at = index % 18
            frame = av.VideoFrame.from_ndarray(clip[min(at, 18 - at)], format="rgb24")
            planes = frame.reformat(format="yuv420p").planes
            file.write(b"FRAME\n")
            for plane in planes:
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
                file.write(rows[:, : plane.width].tobytes())
    return path


def live(path: Path) -> list[str]:
    command = [sys.executable, "-m", "adcvsr", "live", "--source", str(path), "--sink", "-"]
    command += ["--policy", "every", "--threads", "1", "-q"]
    return [*command, "--model", "nano", "--variant", "fp32-onnx"]


def element(path: Path) -> list[str]:
    upscale = "adcvsr model=nano precision=fp32-onnx threads=1 policy=every"
    return [
        *("gst-launch-1.0", "-q", "filesrc", f"location={path}", "!", "y4mdec", "!"),
        *upscale.split(),
        *("!", "video/x-raw,format=I420", "!", "fakesink", "sync=false"),
    ]


def cpu_seconds(command: list[str], folder: Path) -> float:
    """What a command and its threads took."""
    path = os.pathsep.join([gstreamer.__path__[0], os.environ.get("GST_PLUGIN_PATH", "")])
    env = os.environ | {
        "GST_PLUGIN_PATH": path,
        "GST_REGISTRY": str(folder / "registry"),
        "VIRTUAL_ENV": sys.prefix,
    }
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"failed: {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
