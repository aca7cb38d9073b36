"""The files of one variant in a folder, and writing the FP32 ones from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...bundle.schema import StateSpec
from ...model import AdcVsr
from .onnx_file import data_files, save_graph
from .traced import CLIP_NAME, FEATURES_NAME, INPUT_NAME, clip_graph, decoder_graph, stream_graph


@dataclass(frozen=True)
class VariantFiles:
    """Graphs of one variant, and the weights beside them."""

    folder: Path
    """Where they all are."""

    id: str
    """Of the variant; also what its files are named after."""

    kind: str
    """`stream` or `clip`."""

    @property
    def graph(self) -> Path:
        """The stream graph, or the clip graph up to the features."""
        return self.folder / f"{self.id}.onnx"

    @property
    def decoder(self) -> Path | None:
        """Of a clip network: the graph from one frame's features to its picture."""
        return self.folder / f"{self.id}.decoder.onnx" if self.kind == "clip" else None

    @property
    def graphs(self) -> list[Path]:
        """All ONNX files."""
        return [self.graph, *([self.decoder] if self.decoder else [])]

    @property
    def data(self) -> list[Path]:
        """Files of weights the graphs refer to."""
        return [data for graph in self.graphs for data in data_files(graph)]


def write_graphs(network: AdcVsr, folder: Path, variant_id: str) -> VariantFiles:
    """Trace a network and write its graphs, weights in float32.

    Args:
        network: Causal: one stream graph; else a clip graph and a decoder graph.
        folder: An existing folder.
        variant_id: Names the files.
    """
    kind = "stream" if network.config.causal else "clip"
    files = VariantFiles(folder, variant_id, kind)
    if files.decoder is None:
        save_graph(stream_graph(network), files.graph)
    else:
        save_graph(clip_graph(network), files.graph)
        save_graph(decoder_graph(network), files.decoder)
    return files


def input_shapes(
    network: AdcVsr, state: Sequence[StateSpec], height: int, width: int
) -> list[dict[str, tuple[int, ...]]]:
    """Shapes of every input of each of a network's graphs, for one frame.

    Args:
        network: See `write_graphs`.
        state: From `state_specs`.
        height: Of the frame in pixels; rounded up to the network's multiple.
        width: Likewise.
    """
    multiple = network.config.size_multiple
    height, width = (side + -side % multiple for side in (height, width))
    picture = (1, height, width, 3)
    if network.config.causal:
        return [{INPUT_NAME: picture, **{s.name: s.shape(height, width) for s in state}}]
    divisor = network.config.unshuffle
    features = (1, network.feature_channels, height // divisor, width // divisor)
    return [{CLIP_NAME: picture}, {FEATURES_NAME: features}]


def state_specs(network: AdcVsr) -> tuple[StateSpec, ...]:
    """The carried state as a bundle describes it, in the graph's order; empty when not causal."""
    return tuple(
        StateSpec(name=name, channels=channels, divisor=divisor, next_name=f"{name}_next")
        for name, (channels, divisor) in network.state_divisors().items()
    )
