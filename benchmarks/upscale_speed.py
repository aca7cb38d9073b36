"""Speed of `adcvsr upscale`, and how far it is from the sum of its parts.

Measures on one clip, in one run: CPU milliseconds a frame of decoding, of the network (its threads
added, spinning off) and of encoding, each alone; then the whole command. The bar is that the whole
takes at most 1.10 times the parts' CPU time divided by the processors. The ratio has two factors:
`dearer`, the CPU time of the parts together over that of each alone (they share caches, memory and
the two halves of a core), and `idle`, the processors' time over the CPU time that was used of it.

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
from typing import Any

from adcvsr.bundle import open_bundle
from adcvsr.pictures.clips import write_clip
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.video.encoders import EncodeOptions
from adcvsr.runtime.video.sink import FileSink
from adcvsr.runtime.video.source import FileSource, SourceFrame

WARM_UP_FRAMES = 5
ENCODED_FRAMES = 400
"""Pictures held in memory to time the encoder alone: 2.8 MB each at 1280x720."""


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
    alone, together = result["cpu_ms"], result["cpu_ms_together"]
    for part in ("decode", "infer", "encode"):
        print(f"  {part:8} {alone[part]:6.1f} CPU-ms a frame alone, {together[part]:6.1f} together")
    print(f"  sum      {result['cpu_ms_sum']:6.1f} CPU-ms a frame")
    print(f"whole command: {result['fps']:.1f} fps ({result['fps_all']})")
    print(
        f"wall over (sum / processors): {result['ratio']:.2f} ({result['ratio_all']}), of which "
        f"dearer together {result['dearer']:.2f}, idle {result['idle']:.2f}"
    )
    print(f"share of the processors taken by other machines meanwhile: {result['stolen']}")


def drawn_clip(folder: Path, frames: int) -> Path:
    clip = folder / "clip.mp4"
    drawn = draw_clip(25, 180, 320)
    write_clip(clip, (drawn[i % 25 if i // 25 % 2 == 0 else 24 - i % 25] for i in range(frames)))
    return clip


def measure(clip: Path, folder: Path, model: str, rounds: int) -> dict[str, Any]:
    processors = len(os.sched_getaffinity(0))
    rows: list[dict[str, float]] = []
    for index in range(rounds):  # parts and whole in turn, so that drift meets them alike
        row = {"decode": decode_ms(clip), "infer": infer_ms(clip, model)}
        row["encode"] = encode_ms(clip, folder, model)
        stolen, began = stolen_seconds(), time.monotonic()
        report = whole_command(clip, folder, model, index)
        wall = time.monotonic() - began
        row["fps"] = float(report["fps"])
        row["stolen"] = (stolen_seconds() - stolen) / (wall * processors)
        alone = row["decode"] + row["infer"] + row["encode"]
        together = together_ms(report)
        row["ratio"] = 1000 / row["fps"] / (alone / processors)
        row["dearer"] = sum(together.values()) / alone
        row["idle"] = row["ratio"] / row["dearer"]
        row |= {f"{name}_together": ms for name, ms in together.items()}
        rows.append(row)

    def median(key: str) -> float:
        return statistics.median(row[key] for row in rows)

    cpu_ms = {key: round(median(key), 2) for key in ("decode", "infer", "encode")}
    return {
        "frames": report["frames"],
        "processors": processors,
        "cpu_ms": cpu_ms,
        "cpu_ms_sum": round(sum(cpu_ms.values()), 2),
        "fps": median("fps"),
        "fps_all": [round(row["fps"], 1) for row in rows],
        "cpu_ms_together": {key: round(median(f"{key}_together"), 2) for key in cpu_ms},
        "ratio": round(median("ratio"), 3),
        "ratio_all": [round(row["ratio"], 3) for row in rows],
        "dearer": round(median("dearer"), 3),
        "idle": round(median("idle"), 3),
        "stolen": [round(row["stolen"], 3) for row in rows],
    }


def together_ms(report: dict[str, Any]) -> dict[str, float]:
    """CPU milliseconds a frame of each stage in the whole command."""
    return {
        name: 1000 * float(times["cpu_seconds"] or 0) / report["frames"]
        for name, times in report["stages"].items()
    }


def stolen_seconds() -> float:
    """Processor time the hypervisor gave to others so far; 0 where the system does not tell."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return 0.0
    return int(stat.read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


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
    frames = frames_of(clip)[:ENCODED_FRAMES]
    with create_session(open_bundle(model)) as session:
        pictures = [session.infer(frame.rgb) for frame in frames]
    with (
        FileSource(clip) as source,
        FileSink(folder / "encoded.mp4", source, EncodeOptions(overwrite=True), print) as sink,
    ):
        began = cpu_seconds()  # x264 works in threads of its own: nothing else may run meanwhile
        sink.open_encoder()
        for frame, picture in zip(frames, pictures, strict=True):
            sink.write(picture, frame.pts)
        sink.flush()
        seconds = cpu_seconds() - began
        sink.finish()
    return 1000 * seconds / len(frames)


def whole_command(clip: Path, folder: Path, model: str, index: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "adcvsr", "upscale", str(clip), str(folder / f"{index}.mp4")]
    command += ["--model", model, "--json", "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


if __name__ == "__main__":
    main()
