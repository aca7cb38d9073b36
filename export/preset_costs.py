"""Makes the table of `adcvsr plan --all`: every preset's graphs, exported untrained and counted.

    python -m adcvsr.export.preset_costs

Takes minutes and, for `paper`, about 6 GB. Writes into the package, beside `adcvsr.preset_costs`.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import onnx

from ..config import PRESETS, AdcVsrConfig
from ..graph_cost import GraphCost, add_decoder, count_cost
from ..model.untrained import untrained_network
from ..preset_costs import TABLE, pack_cost
from .graph import CLIP_NAME, FEATURES_NAME, INPUT_NAME
from .manifest import DEFAULT_WINDOW
from .variant_files import write_graphs

WIDTH, HEIGHT = 320, 180


def main() -> None:
    """Count all presets and write the table."""
    entries = []
    for name, config in PRESETS.items():
        entries.append(preset_entry(config))
        print(f"{name}: counted", file=sys.stderr)  # noqa: T201
    table = {"width": WIDTH, "height": HEIGHT, "presets": entries}
    TABLE.write_text(json.dumps(table, separators=(",", ":")) + "\n", encoding="utf-8")


def preset_entry(config: AdcVsrConfig) -> dict[str, Any]:
    """One preset's line of the table."""
    frames, fresh = 1, 1
    if not config.causal:
        frames = DEFAULT_WINDOW.frames
        fresh = frames - DEFAULT_WINDOW.overlap
    with tempfile.TemporaryDirectory() as folder:
        cost = _count(config, Path(folder), frames)
    return {
        "preset": config.name,
        "width": WIDTH,
        "height": HEIGHT,
        "frames": frames,
        "fresh_frames": fresh,
        **pack_cost(cost),
    }


def _count(config: AdcVsrConfig, folder: Path, frames: int) -> GraphCost:
    network = untrained_network(config)
    files = write_graphs(network, folder, "fp32-onnx")
    multiple = config.size_multiple
    height, width = (-(-side // multiple) * multiple for side in (HEIGHT, WIDTH))
    graph = onnx.load(files.graph, load_external_data=False)
    if files.decoder is None:
        state = {name: (1, *shape) for name, shape in network.state_shapes(height, width).items()}
        sizes = {INPUT_NAME: (1, height, width, 3), **state}
        return count_cost(graph, sizes, state=list(state))
    divisor = config.unshuffle
    features = (1, network.feature_channels, height // divisor, width // divisor)
    clip = count_cost(graph, {CLIP_NAME: (frames, height, width, 3)})
    decoder = count_cost(
        onnx.load(files.decoder, load_external_data=False), {FEATURES_NAME: features}
    )
    return add_decoder(clip, decoder, frames)


if __name__ == "__main__":
    main()
