"""What a bundle's graph may be made of: tensor operators that end, and files beside it.

A bundle comes from anywhere, and its hashes say only that it is as it was written. An engine that
is given a loop runs it for ever, inside a call that no signal ends; so graphs are looked through
before any engine sees them, on every backend. What this cannot see, such as constants that unfold
to terabytes, is left to `graph_trial`.

    check_graph(data, source="'my-bundle': 'fp32-onnx.onnx'", data_files=())
"""

from __future__ import annotations

from collections.abc import Collection

from ..config import SHOWN_LENGTH
from ..errors import BundleError
from .onnx_locations import GraphScan, scan_graph

MOST_NODES = 100_000
"""Of a graph; the published network has about 2,000."""

STANDARD_DOMAINS = ("", "ai.onnx")

_STANDARD = """
Abs Add And ArgMax ArgMin Attention AveragePool BatchNormalization BitShift BitwiseAnd
BitwiseNot BitwiseOr BitwiseXor Cast
CastLike Ceil Clip Concat Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos
DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater
GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Identity
InstanceNormalization LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul
MatMulInteger Max MaxPool Mean Min Mish Mod Mul Neg Not Or PRelu Pad Pow QLinearConv
QLinearMatMul QuantizeLinear RMSNormalization Range Reciprocal ReduceL2 ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round ScatterElements
ScatterND Shape Sigmoid Sign Sin Size Slice Softmax Softplus SpaceToDepth Split Sqrt Squeeze Sub
Sum Tanh Tile Transpose Trilu Unsqueeze Where Xor
"""

OPERATORS = frozenset(_STANDARD.split())
"""ONNX's own operators of tensors in, tensors out. What runs graphs (`Loop`, `If`, `Scan`), draws
at random, or holds lists and texts is no part of these networks."""

_MICROSOFT = """
DequantizeLinear FusedConv FusedMatMul Gelu NhwcConv QGemm QLinearAdd QLinearConcat QLinearMul
QLinearSigmoid QuantizeLinear
"""

OTHER_OPERATORS = {
    "com.microsoft": frozenset(_MICROSOFT.split()),
    "trt": frozenset({"TRT_FP8DequantizeLinear", "TRT_FP8QuantizeLinear"}),
}
"""Operators of quantizers and engines, by domain."""


def check_graph(graph: bytes, *, source: str, data_files: Collection[str]) -> set[str]:
    """Refuse a graph that is more than tensors and operators.

    Args:
        graph: An ONNX file.
        source: How errors name it.
        data_files: Files it may take weights from.

    Returns:
        Those it takes weights from.

    Raises:
        BundleError: It is no ONNX file; has loops, functions or operators of its own, or too many
            nodes; or wants weights from another file.
    """
    try:
        scan = scan_graph(graph)
    except ValueError as error:
        raise BundleError(f"{source} is no ONNX file: {error}") from error
    reason = _why_not(scan)
    if reason is not None:
        raise BundleError(f"{source} {reason}; a bundle's graph has operators of tensors only")
    foreign = sorted(scan.locations - set(data_files))
    if foreign:
        raise BundleError(
            f"{source} wants weights from {_shown(foreign[0])}, which is not among the data files "
            "that the manifest lists for it"
        )
    return scan.locations


def _why_not(scan: GraphScan) -> str | None:
    refused = sorted(pair for pair in scan.operators if not _is_allowed(*pair))
    if refused:
        named = ", ".join(_named(*pair) for pair in refused[:3])
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        return f"uses {named}{more}, which this adcvsr does not run"
    if scan.has_subgraphs:
        return "has graphs inside a node, as loops have"
    if scan.has_functions:
        return "defines functions of its own"
    if scan.nodes > MOST_NODES:
        return f"has {scan.nodes:,} nodes, more than {MOST_NODES:,}"
    return None


def _is_allowed(domain: str, operator: str) -> bool:
    if domain in STANDARD_DOMAINS:
        return operator in OPERATORS
    return operator in OTHER_OPERATORS.get(domain, ())


def _named(domain: str, operator: str) -> str:
    where = "" if domain in STANDARD_DOMAINS else f" of the domain {_shown(domain)}"
    return f"the operator {_shown(operator)}{where}"


def _shown(text: str) -> str:
    return ascii(text if len(text) <= SHOWN_LENGTH else text[: SHOWN_LENGTH - 1] + "\u2026")
