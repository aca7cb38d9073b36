"""The layers a compiler made of a graph: kernels, layouts, types, and which nodes each computes.

TensorRT-RTX prints them while it builds, without a GPU; the inspector of either compiler gives them
for a loaded engine. It is the one measure of an engine that can be had without running it.

    layers = read_log(text)                        # or read_inspector(json)
    summarise(layers, products_of(graph)).text()   # 14 kernels (2 of them only move data), ...
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import EngineError
from ...graph.file import Model
from ...reading import PROFILE, parse_json
from ...variants import STORED_AS

TYPES = (
    ("fp8", r"\bFP8|E4M3"),
    ("fp4", r"\bFP4|E2M1"),
    ("uint8", r"\bUINT8\b"),
    ("int8", r"\bINT8\b"),
    ("bf16", r"\bBF16\b|BFloat16"),
    ("fp16", r"\bFP16\b|\bHalf\b"),
    ("fp32", r"\bFP32\b|\bFloat\b"),
    ("int64", r"\bINT64\b"),
    ("int32", r"\bINT32\b"),
    ("bool", r"\bBool\b"),
)
"""How compilers write a type, in any case: `Row major Int8 format`, `Half` (10), `Int8` (11)."""

BITS = {"fp4": 4, "fp8": 8, "int8": 8, "uint8": 8, "bool": 8, "bf16": 16, "fp16": 16}
BITS |= {"fp32": 32, "int32": 32, "int64": 64}

PRODUCTS = re.compile(
    r"dla|conv|correlation|gemm|matmul|matrix|fc\b|attention|mha|myelin|fusion", re.IGNORECASE
)
"""Kinds of layers that hold products. Myelin calls convolutions `correlation`, and some
`runtime_fusion` (with what follows them). `kgen` is a kernel of its own making: pointwise."""

CONVOLUTION_NODES, PRODUCT_NODES = ("Conv", "ConvTranspose"), ("MatMul", "Gemm")

MOVES = frozenset({"Tran", "Move", "Resh", "Cast", "Copy"})
"""Parts of the names of Myelin's kernels that only change where or as what a value lies."""

_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_LINE = re.compile(
    r"Name: (?P<name>.*?), LayerType: (?P<kind>\w*), Inputs: (?P<inputs>\[.*?\]), Constants: "
    r"(?P<constants>\[.*?\]), Outputs: (?P<outputs>\[.*?\]), TacticName: (?P<tactic>.*?), "
    r"StreamId: (?P<stream>\d+).*?Metadata: (?P<metadata>.*)"
)
_TENSOR = re.compile(
    r"\{ Name: (?P<name>.*?), Dimensions: \[(?P<shape>[-\d,]*)\].*?Datatype: (?P<type>\w+), "
    r"Format: (?P<layout>.*?) ?\}"
)
_WORDS = re.compile(r"__myl_([A-Za-z]+)")


@dataclass(frozen=True)
class LayerTensor:
    """A tensor that a layer reads or writes."""

    name: str
    shape: tuple[int, ...]
    """-1 where the engine takes several sizes."""
    element: str
    """Such as `fp16`; empty where it is not said."""
    layout: str
    """In the compiler's words."""

    @property
    def bytes(self) -> int | None:
        """Size of its elements without padding; None where the engine takes several sizes."""
        if any(side < 0 for side in self.shape) or self.element not in BITS:
            return None
        return math.prod(self.shape) * BITS[self.element] // 8


