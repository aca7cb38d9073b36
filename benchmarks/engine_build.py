"""Time and peak memory of `adcvsr build` against the bare compiler's API doing the same.

Each build is a process of its own, cold, alternating; the least time and the least peak of each
count. Bars: 1.2 times the time, 1.3 times the memory. A further build tells what a cache hit takes.

    python benchmarks/engine_build.py [--bundle nano] [--precision fp32] [--target rtx-40]
        [--size 640x360] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from adcvsr.bundle import open_bundle
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.order import BuildOptions, EngineOrder, SizeRange, parse_bytes

BARE = """
import json, sys
import tensorrt_rtx as trt
path, sm, profile, workspace = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4])
logger = trt.Logger(trt.Logger.ERROR)
builder = trt.Builder(logger)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, logger)
assert parser.parse_from_file(path)
config = builder.create_builder_config()
config.num_compute_capabilities = 1
config.set_compute_capability(getattr(trt.ComputeCapability, sm), 0)
config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
config.clear_flag(trt.BuilderFlag.TF32)
shapes = builder.create_optimization_profile()
for name, three in profile.items():
    shapes.set_shape(name, *three)
config.add_optimization_profile(shapes)
plan = builder.build_serialized_network(network, config)
with open(sys.argv[5], "wb") as file:
    file.write(memoryview(plan))
"""
"""What someone would write by hand, with the same settings."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="nano")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--target", default="rtx-40")
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--workspace", default="2GiB")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "-m", "adcvsr", "build", arguments.bundle]
        ours += ["--backend", "tensorrt-rtx", "--target", arguments.target]
        ours += ["--precision", arguments.precision, "--size", arguments.size]
        ours += ["--workspace", arguments.workspace]
        bare = [bare_command(order, folder) for order in orders_of(arguments)]
        times: dict[str, list[float]] = {"ours": [], "bare": [], "hit": []}
        work: dict[str, list[float]] = {"ours": [], "bare": [], "hit": []}
        peaks: dict[str, list[float]] = {"ours": [], "bare": [], "hit": []}
        for index in range(arguments.rounds):
            os.environ["ADCVSR_CACHE"] = os.path.join(folder, f"cache{index}")
            for name, commands in (("bare", bare), ("ours", [ours]), ("hit", [ours])):
                seconds, cpu, peak = zip(*map(measure, commands), strict=True)
                times[name].append(sum(seconds))
                work[name].append(sum(cpu))
                peaks[name].append(max(peak))
    for name, seconds in times.items():
        print(
            f"{name:5} {min(seconds):7.2f} s  CPU {min(work[name]):7.2f} s  "
            f"peak {min(peaks[name]):8.1f} MiB"
        )
    print(
        f"time   {min(times['ours']) / min(times['bare']):.2f} of the bare API (bar 1.2), "
        f"CPU {min(work['ours']) / min(work['bare']):.2f}"
    )
    print(f"memory {min(peaks['ours']) / min(peaks['bare']):.2f} of the bare API (bar 1.3)")


def orders_of(arguments: argparse.Namespace) -> list[EngineOrder]:
    width, height = map(int, arguments.size.split("x"))
    return order_engines(
        open_bundle(arguments.bundle),
        backend="tensorrt-rtx",
        targets=[arguments.target],
        precision=arguments.precision,
        sizes=SizeRange.fixed(height, width),
        options=BuildOptions(workspace_bytes=parse_bytes(arguments.workspace)),
    )


def bare_command(order: EngineOrder, folder: str) -> list[str]:
    graph = order.bundle.path / order.graph_file
    numbers = (json.dumps(order.profile()), str(order.options.workspace_bytes))
    plan = os.path.join(folder, "bare.plan")
    return [sys.executable, "-c", BARE, str(graph), f"SM{order.sms[0]}", *numbers, plan]


def measure(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak resident MiB of a process."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"'{' '.join(command[:4])} …' failed with status {status}")
    seconds = time.perf_counter() - start
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
