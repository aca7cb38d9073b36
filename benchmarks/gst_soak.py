"""Memory over minutes of every way through GStreamer, pipes and WHIP, children included.

Four ways at once, a few frames a second each: the element in gst-launch-1.0, `live` from `gst:` to
`gst:`, `ffmpeg | upscale - -`, and `live` to a WHIP server of aiortc's. Memory of all processes is
read each second from /proc. The bar: the last minute holds at most 5 % more than the second.

    python benchmarks/gst_soak.py [--minutes 10] [--ways element,gst,pipes,whip] [--fps 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adcvsr.runtime import gstreamer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

LARGEST_GROWTH = 1.05
LEAST_MINUTES = 3
SIZE, NETWORK = "160x90", ["--model", "nano", "--variant", "int8", "--threads", "1"]
WIDTH, HEIGHT = SIZE.split("x")
ADCVSR = [sys.executable, "-m", "adcvsr"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.minutes < LEAST_MINUTES:
        raise SystemExit(f"--minutes {arguments.minutes:g}: expected {LEAST_MINUTES} or more")
    seconds = arguments.minutes * 60
    held: dict[str, list[list[int]]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        running = {
            way: stack.enter_context(WAYS[way](arguments.fps, Path(folder)))
            for way in arguments.ways.split(",")
        }
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            for way, process in running.items():
                if process.poll() is not None:
                    raise SystemExit(f"{way} ended by itself with status {process.returncode}")
                minutes = held.setdefault(way, [])
                if len(minutes) <= now // 60:
                    minutes.append([])
                minutes[-1].append(tree_bytes(process.pid))
            time.sleep(1)
    results = {way: judge(minutes) for way, minutes in held.items()}
    if arguments.json:
        print(json.dumps(results, indent=1))
    else:
        for way, result in results.items():
            print(f"{way}: {result['mb_by_minute']} MB, growth {result['growth']:.4f}")
    sys.exit(any(result["growth"] > LARGEST_GROWTH for result in results.values()))


def judge(minutes: list[list[int]]) -> dict[str, object]:
    mb = [round(statistics.median(each) / 1e6, 2) for each in minutes if len(each) > 20]
    return {"mb_by_minute": mb, "growth": round(mb[-1] / mb[1], 4)}


def tree_bytes(pid: int) -> int:
    """What a process and those it started hold in RAM; pages they share count for each."""
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        try:
            status = Path(f"/proc/{each}/status").read_text()
            for task in Path(f"/proc/{each}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except OSError:
            continue  # it has just ended
        line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
        total += int(line.split()[1]) << 10 if line else 0
    return total


@contextmanager
def started(command: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, **options) as process:  # type: ignore[call-overload]
        try:
            yield process
        finally:
            process.terminate()


@contextmanager
def element(fps: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    path = os.pathsep.join([gstreamer.__path__[0], os.environ.get("GST_PLUGIN_PATH", "")])
    env = os.environ | {
        "GST_PLUGIN_PATH": path,
        "GST_REGISTRY": str(folder / "registry"),
        "VIRTUAL_ENV": sys.prefix,
    }
    caps = f"video/x-raw,format=NV12,width={WIDTH},height={HEIGHT},framerate={fps}/1"
    words = (
        f"gst-launch-1.0 -q videotestsrc is-live=true pattern=ball ! {caps} ! adcvsr model=nano "
    )
    words += "precision=int8 threads=1 policy=every ! video/x-raw,format=I420 ! fakesink"
    with started(words.split(), env=env) as process:
        yield process


@contextmanager
def gst(fps: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    caps = f"video/x-raw,format=NV12,width={WIDTH},height={HEIGHT},framerate={fps}/1"
    source = f"gst:videotestsrc is-live=true pattern=ball ! {caps}"
    command = [*ADCVSR, "live", "-q", "--source", source, "--sink", "gst:fakesink", *NETWORK]
    with started(command) as process:
        yield process


@contextmanager
def pipes(fps: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    feed = ["ffmpeg", "-v", "error", "-re", "-f", "lavfi", "-i", f"testsrc=s={SIZE}:r={fps}"]
    feed += ["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]
    with (
        subprocess.Popen(feed, stdout=subprocess.PIPE) as before,
        started([*ADCVSR, "upscale", "-q", "-", "-", *NETWORK], stdin=before.stdout) as process,
    ):
        assert before.stdout is not None
        before.stdout.close()
        try:
            yield process
        finally:
            before.terminate()


@contextmanager
def whip(fps: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    from whip_server import WhipServer

    with WhipServer() as server:
        server.on_picture = lambda *_: None
        command = [*ADCVSR, "live", "-q", "--source", f"test://?size={SIZE}&fps={fps}"]
        command += ["--sink", f"{server.address}?timeout=120", *NETWORK]
        with started(command) as process:
            yield process


WAYS = {"element": element, "gst": gst, "pipes": pipes, "whip": whip}


if __name__ == "__main__":
    main()