@dataclass(frozen=True)
class Layer:
    """One kernel, or one step that makes a stream wait for another."""

    name: str
    kind: str
    """The compiler's word for it."""
    inputs: tuple[LayerTensor, ...]
    constants: tuple[LayerTensor, ...]
    outputs: tuple[LayerTensor, ...]
    nodes: tuple[str, ...]
    """Of the graph."""
    tactic: str = ""
    stream: int = 0
    role: str = ""
    """What TensorRT's inspector says beside the kind, such as `Convolution`."""

    @property
    def is_kernel(self) -> bool:
        """Whether it computes or moves something."""
        return self.kind not in ("signal", "wait", "NoOp")

    @property
    def is_product(self) -> bool:
        """Whether its kind holds convolutions or matrix products."""
        return not self.is_move and PRODUCTS.search(f"{self.kind} {self.role}") is not None

    @property
    def is_move(self) -> bool:
        """Whether it only changes layout or type."""
        if "reformat" in self.kind.lower():
            return True
        words = _WORDS.match(self.name)
        if self.kind != "kgen" or words is None:
            return False
        return set(re.findall("[A-Z][a-z]*", words[1])) <= MOVES

    @property
    def element(self) -> str:
        """What it computes in; empty if not said.

        Of a product that of its weights, where an input has the same; what is added to it may have
        another. Otherwise the wider of weights and first input: data that meet weights of fewer
        bits are computed in their own.
        """
        weights = max(self.constants, key=lambda each: math.prod(each.shape), default=None)
        read = [each.element for each in self.inputs if each.element]
        if weights is not None and weights.element in read:
            return weights.element
        known = [*read[:1], weights.element if weights is not None else ""]
        known = [each for each in known if each] or [each.element for each in self.outputs[:1]]
        return max(known, key=lambda each: BITS.get(each, 0), default="")

    @property
    def bytes(self) -> int | None:
        """Activations read and written; None where a size is not known."""
        moved = [tensor.bytes for tensor in (*self.inputs, *self.outputs)]
        return None if None in moved else sum(each for each in moved if each is not None)


@dataclass(frozen=True)
class LayerSummary:
    """An engine's layers in figures."""

    kernels: int
    moves: int
    """Kernels among them that only change layout or type."""
    bytes: int | None
    """Activations read and written by all kernels for one run; None for a range of sizes."""
    convolutions: dict[str, str]
    """The graph's convolutions, by what each is computed in; `` where the list does not say."""
    products: dict[str, str]
    """Its matrix products likewise."""

    def counts(self) -> dict[str, int]:
        """Convolutions by precision."""
        return dict(Counter(name or "not said" for name in self.convolutions.values()))

    def of(self, precision: str) -> int:
        """Convolutions in a precision (`tf32` is stored as FP32)."""
        stored = STORED_AS.get(precision, precision)
        return sum(name == stored for name in self.convolutions.values())

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "convolutions_in": self.counts()}

    def text(self) -> str:
        """One line for people."""
        return text_of(self.to_json())


def text_of(summary: Mapping[str, Any]) -> str:
    """One line of what `LayerSummary.to_json` gave."""
    moved = summary["bytes"]
    moved = "" if moved is None else f", {moved / 1e6:.0f} MB of activations moved"
    total = len(summary["convolutions"])
    counts = [f"{count} in {name}" for name, count in summary["convolutions_in"].items()]
    return (
        f"{summary['kernels']} kernels ({summary['moves']} of them only move data){moved}; of "
        f"{total} convolutions {', '.join(counts) or 'none'}"
    )


def products_of(model: Model) -> dict[str, bool]:
    """Convolutions (True) and matrix products (False) of a graph, by name, in its order."""
    return {
        node.name: node.op_type in CONVOLUTION_NODES
        for node in model.graph.node
        if node.op_type in CONVOLUTION_NODES + PRODUCT_NODES
    }


def summarise(layers: Sequence[Layer], products: Mapping[str, bool]) -> LayerSummary:
    """Put a layer list in figures.

    Args:
        layers: Of one engine.
        products: From `products_of`.
    """
    kernels = [layer for layer in layers if layer.is_kernel]
    moved = [layer.bytes for layer in kernels]
    found = precisions_of(layers, products)
    return LayerSummary(
        kernels=len(kernels),
        moves=sum(layer.is_move for layer in kernels),
        bytes=None if None in moved else sum(each for each in moved if each is not None),
        convolutions={name: found[name] for name, is_conv in products.items() if is_conv},
        products={name: found[name] for name, is_conv in products.items() if not is_conv},
    )


def precisions_of(layers: Iterable[Layer], products: Iterable[str]) -> dict[str, str]:
    """What each of a graph's products is computed in, empty where no layer names it.

    A kernel that only prepares a convolution's input names the convolution too; the layer that is
    one decides.
    """
    of: dict[str, Layer] = {}
    for layer in layers:
        for node in layer.nodes:
            if node not in of or (layer.is_product and not of[node].is_product):
                of[node] = layer
    return {name: of[name].element if name in of else "" for name in products}


