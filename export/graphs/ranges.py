"""Largest absolute value of every activation over clips, measured by ONNX Runtime.

The graph is extended by one scalar a tensor, so that memory stays that of an ordinary run however
many tensors there are. Weights are left out: they are known without running anything.

    graph_ranges, decoder_ranges = measure_ranges(files, state, clips)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...arrays import Levels
from ...bundle.schema import StateSpec
from ...leftovers import part_folder
from .replay import open_session, zero_state
from .traced import CLIP_NAME, FEATURES_NAME, INPUT_NAME
from .variant_files import VariantFiles

PEAK = "peak_of:"
"""Prefix of the added outputs."""

Ranges = dict[str, float]
"""Largest absolute value by tensor name."""


def measure_ranges(
    files: VariantFiles, state: Sequence[StateSpec], clips: Sequence[Levels]
) -> list[Ranges]:
    """Run clips of (T, H, W, 3) uint8 through FP32 graphs, each from the zero state.

    Args:
        files: A variant in float32.
        state: Its carried state; empty for a clip network.
        clips: Real pictures, of sizes that are multiples of the network's.

    Returns:
        Ranges of each of `files.graphs`, graph inputs and outputs included.
    """
    if files.decoder is None:
        return [_stream_ranges(files.graph, state, clips)]
    with part_folder(files.folder) as folder:
        probe = _Probe(files.graph, folder)
        features = [probe.run({CLIP_NAME: clip}, [FEATURES_NAME])[0] for clip in clips]
        decoder = _Probe(files.decoder, folder)
        for each in features:
            for frame in each:
                decoder.run({FEATURES_NAME: frame[None]}, [])
    return [probe.ranges, decoder.ranges]


def feed_ranges(graph: Path, feeds: Iterable[Mapping[str, Any]]) -> Ranges:
    """Run one graph on inputs that are at hand.

    Args:
        graph: In float32; its folder may be written to.
        feeds: Inputs of each run.
    """
    with part_folder(graph.parent) as folder:
        probe = _Probe(graph, folder)
        for feed in feeds:
            probe.run(feed, [])
    return probe.ranges


def _stream_ranges(graph: Path, state: Sequence[StateSpec], clips: Sequence[Levels]) -> Ranges:
    with part_folder(graph.parent) as folder:
        probe = _Probe(graph, folder)
        for clip in clips:
            carried = zero_state(state, clip, np.float32)
            for frame in clip:
                following = probe.run(
                    {INPUT_NAME: frame[None], **carried}, [spec.next_name for spec in state]
                )
                carried = {s.name: t for s, t in zip(state, following, strict=True)}
    return probe.ranges


class _Probe:
    """A graph with its peaks as further outputs, and the largest seen so far."""

    def __init__(self, graph: Path, folder: Path) -> None:
        model = onnx.load(graph, load_external_data=False)
        self.ranges: Ranges = dict.fromkeys(_float_tensors(model), 0.0)
        _add_peaks(model, self.ranges)
        path = folder / graph.name
        path.write_bytes(model.SerializeToString())
        for data in graph.parent.glob(f"{graph.name}.*"):
            (folder / data.name).hardlink_to(data)  # weights are read from beside the graph
        self._session = open_session(path, early=True)

    def run(self, feeds: Mapping[str, Any], outputs: list[str]) -> list[Any]:
        """Run once, note the peaks, give the named outputs."""
        names = list(self.ranges)
        found = self._session.run([*outputs, *(PEAK + name for name in names)], dict(feeds))
        for name, peak in zip(names, found[len(outputs) :], strict=True):
            # A NaN is larger than anything.
            self.ranges[name] = float(
                np.maximum(self.ranges[name], np.nan_to_num(peak, nan=np.inf))
            )
        return list(found[: len(outputs)])


def _float_tensors(model: onnx.ModelProto) -> list[str]:
    """Names of the float32 activations of a graph."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = [*graph.input, *graph.value_info, *graph.output]
    floats = {v.name for v in known if v.type.tensor_type.elem_type == TensorProto.FLOAT}
    produced = [v.name for v in graph.input] + [o for node in graph.node for o in node.output]
    return [name for name in produced if name in floats]


def _add_peaks(model: onnx.ModelProto, names: Ranges) -> None:
    """Take the peak right behind what gives a tensor, so that it need not be kept."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(n for v in model.graph.input if v.name in names for n in _peak(v.name))
    for node in nodes:
        model.graph.node.append(node)
        model.graph.node.extend(n for name in node.output if name in names for n in _peak(name))
    model.graph.output.extend(
        helper.make_tensor_value_info(PEAK + name, TensorProto.FLOAT, []) for name in names
    )


def _peak(name: str) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    absolute = f"absolute:{name}"
    return (
        helper.make_node("Abs", [name], [absolute], name=absolute),
        helper.make_node("ReduceMax", [absolute], [PEAK + name], name=PEAK + name, keepdims=0),
    )
