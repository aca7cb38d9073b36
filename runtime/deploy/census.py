"""What an engine really computes in, from TensorRT's engine inspector.

A build that succeeded says nothing about precision: kernels are chosen layer by layer. Engines are
built with detailed verbosity, so the inspector names the types every layer reads and writes.

    census_of(engine, trt)   # Census({"int8": 12, "fp16": 3}, ...)
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...variants import STORED_AS
from ..sessions.trt_profile import read_layers

TYPES = (
    ("fp8", r"\bFP8\b|E4M3"),
    ("fp4", r"\bFP4\b|E2M1"),
    ("int8", r"\bINT8\b"),
    ("bf16", r"\bBF16\b|BFloat16"),
    ("fp16", r"\bFP16\b|\bHalf\b"),
    ("fp32", r"\bFP32\b|\bFloat\b"),
    ("uint8", r"\bUINT8\b"),
)
"""How the inspector writes a type, narrowest first, in any case: `Row major Int8 format`, `Half`
(TensorRT 10), `Int8` (11)."""

PRODUCTS = re.compile(r"dla|conv|gemm|matmul|matrix|fc\b|attention|mha|myelin|kgen", re.IGNORECASE)
"""Layers that hold products, by their type: TensorRT's fused blocks included."""


@dataclass(frozen=True)
class Census:
    """Layers of an engine by the type of what they read."""

    products: dict[str, int]
    """Layers with convolutions or matrix products, by type."""

    others: dict[str, int]
    """All other layers, reformats among them."""

    layers: int
    """All layers, also those whose types the inspector does not say."""

    reformats: int
    """Layers that only change a tensor's layout or type."""

    dla: int = 0
    """Layers that run on a DLA, each a whole part of the network."""

    @property
    def known(self) -> bool:
        """Whether the inspector said anything about types."""
        return bool(self.products or self.others)

    def uses(self, precision: str) -> bool:
        """Whether any product is computed in a precision (`tf32` is stored as FP32)."""
        return STORED_AS.get(precision, precision) in self.products

    def text(self) -> str:
        """One line for people."""
        if not self.known:
            return f"{self.layers} layers; the inspector does not say their types"
        parts = [f"{count} in {name}" for name, count in self.products.items()]
        return (
            f"{self.layers} layers, of those with products {', '.join(parts) or 'none'}; "
            f"{self.reformats} reformats" + (f"; {self.dla} on the DLA" if self.dla else "")
        )


def census_of(engine: Any, trt: Any) -> Census:
    """Count an engine's layers.

    Args:
        engine: Loaded.
        trt: Its module.
    """
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return count_layers(text)


def count_layers(text: str) -> Census:
    """Count the layers of the inspector's JSON; layers given by name alone count without type."""
    layers = read_layers(text)
    products: Counter[str] = Counter()
    others: Counter[str] = Counter()
    reformats = dla = 0
    for layer in layers:
        if not isinstance(layer, dict):
            continue
        kind = str(layer.get("LayerType", ""))
        name = _type_read(layer)
        reformat = "reformat" in kind.lower()
        reformats += reformat
        dla += "dla" in kind.lower()
        if name is None:
            continue
        if not reformat and PRODUCTS.search(f"{kind} {layer.get('ParameterType', '')}"):
            products[name] += 1
        else:
            others[name] += 1
    return Census(dict(products), dict(others), len(layers), reformats, dla)


def _type_read(layer: dict[str, Any]) -> str | None:
    """Narrowest type among a layer's inputs, else among its outputs."""
    for side in ("Inputs", "Outputs"):
        said = " ".join(
            str(value)
            for tensor in layer.get(side, [])
            if isinstance(tensor, dict)
            for key, value in tensor.items()
            if "format" in key.lower() or "datatype" in key.lower()
        )
        for name, pattern in TYPES:
            if re.search(pattern, said, re.IGNORECASE):
                return name
    return None
