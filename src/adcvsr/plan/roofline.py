"""How long a frame takes on a target, predicted from its graph: a roofline, node by node.

Every product (convolution, matrix product) takes as long as its arithmetic or its memory traffic,
whichever is longer; everything else is fused into them where an engine can. A target reaches a
share of its peaks, less with few channels; the shares are fitted to measured speeds (`fitted`), and
a measurement of the device itself corrects them (`measured`).

    predict(cost.nodes, target("orin-nano"), "tensorrt").seconds
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import BackendUnavailableError
from ..graph.cost import NodeCost
from ..targets import Target
from ..variants import ENGINE_BACKENDS, QUANTIZED, why_not
from .compiled import CompiledGraph
from .fitted import Fit, fit_for

ELEMENT_PRECISION = {
    "float16": "fp16",
    "bfloat16": "bf16",
    "int8": "int8",
    "uint8": "int8",
    "float8e4m3fn": "fp8",
    "float4e2m1": "fp4",
}
"""Arithmetic an engine uses for a product whose input is stored so; of floats, the variant's."""

LANE_CHANNELS = 32
"""Channels that tensor cores take at once in 8 bits: fewer are filled up with zeros."""

ELEMENTWISE = frozenset(
    {"Add", "Sub", "Mul", "Div", "Clip", "Relu", "PRelu", "LeakyRelu", "Sigmoid", "Tanh", "Erf"}
    | {"Gelu", "Cast", "Where", "Min", "Max", "Pow", "Sqrt", "Neg", "Reciprocal", "HardSwish"}
)
"""Fused into the product before them; only a second operand costs a read."""


FULL_CHANNELS = 8
"""Channels below which a convolution in floats takes no less time: tensor cores fill them up."""


@dataclass(frozen=True)
class Shares:
    """Shares of a target's peaks a network is expected to reach, and the cost of a kernel."""

    compute: float
    """Of the dense TOPS, with many channels."""

    half_channels: float
    """Read or written channels with which a convolution reaches half of that."""

    bandwidth: float
    """Of the memory bandwidth."""

    kernel_seconds: float
    """To start one kernel inside a CUDA graph."""

    source: str = ""
    """How these are known."""

    @classmethod
    def of(cls, fit: Fit) -> Shares:
        """Those of a class of devices."""
        rows = f"{fit.rows} measurements of {fit.networks} networks, class {fit.name}"
        return cls.under(fit.values, f"fitted to {rows} (docs/measurements.md)")

    @classmethod
    def under(cls, figures: Sequence[float], source: str = "") -> Shares:
        """From `fitted.FIGURES`, in their order."""
        compute, half_channels, bandwidth, kernel_seconds = figures
        return cls(compute, half_channels, bandwidth, kernel_seconds, source)

    def slowdown(self, node: NodeCost) -> float:
        """By how much few channels lengthen a convolution."""
        least = LANE_CHANNELS if ELEMENT_PRECISION.get(node.element) in QUANTIZED else FULL_CHANNELS
        factor = 1.0
        for channels in (node.in_channels, node.out_channels):
            if channels:
                factor *= 1 + self.half_channels / max(channels, least)
        return factor


@dataclass(frozen=True)
class Prediction:
    """What one run of a graph costs on a target."""

    seconds: float
    compute_seconds: float
    """If memory were free."""
    memory_seconds: float
    """If arithmetic were free."""
    precisions: tuple[str, ...]
    """Arithmetic of the products, the most used first."""
    shares: Shares

    @property
    def bound(self) -> str:
        """What decides: `compute` or `memory`."""
        return "compute" if self.compute_seconds >= self.memory_seconds else "memory"


