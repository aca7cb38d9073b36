"""What a frame costs, counted from the ONNX graph: multiply-adds, activations, state and weights.

Counted at one input size from the nodes that are really there, so that every variant (FP16, Q/DQ)
tells its own cost. Needs neither torch nor an inference engine; a bundle's graph is counted by
`graph.rules`, and by ONNX's own inference where a node has no rule and `onnx` is installed: the
package takes a quarter of a second and 28 MB, which each command that checks its memory would pay.

    cost = count_cost(onnx.load("fp32-onnx.onnx"), {"frame": (1, 180, 320, 3)})
    cost.multiply_adds, cost.state_bytes
"""

from __future__ import annotations

import importlib.util
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..bundle import Bundle
from ..errors import GraphError, MissingPackageError
from . import file as graph_file
from .rules import infer_read_types
from .shapes import TensorType, infer_types

if TYPE_CHECKING:
    from typing import TypeAlias

    import onnx

    Model: TypeAlias = onnx.ModelProto | graph_file.Model
    Graph: TypeAlias = onnx.GraphProto | graph_file.Graph
    Node: TypeAlias = onnx.NodeProto | graph_file.Node

QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Nodes an engine fuses into their neighbours: they move no bytes of their own."""

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Nodes with multiply-adds."""

BOOKKEEPING = frozenset({"Shape", "Constant", "Reshape", "Squeeze", "Unsqueeze", "Identity"})
"""Nodes that compute shapes or rename a tensor without touching its elements."""


@dataclass(frozen=True)
class NodeCost:
    """Cost of one node for one frame."""

    name: str
    """As in the graph: what exclusion lists name."""

    op_type: str
    """ONNX operator."""

    multiply_adds: int
    """Of convolutions and matrix products; 0 for everything else."""

    read_bytes: int
    """Activations read, in the type they are stored in (INT8 behind a DequantizeLinear)."""

    written_bytes: int
    """Activations written."""

    weight_bytes: int
    """Initializers read, in the type they are stored in."""

    score_bytes: int = 0
    """Attention's scores among both: a fused attention never has them in memory."""

    element: str = "float"
    """ONNX's name of the type its first input is stored in: `float16`, or `int8` behind a
    DequantizeLinear. It decides the arithmetic."""

    in_channels: int = 0
    """Of a convolution: channels each output sums over; 0 for everything else."""

    out_channels: int = 0
    """Of a convolution: channels it writes."""

    written_elements: int = 0
    """Elements written, whatever they are stored in."""


@dataclass(frozen=True)
class GraphCost:
    """Cost of one frame (a stream graph) or one run (a clip graph)."""

    nodes: tuple[NodeCost, ...]
    """In graph order, bookkeeping and Q/DQ nodes left out."""

    weight_bytes: int
    """All initializers, each counted once."""

    peak_activation_bytes: int
    """Largest sum of tensors alive at once when nodes run in graph order and every tensor is freed
    after its last reader; inputs, state and outputs included. What an engine needs at least."""

    fused_peak_activation_bytes: int
    """The same without attention's scores, as engines that fuse attention run it."""

    state_bytes: int
    """State tensors of one set (a session holds two)."""

    @property
    def multiply_adds(self) -> int:
        """Of the whole graph."""
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def activation_bytes(self) -> int:
        """Activations written by all nodes: each is moved at least once out and once in."""
        return sum(node.written_bytes for node in self.nodes)

    @property
    def traffic_bytes(self) -> int:
        """Bytes moved when nothing is fused: reads, writes and weights of every node."""
        return sum(n.read_bytes + n.written_bytes + n.weight_bytes for n in self.nodes)


