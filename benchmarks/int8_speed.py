"""INT8 against FP32 on one CPU thread, graphs taking turns frame by frame: noise hits all alike.

python benchmarks/int8_speed.py nano --old old/int8-ort.onnx [--size 320x180] [--frames 60]

Any number of other INT8 graphs of the same network, such as those of an earlier release, are
measured in the same run. Ratios are medians over frames of FP32's time to the graph's. Kernels are
those `adcvsr` asks for: exact ones on x86 without VNNI, where INT8 is slower than FP32.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from adcvsr.bundle import open_bundle
from adcvsr.runtime.sessions.ort_precision import products_saturate


def open_session(graph: bytes) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if products_saturate():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--old", type=Path, action="append", default=[], help="another INT8 graph")
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--frames", type=int, default=60)
    args = parser.parse_args()
    bundle = open_bundle(args.bundle)
    width, height = map(int, args.size.split("x"))
    graphs = {name: bundle.read(f"{name}.onnx") for name in ("fp32-onnx", "int8-ort")}
    graphs |= {str(path): path.read_bytes() for path in args.old}
    sessions = {name: open_session(graph) for name, graph in graphs.items()}
    rng = np.random.default_rng(0)
    feed: dict[str, Any] = {
        bundle.input_name: rng.integers(0, 256, (1, height, width, 3), np.uint8)
    }
    feed |= {s.name: np.zeros(s.shape(height, width), np.float32) for s in bundle.state}
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for frame in range(args.frames + 3):
        for name, session in sessions.items():
            began = time.perf_counter()
            session.run(None, feed)
            if frame >= 3:
                times[name].append(time.perf_counter() - began)
    reference = np.array(times["fp32-onnx"])
    print("exact kernels, as there is no VNNI" if products_saturate() else "VNNI, or no x86")
    for name, spent in times.items():
        ratio = float(np.median(reference / np.array(spent)))
        print(f"{name}: median {1e3 * np.median(spent):.1f} ms, {ratio:.2f} times FP32's speed")


if __name__ == "__main__":
    main()
