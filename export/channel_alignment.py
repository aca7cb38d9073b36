"""Which convolutions and matrix products have channel counts that tensor cores pad, and the cost.

FP16 tensor cores work in blocks of 8 channels, INT8 ones in blocks of 32; what is missing is
computed on zeros.

    for found in check_alignment([(model, {"frame": (1, 180, 320, 3)})]):
        print(found.line())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from ..graph.cost import multiply_adds_of
from ..graph.shapes import TensorType, infer_types

BLOCKS = {8: "FP16", 32: "INT8"}
"""Channels of a tensor core's block, by precision."""

REFERENCE_PX = (180, 320)
"""Height and width the shares are counted at."""

NAMED = 3
"""Nodes a line names."""


@dataclass(frozen=True)
class Alignment:
    """Nodes whose channels one block size does not divide."""

    block: int
    """Channels."""

    nodes: tuple[str, ...]
    """By name, the costliest first."""

    of: int
    """All convolutions and matrix products."""

    extra: float
    """Multiply-adds on padding, as a share of all multiply-adds."""

    def line(self) -> str:
        """For people."""
        head = f"channels in blocks of {self.block} ({BLOCKS[self.block]}): "
        if not self.nodes:
            return f"{head}all {self.of} convolutions and products fit"
        more = f" and {len(self.nodes) - NAMED} more" if len(self.nodes) > NAMED else ""
        return (
            f"{head}{len(self.nodes)} of {self.of} do not fit, padding adds {self.extra:.1%} "
            f"multiply-adds: {', '.join(self.nodes[:NAMED])}{more}"
        )


def check_alignment(
    graphs: Sequence[tuple[onnx.ModelProto, Mapping[str, tuple[int, ...]]]],
) -> list[Alignment]:
    """Look at the graphs of a variant together.

    Args:
        graphs: Each graph (weights need not be loaded) with the shapes of its inputs.

    Returns:
        One for each of `BLOCKS`.
    """
    products = [product for model, sizes in graphs for product in _products(model, sizes)]
    return [_align(products, block) for block in BLOCKS]


def _products(
    model: onnx.ModelProto, sizes: Mapping[str, tuple[int, ...]]
) -> list[tuple[str, int, int, int]]:
    """Name, multiply-adds, channels in and channels out of every convolution or product."""
    types = infer_types(model, sizes)
    found = []
    for node in model.graph.node:
        count = multiply_adds_of(node, types)
        if count:
            found.append((node.name, count, *_channels(node, types)))
    return found


def _channels(node: onnx.NodeProto, types: Mapping[str, TensorType]) -> tuple[int, int]:
    weight = types[node.input[1]].shape
    if node.op_type == "Conv":
        return weight[1], weight[0]  # (C_out, C_in, ...)
    if node.op_type == "ConvTranspose":
        return weight[0], weight[1]
    return types[node.input[0]].shape[-1], types[node.output[0]].shape[-1]


def _align(products: Sequence[tuple[str, int, int, int]], block: int) -> Alignment:
    padding = {
        name: count
        * (_padded(inward, block) * _padded(outward, block) - inward * outward)
        / (inward * outward)
        for name, count, inward, outward in products
        if inward % block or outward % block
    }
    total = sum(count for _, count, _, _ in products)
    return Alignment(
        block=block,
        nodes=tuple(sorted(padding, key=lambda name: (-padding[name], name))),
        of=len(products),
        extra=sum(padding.values()) / max(total, 1),
    )


def _padded(channels: int, block: int) -> int:
    return channels + -channels % block


def alignment_entry(found: Sequence[Alignment]) -> dict[str, Any]:
    """What the manifest says."""
    return {
        str(each.block): {
            "nodes": len(each.nodes),
            "of": each.of,
            "extra_multiply_adds": round(each.extra, 4),
        }
        for each in found
    }