def read_log(text: str) -> list[Layer]:
    """Read the list that TensorRT-RTX prints while it builds.

    Args:
        text: The message, or a whole log with it.

    Returns:
        None of them where it prints no such list.
    """
    found = (_LINE.match(line) for line in text.splitlines())
    return [
        Layer(
            name=each["name"],
            kind=each["kind"],
            inputs=_log_tensors(each["inputs"]),
            constants=_log_tensors(each["constants"]),
            outputs=_log_tensors(each["outputs"]),
            nodes=tuple(dict.fromkeys(_NODE.findall(each["metadata"]))),
            tactic=each["tactic"],
            stream=int(each["stream"]),
        )
        for each in found
        if each is not None
    ]


def _log_tensors(text: str) -> tuple[LayerTensor, ...]:
    return tuple(
        LayerTensor(
            each["name"],
            tuple(int(side) for side in each["shape"].split(",") if side),
            type_named(each["type"]),
            each["layout"],
        )
        for each in _TENSOR.finditer(text)
    )


def type_named(text: str) -> str:
    """The type that a compiler's words name, or nothing."""
    return next((name for name, words in TYPES if re.search(words, text, re.IGNORECASE)), "")


def read_inspector(text: str) -> list[Layer]:
    """Read the inspector's JSON; layers given by name alone have neither kind nor tensors."""
    return [_inspected(layer) for layer in _layers_in(text)]


def _layers_in(text: str) -> list[Any]:
    try:
        found = parse_json(text, source="the inspector", error=EngineError, limits=PROFILE)
        layers = found.get("Layers")
        return [] if layers is None else [each.value for each in layers.items()]
    except EngineError:
        return []


def _inspected(layer: Any) -> Layer:
    if not isinstance(layer, dict):
        return Layer(str(layer), "", (), (), (), nodes_of(str(layer), ""))
    name = str(layer.get("Name", ""))
    constants = _inspected_tensors(layer.get("Constants"))
    weights = layer.get("Weights")
    if not constants and isinstance(weights, dict) and "Type" in weights:
        count = weights.get("Count")
        shape = (count,) if isinstance(count, int) else ()
        constants = (LayerTensor("weights", shape, type_named(str(weights["Type"])), ""),)
    stream = layer.get("StreamId")
    return Layer(
        name=name,
        kind=str(layer.get("LayerType", "")),
        inputs=_inspected_tensors(layer.get("Inputs")),
        constants=constants,
        outputs=_inspected_tensors(layer.get("Outputs")),
        nodes=nodes_of(name, str(layer.get("Metadata", ""))),
        tactic=str(layer.get("TacticName", "")),
        stream=stream if isinstance(stream, int) else 0,
        role=str(layer.get("ParameterType", "")),
    )


def _inspected_tensors(tensors: Any) -> tuple[LayerTensor, ...]:
    found = []
    for tensor in tensors if isinstance(tensors, list) else ():
        if not isinstance(tensor, dict):
            continue
        said = " ".join(str(v) for k, v in tensor.items() if "datatype" in k.lower())
        layout = " ".join(str(v) for k, v in tensor.items() if "format" in k.lower())
        shape = tensor.get("Dimensions")
        sides = [side for side in shape if isinstance(side, int)] if isinstance(shape, list) else []
        found.append(
            LayerTensor(
                str(tensor.get("Name", "")),
                tuple(sides),
                type_named(said) or type_named(layout),
                layout,
            )
        )
    return tuple(found)


def nodes_of(name: str, metadata: str) -> tuple[str, ...]:
    """The graph's nodes behind a layer: from its metadata, else from how fusions are named."""
    found: Iterable[str] = _NODE.findall(metadata)
    if not found:
        parts = re.split(r" \+ |\.\.\.", name.removeprefix("{ForeignNode[").removesuffix("]}"))
        found = (re.sub(r"^PWN\((.*)\)$", r"\1", part.strip()) for part in parts)
    return tuple(dict.fromkeys(each for each in found if each))


def to_json(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """The list, JSON-ready, with the bytes of every layer."""
    return [
        {
            **asdict(layer),
            "element": layer.element,
            "bytes": layer.bytes,
            "moves_only": layer.is_move,
        }
        for layer in layers
    ]
