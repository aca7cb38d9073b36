"""Ahead-of-time TensorRT-RTX builds of a bundle's graphs, on a machine without a GPU.

Each graph is built for each compute capability in a process of its own; printed are seconds, the
process's peak resident memory and the engine's size, or the compiler's first complaint. A build
says nothing about speed or correctness on the device.

    pip install 'adcvsr[rtx]'
    python benchmarks/engine_build.py BUNDLE [--variant fp16-trt] [--sm 86 89 120] [--size 64x64]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adcvsr.bundle import open_bundle

WORKSPACE_BYTES = 4 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--variant", default="fp16-trt")
    parser.add_argument("--sm", nargs="+", default=["89"])
    parser.add_argument("--size", default="64x64", help="input width x height")
    parser.add_argument("--frames", type=int, default=3, help="of a clip graph's window")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    variant = bundle.variant(arguments.variant)
    width, height = map(int, arguments.size.split("x"))
    frames = arguments.frames if bundle.kind == "clip" else 1
    shapes = {bundle.input_name: (frames, height, width, 3)}
    shapes |= {spec.name: spec.shape(height, width) for spec in bundle.state}
    graphs = {variant.file: shapes}
    if variant.decoder_file and bundle.features:
        graphs[variant.decoder_file] = {bundle.features.name: bundle.features.shape(height, width)}
    print(f"{bundle.name} {variant.id}, {width}x{height}, {frames} frame(s)")
    for file, wanted in graphs.items():
        with bundle.graph(variant, file) as graph, tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            if isinstance(graph, Path):
                path = graph
            else:
                path.write_bytes(graph)
            for sm in arguments.sm:
                print(f"{file}  SM{sm}  {measure(path, sm, wanted)}", flush=True)


def measure(graph: Path, sm: str, shapes: dict[str, tuple[int, ...]]) -> str:
    with tempfile.TemporaryFile() as out:
        command = [sys.executable, __file__, "--build", str(graph), sm, json.dumps(shapes)]
        process = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read().decode().strip().splitlines()
    if process.returncode:
        return f"failed with code {process.returncode}: {said[0] if said else 'no message'}"
    built = json.loads(said[-1])
    return (
        f"{built['seconds']:.1f} s ({built['cpu_seconds']:.1f} CPU-s), "
        f"peak {usage.ru_maxrss / 1024:.0f} MiB, engine {built['bytes'] / 2**20:.1f} MiB"
    )


def build(graph: Path, sm: str, shapes: dict[str, list[int]]) -> None:
    """Build one engine; errors of the compiler go to stdout, first one first."""
    import tensorrt_rtx as trt

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                print(message.splitlines()[0], flush=True)

    start, cpu = time.perf_counter(), time.process_time()
    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(graph)):
        print(parser.get_error(0).desc() if parser.num_errors else "the parser refused the graph")
        sys.exit(1)
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{sm}"), 0)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    profile = builder.create_optimization_profile()
    for name, shape in shapes.items():
        profile.set_shape(name, shape, shape, shape)
    config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        sys.exit(1)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "bytes": engine.nbytes}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--build"]:
        build(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))
    else:
        main()
