"""Speed of `adcvsr upscale`, and how far it is from the sum of its parts.

Measures on one clip, in one run: CPU milliseconds a frame of decoding, of the network (its threads
added, spinning off) and of encoding, each alone; then the whole command. The bar is that the whole
takes at most 1.25 times the parts' CPU time divided by the processors.

    python benchmarks/upscale_speed.py [CLIP] [--frames 250] [--model nano] [--json]
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
from pathlib import Path

from adcvsr.bundle import open_bundle
from adcvsr.clips import write_clip
from adcvsr.runtime.backends import create_session
from adcvsr.runtime.sink import EncodeOptions, FileSink
from adcvsr.runtime.source import FileSource, SourceFrame
from adcvsr.synthetic import draw_clip

WARM_UP_FRAMES = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", nargs="?", type=Path, help="default: a drawn 320x180 clip")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--rounds", type=int, default=3, help="runs of the whole command")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = arguments.clip or drawn_clip(Path(folder), arguments.frames)
        result = measure(clip, Path(folder), arguments.model, arguments.rounds)
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    print(f"{result['frames']} frames on {result['processors']} processors, {arguments.model}")
    for part in ("decode", "infer", "encode"):
        print(f"  {part:8} {result['cpu_ms'][part]:6.1f} CPU-ms a frame")
    print(f"  sum      {result['cpu_ms_sum']:6.1f} CPU-ms a frame")
    print(f"whole command: {result['fps']:.1f} fps ({result['fps_all']})")
    print(f"wall over (sum / processors): {result['ratio']:.2f}")


def drawn_clip(folder: Path, frames: int) -> Path:
    clip = folder / "clip.mp4"
    drawn = draw_clip(25, 180, 320)
    write_clip(clip, (drawn[i % 25 if i // 25 % 2 == 0 else 24 - i % 25] for i in range(frames)))
    return clip


def measure(clip: Path, folder: Path, model: str, rounds: int) -> dict[str, object]:
    processors = len(os.sched_getaffinity(0))
    cpu_ms = {"decode": decode_ms(clip), "infer": infer_ms(clip, model)}
    cpu_ms["encode"] = encode_ms(clip, folder, model)
    total = sum(cpu_ms.values())
    reports = [whole_command(clip, folder, model, index) for index in range(rounds)]
    fps = [round(float(report["fps"]), 1) for report in reports]
    median = statistics.median(fps)
    return {
        "frames": reports[0]["frames"],
        "processors": processors,
        "cpu_ms": {key: round(value, 2) for key, value in cpu_ms.items()},
        "cpu_ms_sum": round(total, 2),
        "fps": median,
        "fps_all": fps,
        "ratio": round(1000 / median / (total / processors), 3),
    }


def frames_of(clip: Path) -> list[SourceFrame]:
    with FileSource(clip) as source:
        return [item for item in source if isinstance(item, SourceFrame)]


def cpu_seconds() -> float:
    """CPU time of this process, all threads."""
    return time.process_time()


def decode_ms(clip: Path) -> float:
    began = cpu_seconds()
    count = len(frames_of(clip))
    return 1000 * (cpu_seconds() - began) / count


def infer_ms(clip: Path, model: str) -> float:
    frames = frames_of(clip)
    with create_session(open_bundle(model)) as session:
        for frame in frames[:WARM_UP_FRAMES]:
            session.infer(frame.rgb)
        times = []
        for frame in frames:
            began = cpu_seconds()
            session.infer(frame.rgb)
            times.append(cpu_seconds() - began)
    return 1000 * statistics.median(times)


def encode_ms(clip: Path, folder: Path, model: str) -> float:
    frames = frames_of(clip)
    seconds = 0.0
    with (
        create_session(open_bundle(model)) as session,
        FileSource(clip) as source,
        FileSink(folder / "encoded.mp4", source, EncodeOptions(), lambda line: None) as sink,
    ):
        sink.open_encoder()
        for frame in frames:
            big = session.infer(frame.rgb)
            began = cpu_seconds()
            sink.write(big, frame.pts)
            seconds += cpu_seconds() - began
        began = cpu_seconds()
        sink.flush()
        seconds += cpu_seconds() - began
        sink.finish()
    return 1000 * seconds / len(frames)


def whole_command(clip: Path, folder: Path, model: str, index: int) -> dict[str, object]:
    command = [sys.executable, "-m", "adcvsr", "upscale", str(clip), str(folder / f"{index}.mp4")]
    command += ["--model", model, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, object] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    main()
