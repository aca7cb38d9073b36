"""Speed and pictures of an adopted network beside ncnn's, frame by frame in turns.

    python benchmarks/adopted_speed.py model.param bundle --size 160x90 --threads 2

The bundle is what `adcvsr adopt model.param -o bundle` made. Each turn runs one frame in ncnn and
one in every variant, by wall time and by the processor's; said are medians over turns, and the
median of each turn's ratio. ncnn is given floats and its output is left as it is: turning uint8
into floats and back is part of the bundle's time alone.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from adcvsr.bundle import open_bundle
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session


def ncnn_runner(param: Path, threads: int) -> Callable[[Any], Any]:
    """Ncnn in float32 on the CPU, on (3, H, W) from 0 to 1."""
    import ncnn

    net = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, threads
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise SystemExit(f"ncnn cannot read '{param}'")

    def run(planes: Any) -> Any:
        extractor = net.create_extractor()
        extractor.set_light_mode(True)
        extractor.input(net.input_names()[0], ncnn.Mat(planes).clone())
        return np.array(extractor.extract(net.output_names()[0])[1])

    return run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("param", type=Path)
    parser.add_argument("bundle")
    parser.add_argument("--size", default="160x90")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=20)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    bundle = open_bundle(options.bundle)
    clip = draw_clip(8, height, width)
    theirs = ncnn_runner(options.param, options.threads)
    runs: dict[str, Callable[[Any], Any]] = {
        "ncnn": lambda frame: theirs(
            np.ascontiguousarray(frame.transpose(2, 0, 1), np.float32) / np.float32(255)
        )
    }
    times: dict[str, list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        for variant in bundle.variants:
            session: Any = stack.enter_context(
                create_session(bundle, backend="ort-cpu", variant=variant, threads=options.threads)
            )
            runs[variant] = session.infer
        pictures: dict[str, Any] = {}
        for turn in range(options.turns + 2):
            for name, run in runs.items():
                wall, cpu = time.perf_counter(), time.process_time()
                picture = run(clip[turn % len(clip)])
                spent = time.perf_counter() - wall, time.process_time() - cpu
                if turn >= 2:
                    times.setdefault(name, []).append(spent)
                pictures[name] = picture
    exact = pictures["ncnn"].transpose(1, 2, 0) * 255
    truth = (exact + 0.5).clip(0, 255.5).astype(np.uint8).astype(int)
    print(f"{bundle.name}, {width}x{height}, {options.threads} threads, {options.turns} turns")
    for name, found in times.items():
        wall, cpu = (1000 * statistics.median(each) for each in zip(*found, strict=True))
        pairs = list(zip(times["ncnn"], found, strict=True))
        ratio = statistics.median(a[0] / b[0] for a, b in pairs)
        ratio_cpu = statistics.median(a[1] / b[1] for a, b in pairs)
        line = f"{name:12} {wall:8.1f} ms, {cpu:8.1f} CPU-ms"
        if name != "ncnn":
            levels = int(np.abs(pictures[name].astype(int) - truth).max())
            line += f", {ratio:.2f} times ncnn's speed ({ratio_cpu:.2f} by CPU time)"
            line += f", levels {levels} from ncnn"
        print(line)


if __name__ == "__main__":
    main()
