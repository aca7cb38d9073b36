"""The costs in docs/presets.md are those of the graphs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adcvsr.bundle import open_bundle
from adcvsr.config import PRESETS
from adcvsr.graph.cost import count_bundle_cost

PAGE = Path(__file__).resolve().parents[3] / "docs" / "presets.md"
SIZES = ((320, 180), (640, 360), (960, 540))


def rows() -> dict[tuple[str, str], list[str]]:
    lines = re.findall(r"^\| (\w+) \| (\d+x\d+) \| (.*) \|$", PAGE.read_text(), re.M)
    return {(preset, size): cells.split(" | ") for preset, size, cells in lines}


def test_every_preset_at_every_size() -> None:
    assert set(rows()) == {(name, f"{w}x{h}") for name in PRESETS for w, h in SIZES}


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nano_is_counted(width: int, height: int) -> None:
    cost = count_bundle_cost(open_bundle("nano"), "fp32-onnx", height=height, width=width)
    assert rows()["nano", f"{width}x{height}"] == [
        f"{cost.multiply_adds / 1e9:,.1f}",
        f"{cost.weight_bytes / 1e6:,.1f}",
        f"{cost.state_bytes / 1e6:,.1f}",
        f"{cost.activation_bytes / 1e6:,.1f}",
        f"{cost.fused_peak_activation_bytes / 1e6:,.1f}",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["small", "base"])
def test_the_others_are_counted(preset: str) -> None:
    pytest.importorskip("torch", reason="tracing needs torch")
    import tempfile

    import onnx

    from adcvsr.export.graphs.variant_files import input_shapes, state_specs, write_graphs
    from adcvsr.graph.cost import count_cost
    from adcvsr.model.untrained import untrained_network

    network = untrained_network(PRESETS[preset])
    with tempfile.TemporaryDirectory() as folder:
        graph = onnx.load(write_graphs(network, Path(folder), "fp32-onnx").graph)
    state = state_specs(network)
    for width, height in SIZES:
        (shapes,) = input_shapes(network, state, height, width)
        cost = count_cost(graph, shapes, state=[spec.name for spec in state])
        told = rows()[preset, f"{width}x{height}"]
        assert told[0] == f"{cost.multiply_adds / 1e9:,.1f}"
        assert told[3] == f"{cost.activation_bytes / 1e6:,.1f}"
