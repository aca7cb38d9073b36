"""How far a graph sees across the picture, from its operators alone.

Of every tensor it is known how many pixels of the input one of its positions covers, and from which
to which input pixel it depends; an operator whose reach is not known makes the network global.

    radius_of(model, scale=4)  # 18: pixels to each side; None where it sees all
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy.typing as npt
import onnx
from onnx import helper

from ..graphs.graph_edit import GraphEdit


@dataclass(frozen=True)
class _Seen:
    """Of position p of a tensor: input pixels from `step * p + low` to `step * p + high`."""

    step: Fraction
    low: Fraction
    high: Fraction

    def moved(self, step: Fraction, low: Fraction | int, high: Fraction | int) -> _Seen:
        """What reads positions from `low` to `high` of this one, in a raster of another step."""
        return _Seen(step, self.low + self.step * low, self.high + self.step * high)


class _UnknownReachError(Exception):
    """A node sees how much is not known."""


Weights = dict[str, "npt.NDArray[Any]"]
Rows = tuple[_Seen, _Seen]
"""Of rows and of columns."""


def radius_of(model: onnx.ModelProto, scale: int) -> int | None:
    """Input pixels to each side that an output pixel can depend on; None for all of them.

    Args:
        model: From one picture to one `scale` times as large, both (1, C, H, W); pictures may be
            (1, H, W, C) at the ends. Further inputs are states, `NAME` and `NAME_next`.
        scale: Of the output.
    """
    edit = GraphEdit(model)
    start = _Seen(Fraction(1), Fraction(0), Fraction(0))
    states = {value.name for value in model.graph.input[1:]}
    held: dict[str, Rows] = {}  # what states have seen: of the frame before, as the picture now
    try:
        for _ in range(len(states) + 2):
            seen: dict[str, Rows] = {model.graph.input[0].name: (start, start), **held}
            _follow(model, edit.weights, seen)
            found = {name: seen[f"{name}_next"] for name in states if f"{name}_next" in seen}
            if found == held:
                break
            held = found
        else:
            return None  # it sees further with every frame
    except _UnknownReachError:
        return None
    ends = seen.get(model.graph.output[0].name)
    if ends is None or any(end.step != Fraction(1, scale) for end in ends):
        return None
    # Of the s output pixels of an input pixel the last is (s - 1) / s of a pixel further on.
    last = Fraction(scale - 1, scale)
    return max(max(-floor(end.low), ceil(end.high + last)) for end in ends)


def _follow(model: onnx.ModelProto, weights: Weights, seen: dict[str, Rows]) -> None:
    """Add what every node sees."""
    for node in model.graph.node:
        reads = [seen[name] for name in node.input if name in seen]
        if not reads:
            continue  # of constants, or of states before the first frame
        rule = _RULES.get(node.op_type)
        if rule is None:
            raise _UnknownReachError
        seen.update(dict.fromkeys(node.output, rule(node, reads, weights)))


def _union(reads: list[Rows]) -> Rows:
    return _joined([read[0] for read in reads]), _joined([read[1] for read in reads])


def _joined(reads: list[_Seen]) -> _Seen:
    if len({read.step for read in reads}) > 1:
        raise _UnknownReachError
    return _Seen(reads[0].step, min(r.low for r in reads), max(r.high for r in reads))


def _same(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    return _union(reads)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _conv(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    found = _attributes(node)
    shape = found.get("kernel_shape") or weights[node.input[1]].shape[2:]
    if found.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID") or len(shape) != 2:
        raise _UnknownReachError
    pads = found.get("pads", [0] * 4)
    dilations, strides = found.get("dilations", [1, 1]), found.get("strides", [1, 1])
    rows = [
        seen.moved(seen.step * strides[i], -pads[i], dilations[i] * (shape[i] - 1) - pads[i])
        for i, seen in enumerate(_union(reads))
    ]
    return rows[0], rows[1]


def _conv_transpose(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    found = _attributes(node)
    shape = found.get("kernel_shape") or weights[node.input[1]].shape[2:]
    if found.get("auto_pad", b"NOTSET") != b"NOTSET" or "output_shape" in found or len(shape) != 2:
        raise _UnknownReachError
    pads = found.get("pads", [0] * 4)
    dilations, strides = found.get("dilations", [1, 1]), found.get("strides", [1, 1])
    rows = [
        seen.moved(
            seen.step / strides[i],
            Fraction(pads[i] - dilations[i] * (shape[i] - 1), strides[i]),
            Fraction(pads[i], strides[i]),
        )
        for i, seen in enumerate(_union(reads))
    ]
    return rows[0], rows[1]


def _depth_to_space(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    block = _attributes(node)["blocksize"]
    row, column = (
        seen.moved(seen.step / block, Fraction(1 - block, block), 0) for seen in _union(reads)
    )
    return row, column


def _space_to_depth(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    block = _attributes(node)["blocksize"]
    row, column = (seen.moved(seen.step * block, 0, block - 1) for seen in _union(reads))
    return row, column


def _resize(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    found = _attributes(node)
    scales = weights.get(node.input[2]) if len(node.input) > 2 else None
    where = found.get("coordinate_transformation_mode", b"half_pixel")
    if scales is None or len(scales) != 4 or "axes" in found:
        raise _UnknownReachError
    if where not in (b"half_pixel", b"asymmetric", b"pytorch_half_pixel"):
        raise _UnknownReachError
    mode = found.get("mode", b"nearest")
    taps = {b"nearest": 1, b"linear": 1, b"cubic": 2}[mode]
    rows = []
    for by, seen in zip(scales[2:], _union(reads), strict=True):
        factor = Fraction(float(by)).limit_denominator(64)
        if abs(float(factor) - float(by)) > 1e-6 * float(by):
            raise _UnknownReachError
        # A position is at p / factor, half a pixel less at most, and reads so many to each side.
        wide = taps * (ceil(1 / factor) if found.get("antialias") else 1) + 1
        rows.append(seen.moved(seen.step / factor, -wide, wide))
    return rows[0], rows[1]


def _pad(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    pads = weights.get(node.input[1])
    if pads is None or len(pads) != 8 or (len(node.input) > 3 and node.input[3]):
        raise _UnknownReachError
    if _attributes(node).get("mode", b"constant") not in (b"constant", b"edge", b"reflect"):
        raise _UnknownReachError
    # What mirrors or repeats the border reads within the padding's width of it.
    plain = _attributes(node).get("mode", b"constant") == b"constant"
    rows = []
    for axis, seen in enumerate(_union(reads), 2):
        before, after = int(pads[axis]), int(pads[axis + 4])
        spread = 0 if plain else 2 * max(before, after)
        rows.append(seen.moved(seen.step, -before - spread, spread - before))
    return rows[0], rows[1]


def _slice(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    values = [weights.get(name) for name in node.input[1:]]
    if len(values) < 3 or any(value is None for value in values):
        raise _UnknownReachError
    starts, _, axes, *steps = values
    moves = {2: 0, 3: 0}
    for index, axis in enumerate(axes.tolist()):  # type: ignore[union-attr]
        step = int(steps[0][index]) if steps and steps[0] is not None else 1
        place = axis % 4
        if place in moves:
            start = int(starts[index])  # type: ignore[index]
            if step != 1 or start < 0:
                raise _UnknownReachError
            moves[place] = start
    row, column = (
        seen.moved(seen.step, moves[axis], moves[axis])
        for axis, seen in enumerate(_union(reads), 2)
    )
    return row, column


def _channels_alone(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    """Nodes with an axis, which must be that of channels."""
    if _attributes(node).get("axis", 0) not in (1, -3):
        raise _UnknownReachError
    return _union(reads)


def _transpose(node: onnx.NodeProto, reads: list[Rows], weights: Weights) -> Rows:
    """Between (1, C, H, W) and (1, H, W, C), as at the ends; rows stay before columns."""
    if list(_attributes(node).get("perm", [])) not in ([0, 3, 1, 2], [0, 2, 3, 1]):
        raise _UnknownReachError
    return _union(reads)


Rule = Callable[[onnx.NodeProto, list[Rows], Weights], Rows]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            *("Abs", "Add", "BatchNormalization", "Cast", "Ceil", "Clip", "Div", "Dropout", "Elu"),
            *("Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu"),
            *("Log", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu"),
            *("Round", "Sigmoid", "Sign", "Softplus", "Sqrt", "Sub", "Sum", "Tanh"),
        ),
        _same,
    ),
    **dict.fromkeys(("AveragePool", "Conv", "MaxPool"), _conv),
    **dict.fromkeys(("Concat", "Gather", "Split"), _channels_alone),
    "ConvTranspose": _conv_transpose,
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Transpose": _transpose,
}
"""What is not here sees the whole picture, or how much is not known."""