def count_bundle_cost(
    bundle: Bundle, variant: str, *, height: int, width: int, frames: int = 1
) -> GraphCost:
    """Count a bundle's variant for frames of one size.

    Args:
        bundle: An opened bundle.
        variant: A variant's id.
        height: Input height in pixels; padded up to `size_multiple` as the runtime does.
        width: Input width, likewise.
        frames: Frames of a clip graph's window; a clip network's decoder graph is counted
            `frames` times, its memory once.

    Raises:
        BundleError: No such variant, or a damaged file.
        GraphError: A graph that cannot be counted; the node is named.
        MissingPackageError: A node has no rule in `graph.rules`, and `onnx` is not installed.
    """
    multiple = bundle.size_multiple
    height, width = (-(-side // multiple) * multiple for side in (height, width))
    chosen = bundle.variant(variant)
    sizes: dict[str, tuple[int, ...]] = {bundle.input_name: (frames, height, width, 3)}
    sizes |= {spec.name: spec.shape(height, width) for spec in bundle.state}
    cost = _count_file(bundle, chosen.file, sizes, state=[s.name for s in bundle.state])
    if chosen.decoder_file is None or bundle.features is None:
        return cost
    features = bundle.features
    decoder = _count_file(
        bundle, chosen.decoder_file, {features.name: features.shape(height, width)}
    )
    return _add_decoder(cost, decoder, frames)


def count_cost(
    model: Model, sizes: Mapping[str, tuple[int, ...]], *, state: Sequence[str] = ()
) -> GraphCost:
    """Count one run of a graph.

    Args:
        model: The graph, from `onnx` or from `graph.file`; weights outside the file need not be
            loaded.
        sizes: Shape of every input.
        state: Names of the inputs that are carried state.

    Raises:
        GraphError: A node or tensor that cannot be inferred.
        MissingPackageError: A graph of `graph.file` has a node without a rule in `graph.rules`.
    """
    types = (
        infer_read_types(model, sizes)
        if isinstance(model, graph_file.Model)
        else infer_types(model, sizes)
    )
    graph: Graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    sources = _stored_sources(graph)
    scores = _attention_scores(graph, types)

    def stored_element(node: Node) -> str:
        first = next((name for name in node.input if name), None)
        return "" if first is None else types[sources.get(first, first)].element_name

    def stored_bytes(names: Iterable[str], *, weight: bool) -> int:
        stored = [sources.get(name, name) for name in names if name]
        return sum(types[name].bytes for name in stored if (name in weights) == weight)

    nodes = [
        NodeCost(
            name=node.name,
            op_type=node.op_type,
            multiply_adds=multiply_adds_of(node, types),
            read_bytes=stored_bytes(node.input, weight=False),
            written_bytes=sum(types[name].bytes for name in node.output if name),
            weight_bytes=stored_bytes(node.input, weight=True),
            score_bytes=sum(
                types[name].bytes for name in (*node.input, *node.output) if name in scores
            ),
            element=stored_element(node),
            in_channels=types[node.input[1]].shape[1] if node.op_type == "Conv" else 0,
            out_channels=types[node.input[1]].shape[0] if node.op_type == "Conv" else 0,
            written_elements=sum(types[name].elements for name in node.output if name),
        )
        for node in graph.node
        if node.op_type not in QUANTIZING | BOOKKEEPING
        and not all(types[name].is_shape_arithmetic for name in node.output if name)
    ]
    return GraphCost(
        nodes=tuple(nodes),
        weight_bytes=sum(types[name].bytes for name in weights),
        peak_activation_bytes=_peak_bytes(graph, types, weights),
        fused_peak_activation_bytes=_peak_bytes(graph, types, weights | scores),
        state_bytes=sum(types[name].bytes for name in state),
    )


def _count_file(
    bundle: Bundle, file: str, sizes: Mapping[str, tuple[int, ...]], *, state: Sequence[str] = ()
) -> GraphCost:
    """Count a graph of a bundle without the weights outside its file."""
    data = bundle.read(file)
    try:
        return count_cost(graph_file.read_graph(data), sizes, state=state)
    except (GraphError, MissingPackageError):
        if importlib.util.find_spec("onnx") is None:
            raise
    import onnx

    return count_cost(onnx.load_model_from_string(data), sizes, state=state)


def _stored_sources(graph: Graph) -> dict[str, str]:
    """For each dequantized tensor the quantized one an engine reads in its place."""
    return {
        node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"
    }


def multiply_adds_of(node: Node, types: Mapping[str, TensorType]) -> int:
    """Multiply-adds of a convolution or matrix product: outputs times products summed for each."""
    if node.op_type == "Conv":
        return types[node.output[0]].elements * math.prod(types[node.input[1]].shape[1:])
    if node.op_type == "ConvTranspose":
        return types[node.input[0]].elements * math.prod(types[node.input[1]].shape[1:])
    if node.op_type == "MatMul":
        return types[node.output[0]].elements * types[node.input[0]].shape[-1]
    if node.op_type == "Gemm":
        rows, columns = types[node.output[0]].shape
        return rows * types[node.input[0]].elements // rows * columns
    return 0


def _attention_scores(graph: Graph, types: Mapping[str, TensorType]) -> set[str]:
    """Tensors between the two products of each attention: scores, scaled, masked, normalised.

    They are the ones of a softmax's size around it, up to a product on either side.
    """
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Node]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: set[str] = set()
    for softmax in (node for node in graph.node if node.op_type == "Softmax"):
        size = types[softmax.output[0]].elements
        pending = [softmax.input[0], softmax.output[0]]
        while pending:
            name = pending.pop()
            if name in found or name not in makers or types[name].elements != size:
                continue
            found.add(name)
            if makers[name].op_type not in PRODUCTS:
                pending += [other for other in makers[name].input if other]
            for node in readers.get(name, ()):
                if node.op_type not in PRODUCTS:
                    pending += list(node.output)
    return found


def _peak_bytes(graph: Graph, types: Mapping[str, TensorType], weights: Collection[str]) -> int:
    """Largest sum of live tensors over the graph's order; renamed tensors share their memory.

    A `Shape` needs no values: it keeps no tensor alive.
    """
    root: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in BOOKKEEPING - {"Shape"} and node.input:
            root[node.output[0]] = root.get(node.input[0], node.input[0])
    last_read = {
        root.get(name, name): index
        for index, node in enumerate(graph.node)
        if node.op_type != "Shape"
        for name in node.input
    }
    kept = {root.get(value.name, value.name) for value in [*graph.output, *graph.input]}
    live = sum(types[name].bytes for name in {value.name for value in graph.input} - set(weights))
    peak, freed = 0, defaultdict[int, int](int)  # freed: bytes, by the node after which they are
    for index, node in enumerate(graph.node):
        for name in node.output:
            if name and name not in root and name not in weights:
                live += types[name].bytes
                if name not in kept:
                    freed[max(last_read.get(name, -1), index)] += types[name].bytes
        peak = max(peak, live)
        live -= freed[index]
    return peak


def _add_decoder(clip: GraphCost, decoder: GraphCost, frames: int) -> GraphCost:
    """Cost of a window: the clip graph once, the decoder once a frame."""
    times = [
        replace(
            node,
            multiply_adds=node.multiply_adds * frames,
            read_bytes=node.read_bytes * frames,
            written_bytes=node.written_bytes * frames,
            weight_bytes=node.weight_bytes * frames,
            score_bytes=node.score_bytes * frames,
            written_elements=node.written_elements * frames,
        )
        for node in decoder.nodes
    ]
    return GraphCost(
        nodes=(*clip.nodes, *times),
        weight_bytes=clip.weight_bytes + decoder.weight_bytes,
        peak_activation_bytes=max(clip.peak_activation_bytes, decoder.peak_activation_bytes),
        fused_peak_activation_bytes=max(
            clip.fused_peak_activation_bytes, decoder.fused_peak_activation_bytes
        ),
        state_bytes=0,
    )
