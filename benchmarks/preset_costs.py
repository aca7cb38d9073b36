"""What a frame costs with each preset, counted from its graphs: the table of docs/presets.md.

Traces every preset with untrained weights; `paper` takes minutes and 6 GB.

    python benchmarks/preset_costs.py [nano small base paper]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx

from adcvsr.config import PRESETS
from adcvsr.export.graphs.variant_files import input_shapes, state_specs, write_graphs
from adcvsr.graph.cost import GraphCost, count_cost
from adcvsr.model import AdcVsr
from adcvsr.model.untrained import untrained_network

SIZES = ((320, 180), (640, 360), (960, 540))
HEADING = (
    "| preset | frame | GMAC | weights MB | state MB | activations MB | most at once MB |\n"
    "|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", metavar="PRESET", default=list(PRESETS))
    print(HEADING)
    for name in parser.parse_args().presets:
        for row in rows(untrained_network(PRESETS[name])):
            print(row)
        sys.stdout.flush()


def rows(network: AdcVsr) -> Iterator[str]:
    """A line for each size, FP32 bytes in units of 10^6."""
    with tempfile.TemporaryDirectory() as folder:
        files = write_graphs(network, Path(folder), "fp32-onnx")
        graphs = [onnx.load(graph, load_external_data=False) for graph in files.graphs]
    state = state_specs(network)
    names = [spec.name for spec in state] if len(graphs) == 1 else []
    for width, height in SIZES:
        costs = [
            count_cost(graph, shapes, state=names)
            for graph, shapes in zip(
                graphs, input_shapes(network, state, height, width), strict=True
            )
        ]
        yield row(network.config.name, f"{width}x{height}", costs)


def row(preset: str, size: str, costs: list[GraphCost]) -> str:
    """One line: of a clip network, the clip graph and the decoder graph together for one frame."""
    figures = (
        sum(cost.weight_bytes for cost in costs),
        sum(cost.state_bytes for cost in costs),
        sum(cost.activation_bytes for cost in costs),
        max(cost.fused_peak_activation_bytes for cost in costs),
    )
    multiply_adds = sum(cost.multiply_adds for cost in costs) / 1e9
    cells = (preset, size, f"{multiply_adds:,.1f}", *(f"{each / 1e6:,.1f}" for each in figures))
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