def predict(
    nodes: Iterable[NodeCost],
    target: Target,
    backend: str,
    of_floats: str = "fp32",
    compiled: CompiledGraph | None = None,
    *,
    shares: Shares | None = None,
) -> Prediction:
    """Predict one run.

    Args:
        nodes: From `graph.cost`.
        target: Where.
        backend: What runs it.
        of_floats: Precision of products whose factors are stored as FP32: `fp32` or `tf32`.
        compiled: What the compiler made of the graph: its bytes and kernels take the place of
            those counted from the graph, node by node in proportion.
        shares: Others than those fitted to the target's class.

    Raises:
        BackendUnavailableError: The target has no such arithmetic, with the reason.
    """
    shares = shares or Shares.of(fit_for(target, backend))
    assert target.bandwidth_gb_s is not None
    bandwidth = target.bandwidth_gb_s.value * 1e9 * shares.bandwidth
    total = compute = memory = 0.0
    products: dict[str, int] = {}
    counted = list(nodes)
    listed = 1.0  # bytes moved by the layer list for each that is counted here
    if compiled is not None:
        activations = sum(_moved(node, backend) - _weights_moved(node) for node in counted)
        listed = compiled.bytes / activations if activations else 1.0
        total = compiled.kernels * shares.kernel_seconds
    for node in counted:
        arithmetic = 0.0
        if node.multiply_adds:
            precision = ELEMENT_PRECISION.get(node.element, of_floats)
            products[precision] = products.get(precision, 0) + node.multiply_adds
            operations = 2.0 * node.multiply_adds
            if target.kind != "cpu" and precision in QUANTIZED:
                operations *= _filled(node.in_channels) * _filled(node.out_channels)
            share = min(shares.compute / shares.slowdown(node), 1.0)
            arithmetic = operations / (_rate(target, backend, precision) * share)
        moved = _moved(node, backend)
        weights = _weights_moved(node)
        traffic = ((moved - weights) * listed + weights) / bandwidth
        compute += arithmetic
        memory += traffic
        kernels = 0 if not moved or compiled else 2 if _is_rescaled(node, backend) else 1
        total += max(arithmetic, traffic) + kernels * shares.kernel_seconds
    used = sorted(products, key=lambda name: -products[name])
    return Prediction(total, compute, memory, tuple(used), shares)


def _moved(node: NodeCost, backend: str) -> float:
    """Bytes a node moves on a backend."""
    moved = float(moved_bytes(node))
    if backend == "ort-cpu":
        return moved
    # ONNX Runtime's CPU provider keeps attention's scores in memory; engines fuse them away.
    return max(moved - node.score_bytes, 0) + _more_in_8_bits(node, backend)


def _weights_moved(node: NodeCost) -> int:
    """Weights among what `moved_bytes` counts; layer lists count activations alone."""
    return 0 if node.op_type in ELEMENTWISE else node.weight_bytes


def moved_bytes(node: NodeCost) -> int:
    """Bytes a node moves once an engine has fused what it can."""
    if node.op_type in ELEMENTWISE:
        second = node.read_bytes - node.written_bytes
        return 0 if node.op_type == "Cast" or node.score_bytes else max(second, 0)
    return node.read_bytes + node.written_bytes + node.weight_bytes


def _filled(channels: int) -> float:
    """By how much a convolution's channels grow where they are filled up to whole lanes."""
    return -(-channels // LANE_CHANNELS) * LANE_CHANNELS / channels if channels else 1.0


def _is_rescaled(node: NodeCost, backend: str) -> bool:
    """Whether a second kernel rescales what a convolution gives.

    TensorRT-RTX's layer lists show it of every convolution in 8 bits (docs/decisions.md). Nothing
    was seen of TensorRT: its INT8 convolutions have had fused kernels for years, its FP8 ones are
    counted like TensorRT-RTX's until a list says better, so that no gain is promised.
    """
    precision = ELEMENT_PRECISION.get(node.element)
    rescaled = QUANTIZED if backend == "tensorrt-rtx" else ("fp8",)
    return backend in ENGINE_BACKENDS and node.op_type == "Conv" and precision in rescaled


def _more_in_8_bits(node: NodeCost, backend: str) -> float:
    """Bytes an engine moves beside the graph's: zeros of filled lanes, FP32 to be rescaled."""
    more = 0.0
    if ELEMENT_PRECISION.get(node.element) == "int8" and node.op_type == "Conv":
        more += (_filled(node.in_channels) - 1) * node.read_bytes
    if _is_rescaled(node, backend):
        more += 2 * 4 * node.written_elements
    return more


def _rate(target: Target, backend: str, precision: str) -> float:
    """Peak operations a second in a precision.

    Raises:
        BackendUnavailableError: The target or the backend lacks it.
    """
    if reason := why_not(target.sm, backend, precision):
        raise BackendUnavailableError(f"{target.name}, {backend}: {reason}")
    # TensorRT lets FP16 add up in FP16 unless told otherwise; GeForces do that twice as fast.
    if precision == "fp16" and "fp16_acc16" in target.dense_tops:
        precision = "fp16_acc16"
    if precision not in target.dense_tops:
        known = ", ".join(sorted(target.dense_tops))
        raise BackendUnavailableError(
            f"no peak is known for {precision} on {target.name}; there are: {known}"
        )
    return target.dense_tops[precision].value * 1e12
