"""What an engine really computes in, from TensorRT's engine inspector, against its graph.

A build that succeeded says nothing about precision: kernels are chosen layer by layer. Engines are
built with detailed verbosity, so the inspector names the types every layer reads and writes, and
the graph's nodes behind it.

    census = census_of(engine, trt, graph_precisions(order))
    census.why_not("int8")  # None, or what is computed in something else
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import GraphError, MissingPackageError
from ...graph.cost import count_cost
from ...graph.file import read_graph
from ...variants import STORED_AS
from ..engine.layers import (
    CONVOLUTION_NODES,
    PRODUCT_NODES,
    Layer,
    precisions_of,
    read_inspector,
    type_named,
)
from ..engine.order import EngineOrder

NAMED = 3
"""Nodes that are named in a line; the rest is counted."""

ELEMENTS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""ONNX's names of types, in ours."""


@dataclass(frozen=True)
class Census:
    """An engine's layers by what they compute in."""

    layers: int
    """All layers, also those whose types the inspector does not say."""

    reformats: int
    """Layers that only change a tensor's layout or type."""

    dla: int = 0
    """Layers that run on a DLA, each a whole part of the network."""

    products: dict[str, int] = field(default_factory=dict)
    """Layers with convolutions or matrix products, by type."""

    wanted: dict[str, str] = field(default_factory=dict)
    """Convolutions and products of the graph, and what the graph computes each in."""

    found: dict[str, str] = field(default_factory=dict)
    """What the engine computes each in; empty where no layer says."""

    @property
    def known(self) -> bool:
        """Whether the inspector said what any product is computed in."""
        return bool(self.products)

    @property
    def by_node(self) -> bool:
        """Whether every product of the graph is found in a layer; on a DLA they are not named."""
        return bool(self.wanted) and not self.dla and all(self.found[n] for n in self.wanted)

    def counts(self) -> dict[str, int]:
        """Products by what they are computed in: of the graph's nodes, else of layers."""
        return dict(Counter(self.found.values())) if self.by_node else self.products

    def text(self) -> str:
        """One line for people."""
        if not self.known:
            return f"{self.layers} layers; the inspector does not say their types"
        counts = sorted(self.counts().items(), key=lambda pair: -pair[1])
        kind = "convolutions and products" if self.by_node else "layers with products"
        (most, first), *others = counts
        parts = [f"{first} of {sum(n for _, n in counts)} {kind} in {most}"]
        parts += [f"{n} in {name}" for name, n in others]
        return f"{self.layers} layers; {', '.join(parts)}; {self.reformats} reformats" + (
            f"; {self.dla} on the DLA" if self.dla else ""
        )

    def why_not(self, precision: str) -> str | None:
        """Why an engine is not what its variant says, if so.

        What the graph computes in the precision has to be computed in it; where the inspector does
        not name nodes, the same share of layers has to.

        Args:
            precision: Of the variant; `tf32` is stored as FP32.
        """
        if not self.known:
            return None
        stored = STORED_AS.get(precision, precision)
        if stored not in self.counts():
            return f"no product is computed in {precision}: {self.text()}"
        return self._why_not_nodes(stored) if self.by_node else self._why_not_share(stored)

    def _why_not_nodes(self, stored: str) -> str | None:
        mine = [node for node, element in self.wanted.items() if element == stored]
        others = [node for node in mine if self.found[node] != stored]
        if not others:
            return None
        named = ", ".join(f"'{node}' in {self.found[node]}" for node in others[:NAMED])
        named += f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
        return (
            f"{len(mine) - len(others)} of {len(mine)} convolutions and products of the graph "
            f"in {stored} are computed so, all were to be: {named}"
        )

    def _why_not_share(self, stored: str) -> str | None:
        if self.dla or not self.wanted:
            return None
        share = sum(each == stored for each in self.wanted.values()) / len(self.wanted)
        layers = sum(self.products.values())
        if self.products[stored] < int(share * layers):
            return (
                f"{self.products[stored]} of {layers} layers with products are computed in "
                f"{stored}, {int(share * layers)} were to be, as in the graph: {self.text()}"
            )
        return None


def graph_precisions(order: EngineOrder) -> dict[str, str]:
    """Convolutions and matrix products of an order's graph, and what it computes each in.

    Returns:
        In the graph's order; empty where the graph has nodes that only `onnx` knows.
    """
    model = read_graph(order.bundle.read(order.graph_file))
    try:
        nodes = count_cost(model, order.shapes(*order.sizes.best)).nodes
    except (MissingPackageError, GraphError):
        return {}
    return {
        node.name: ELEMENTS.get(node.element) or type_named(node.element)
        for node in nodes
        if node.op_type in CONVOLUTION_NODES + PRODUCT_NODES
    }


def census_of(engine: Any, trt: Any, wanted: Mapping[str, str]) -> Census:
    """Count an engine's layers.

    Args:
        engine: Loaded.
        trt: Its module.
        wanted: From `graph_precisions`.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return count_layers(read_inspector(text), wanted)


def count_layers(layers: Sequence[Layer], wanted: Mapping[str, str]) -> Census:
    """Count layers; those given by name alone count without type."""
    products = Counter(each.element for each in layers if each.is_product and each.element)
    return Census(
        layers=sum(each.is_kernel for each in layers),
        reformats=sum(each.is_move for each in layers),
        dla=sum("dla" in each.kind.lower() for each in layers),
        products=dict(products),
        wanted=dict(wanted),
        found=precisions_of(layers, wanted),
    )
