"""Speed of a bundle's variants on ONNX Runtime, taking turns, and what each loses.

    python benchmarks/variant_speed.py [--model nano] [--size 320x180] [--rounds 20] [--clips DIR]

Prints the median wall and CPU milliseconds of a frame with carried state. Wall time meets the
machine's other work; CPU time less. With --clips, videos as ground truth: PSNR-Y after x1/4
bicubic and back, and PSNR to fp32-onnx over RGB levels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from pathlib import Path

import numpy as np

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.clips import VIDEO_SUFFIXES, find_media, read_clip
from adcvsr.config import SCALE
from adcvsr.metrics import limit_size, psnr, psnr_y, resize_bicubic
from adcvsr.runtime.backends import VARIANTS, create_session
from adcvsr.runtime.sessions.session import Session
from adcvsr.synthetic import draw_clip

REFERENCE = "fp32-onnx"
WARM_UP_FRAMES = 5
TRUTH_SIDE_PX = 960


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", type=Path)
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="a folder of videos as ground truth")
    parser.add_argument("--frames", type=int, default=50, help="of each clip")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bundle = open_bundle(str(arguments.model))
    names = [name for name in VARIANTS["ort-cpu"] if name in bundle.variants]
    width, height = map(int, arguments.size.split("x"))
    with contextlib.ExitStack() as stack:
        sessions = {
            name: stack.enter_context(open_variant(bundle, name, arguments.threads))
            for name in names
        }
        result: dict[str, object] = {"speed": speed(sessions, height, width, arguments.rounds)}
        if arguments.clips:
            files = find_media(arguments.clips, VIDEO_SUFFIXES)
            result["loss"] = {f.name: loss(sessions, f, arguments.frames) for f in files}
    if arguments.json:
        print(json.dumps(result, indent=1))
        return
    for name, row in result["speed"].items():  # type: ignore[attr-defined]
        print(f"{name:12}", "  ".join(f"{key} {value:g}" for key, value in row.items()))
    for file, rows in result.get("loss", {}).items():  # type: ignore[attr-defined]
        for name, row in rows.items():
            print(f"{file:40} {name:12}", "  ".join(f"{k} {v:.3f}" for k, v in row.items()))


def open_variant(bundle: Bundle, name: str, threads: int) -> Session:
    return create_session(bundle, backend="ort-cpu", variant=name, threads=threads)


def speed(
    sessions: dict[str, Session], height: int, width: int, rounds: int
) -> dict[str, dict[str, float]]:
    clip = draw_clip(WARM_UP_FRAMES, height, width)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for session in sessions.values():
        for frame in clip:
            session.infer(frame)
    for index in range(rounds):
        for name, session in sessions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            session.infer(clip[index % len(clip)])
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {
        name: [1000 * statistics.median(column) for column in zip(*each, strict=True)]
        for name, each in times.items()
    }
    wall_ms, cpu_ms = medians[REFERENCE]
    return {
        name: {
            "wall_ms": round(wall, 2),
            "cpu_ms": round(cpu, 2),
            "wall_ratio": round(wall_ms / wall, 2),
            "cpu_ratio": round(cpu_ms / cpu, 2),
        }
        for name, (wall, cpu) in medians.items()
    }


def loss(sessions: dict[str, Session], file: Path, frames: int) -> dict[str, dict[str, float]]:
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in sessions}
    for session in sessions.values():
        session.reset()
    for image in read_clip(file, stop=frames):
        truth = limit_size(image, TRUTH_SIDE_PX)
        height, width = (side // 8 * 8 for side in truth.shape[:2])
        truth = truth[:height, :width]
        low = resize_bicubic(truth, height // SCALE, width // SCALE)
        outputs = {name: session.infer(low) for name, session in sessions.items()}
        for name, output in outputs.items():
            to_reference = psnr(output, outputs[REFERENCE])
            rows[name].append((psnr_y(output, truth, SCALE), min(to_reference, 100.0)))
    means = {name: np.mean(each, axis=0) for name, each in rows.items()}
    return {
        name: {
            "psnr_y": float(mean[0]),
            "lost_db": float(means[REFERENCE][0] - mean[0]),
            "to_fp32_db": float(mean[1]),
        }
        for name, mean in means.items()
    }


if __name__ == "__main__":
    main()
