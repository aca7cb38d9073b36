"""What TensorRT-RTX makes of graphs whose batch axis is open, ahead of time, without a GPU.

    python benchmarks/batch_engines.py --streams 4 --size 640x360

Prints the number of layers of an engine for one stream and of one for several, and which kinds
differ.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import Any

from adcvsr.bundle import open_bundle
from adcvsr.graph.batch_axis import with_batch_axis
from adcvsr.runtime.engine.layers import Layer, read_log
from adcvsr.runtime.nvidia.flavour import Flavour, error_log, load_flavour


def layers_of(
    flavour: Flavour, graph: bytes, shapes: dict[str, tuple[int, ...]], sm: int
) -> tuple[list[Layer], float, int]:
    """Compile a graph for fixed shapes; returns its layers, seconds and the engine's bytes."""
    trt, log = flavour.trt, error_log(flavour.trt)
    log.take_layers()
    builder = flavour.builder()
    network = flavour.create_network(builder)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse(graph):
        raise SystemExit(f"not parsed: {parser.get_error(0)}")
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        tensor.shape = shapes[tensor.name]
    config = builder.create_builder_config()
    flavour.name_targets(config, (sm,))
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    began = time.monotonic()
    plan: Any = builder.build_serialized_network(network, config)
    if plan is None:
        raise SystemExit(f"not compiled: {log.take()}")
    return read_log(log.take_layers()), time.monotonic() - began, plan.nbytes


def main() -> None:
    """Compile and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--sm", type=int, default=89)
    parser.add_argument("--models", nargs="*", default=["nano", "small"])
    chosen = parser.parse_args()
    width, height = map(int, chosen.size.split("x"))
    flavour = load_flavour("tensorrt-rtx")
    for model in chosen.models:
        bundle = open_bundle(model)
        graph = bundle.read(bundle.variant("fp16-trt").file)
        kinds = []
        for streams in (1, chosen.streams):
            shapes: dict[str, tuple[int, ...]] = {bundle.input_name: (streams, height, width, 3)}
            shapes |= {spec.name: spec.shape(height, width, streams) for spec in bundle.state}
            layers, seconds, size = layers_of(flavour, with_batch_axis(graph), shapes, chosen.sm)
            kinds.append(Counter(layer.kind for layer in layers))
            print(
                f"{model} fp16-trt, {streams} of {chosen.size}, sm{chosen.sm}: {len(layers)} "
                f"layers, {seconds:.1f} s, {size / 1e6:.2f} MB"
            )
        more, fewer = kinds[1] - kinds[0], kinds[0] - kinds[1]
        print(f"kinds that differ: {dict(more)} more, {dict(fewer)} fewer")


if __name__ == "__main__":
    main()
