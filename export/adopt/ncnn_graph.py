"""ncnn's layers as ONNX operators, each as ncnn computes it.

model = ncnn_to_onnx(Path("model.param"))  # model.bin beside it
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ...config import SHOWN_LENGTH
from ...errors import AdoptError
from ..graphs.onnx_file import OPSET
from .ncnn_file import Layer, WeightReader, read_layers

SAME_UPPER, SAME_LOWER = -233, -234
"""Paddings that depend on the size."""

BICUBIC_A = -0.75

BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Sub", "Div")
"""By BinaryOp's number; the last two are reversed."""

REVERSED = (7, 8)

UNARY = {0: "Abs", 1: "Neg", 2: "Floor", 3: "Ceil", 5: "Sqrt", 7: "Exp", 8: "Log", 15: "Reciprocal",
         16: "Tanh"}  # fmt: skip

PAD_MODES = ("constant", "edge", "reflect")

MOST_NAMED = 6


class _Graph:
    """An ONNX graph as it grows."""

    def __init__(self, weights: WeightReader) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.channels: dict[str, int] = {}
        self._count = 0

    def constant(self, value: Any, kind: type[np.generic] = np.float32) -> str:
        """Add an initializer; returns its name."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        layer: Layer,
        output: str | None = None,
        **attributes: Any,
    ) -> str:
        """Add a node; returns its output, a new tensor where none is named."""
        self._count += 1
        first = not any(node.name == layer.name for node in self.nodes[-8:])
        name = layer.name if first else f"{layer.name}/{op_type}_{self._count}"
        output = output or f"{layer.outputs[0]}:{self._count}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], name, **attributes))
        return output


def ncnn_to_onnx(param: Path) -> onnx.ModelProto:
    """Convert a network whose `.bin` lies beside its `.param`.

    Returns:
        A model in float32 with dynamic size: (1, C, height, width) in and out.

    Raises:
        AdoptError: A file is missing or damaged, or layers are of kinds that are not known; they
            are named.
    """
    layers = read_layers(param)
    _require_known(param, layers)
    graph = _Graph(WeightReader(param.with_suffix(".bin")))
    inputs = [layer for layer in layers if layer.kind == "Input"]
    if len(inputs) != 1:
        raise AdoptError(f"'{param}' has {len(inputs)} inputs, expected one picture")
    (picture,) = inputs[0].outputs
    graph.channels[picture] = 3
    for layer in layers:
        if layer.kind != "Input":
            _LAYERS[layer.kind](graph, layer)
    graph.weights.require_end()
    read = Counter(name for layer in layers for name in layer.inputs)
    ends = [name for layer in layers for name in layer.outputs if not read[name]]
    if len(ends) != 1:
        raise AdoptError(f"'{param}' has {len(ends)} outputs ({', '.join(ends)}), expected one")
    floats = TensorProto.FLOAT
    built = helper.make_graph(
        graph.nodes,
        "ncnn",
        [helper.make_tensor_value_info(picture, floats, [1, 3, "height", "width"])],
        [helper.make_tensor_value_info(ends[0], floats, [1, 3, "high", "wide"])],
        graph.initializers,
    )
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(built, opset_imports=opset, ir_version=10, producer_name="adcvsr")


def _require_known(param: Path, layers: Sequence[Layer]) -> None:
    unknown = [layer for layer in layers if layer.kind not in _LAYERS and layer.kind != "Input"]
    if unknown:
        kinds = sorted({layer.kind for layer in unknown})
        named = ", ".join(
            f"'{layer.name}' ({layer.kind})"[:SHOWN_LENGTH] for layer in unknown[:MOST_NAMED]
        )
        raise AdoptError(
            f"'{param}' has layers that are not known: {named}"
            + (f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else "")
            + f"; of kinds {', '.join(kinds)}. Adopt an ONNX file of the network instead"
        )


def _refuse(layer: Layer, what: str) -> AdoptError:
    return AdoptError(f"layer '{layer.name}' ({layer.kind}) {what}; adopt an ONNX file instead")


def _convolution(graph: _Graph, layer: Layer) -> None:
    out, size = layer.integer(0), layer.integer(6)
    kernel_w = layer.integer(1)
    kernel = (layer.integer(11, kernel_w), kernel_w)
    dilations = [layer.integer(12, layer.integer(2, 1)), layer.integer(2, 1)]
    strides = [layer.integer(13, layer.integer(3, 1)), layer.integer(3, 1)]
    group = layer.integer(7, 1)
    if layer.integer(8) or layer.number(18):
        raise _refuse(layer, "computes in 8 bits or pads with a value")
    per_group = size // max(out * kernel[0] * kernel[1], 1)
    if out <= 0 or min(kernel) <= 0 or per_group * out * kernel[0] * kernel[1] != size:
        raise _refuse(layer, f"has {size} weights for {out} channels and a kernel of {kernel}")
    weight = graph.weights.flagged(size, layer.name).reshape(out, per_group, *kernel)
    inputs = [layer.inputs[0], graph.constant(weight)]
    if layer.integer(5):
        inputs.append(graph.constant(graph.weights.plain(out, layer.name)))
    pads = _pads(layer)
    padding: dict[str, Any] = {"pads": pads}
    if pads[0] in (SAME_UPPER, SAME_LOWER):
        padding = {"auto_pad": "SAME_UPPER" if pads[0] == SAME_UPPER else "SAME_LOWER"}
    result = graph.add(
        "Conv",
        inputs,
        layer,
        kernel_shape=list(kernel),
        dilations=dilations,
        strides=strides,
        group=group,
        **padding,
    )
    graph.channels[layer.outputs[0]] = out
    _activate(graph, layer, result)


def _deconvolution(graph: _Graph, layer: Layer) -> None:
    out, size, group = layer.integer(0), layer.integer(6), layer.integer(7, 1)
    kernel_w = layer.integer(1)
    kernel = (layer.integer(11, kernel_w), kernel_w)
    area = kernel[0] * kernel[1]
    ins = size // max(out * area, 1) * group
    if layer.integer(20) or layer.integer(21) or _pads(layer)[0] < 0 or layer.integer(28):
        raise _refuse(layer, "has an output size of its own")
    if out <= 0 or area <= 0 or out % group or ins * out // group * area != size:
        raise _refuse(layer, f"has {size} weights for {out} channels and a kernel of {kernel}")
    weight = graph.weights.flagged(size, layer.name)
    # ncnn has outputs before inputs within a group, ONNX inputs before outputs.
    grouped = weight.reshape(group, out // group, ins // group, *kernel).swapaxes(1, 2)
    inputs = [layer.inputs[0], graph.constant(grouped.reshape(ins, out // group, *kernel))]
    if layer.integer(5):
        inputs.append(graph.constant(graph.weights.plain(out, layer.name)))
    result = graph.add(
        "ConvTranspose",
        inputs,
        layer,
        kernel_shape=list(kernel),
        dilations=[layer.integer(12, layer.integer(2, 1)), layer.integer(2, 1)],
        strides=[layer.integer(13, layer.integer(3, 1)), layer.integer(3, 1)],
        pads=_pads(layer),
        output_padding=[layer.integer(19), layer.integer(18)],
        group=group,
    )
    graph.channels[layer.outputs[0]] = out
    _activate(graph, layer, result)


def _pads(layer: Layer) -> list[int]:
    """Top, left, bottom, right."""
    left = layer.integer(4)
    top = layer.integer(14, left)
    return [top, left, layer.integer(16, top), layer.integer(15, left)]


def _activate(graph: _Graph, layer: Layer, tensor: str) -> None:
    """Add the activation a convolution has, and give its output its name."""
    kind, values = layer.integer(9), layer.numbers(10)
    out = layer.outputs[0]
    if kind == 0:
        graph.nodes[-1].output[0] = out
    elif kind == 1:
        graph.add("Relu", [tensor], layer, out)
    elif kind == 2:
        graph.add("LeakyRelu", [tensor], layer, out, alpha=values[0])
    elif kind == 3:
        limits = [graph.constant(value) for value in values[:2]]
        graph.add("Clip", [tensor, *limits], layer, out)
    elif kind == 4:
        graph.add("Sigmoid", [tensor], layer, out)
    elif kind == 5:
        graph.add("Mish", [tensor], layer, out)
    elif kind == 6:
        gate = graph.add("HardSigmoid", [tensor], layer, alpha=values[0], beta=values[1])
        graph.add("Mul", [tensor, gate], layer, out)
    else:
        raise _refuse(layer, f"has an activation {kind} that is not known")


def _prelu(graph: _Graph, layer: Layer) -> None:
    slopes = graph.weights.plain(layer.integer(0), layer.name)
    name = graph.constant(slopes.reshape(-1, 1, 1))
    _same(graph, layer, graph.add("PRelu", [layer.inputs[0], name], layer, layer.outputs[0]))


def _relu(graph: _Graph, layer: Layer) -> None:
    slope = layer.number(0)
    kind = "LeakyRelu" if slope else "Relu"
    attributes: dict[str, Any] = {"alpha": slope} if slope else {}
    _same(graph, layer, graph.add(kind, layer.inputs, layer, layer.outputs[0], **attributes))


def _clip(graph: _Graph, layer: Layer) -> None:
    limits = [graph.constant(layer.number(key, far)) for key, far in ((0, -3e38), (1, 3e38))]
    graph.add("Clip", [layer.inputs[0], *limits], layer, layer.outputs[0])
    _same(graph, layer)


def _hard(graph: _Graph, layer: Layer) -> None:
    steps: dict[str, Any] = {"alpha": layer.number(0, 0.2), "beta": layer.number(1, 0.5)}
    if layer.kind == "HardSigmoid":
        graph.add("HardSigmoid", layer.inputs, layer, layer.outputs[0], **steps)
    else:
        gate = graph.add("HardSigmoid", layer.inputs, layer, **steps)
        graph.add("Mul", [layer.inputs[0], gate], layer, layer.outputs[0])
    _same(graph, layer)


def _swish(graph: _Graph, layer: Layer) -> None:
    gate = graph.add("Sigmoid", layer.inputs, layer)
    graph.add("Mul", [layer.inputs[0], gate], layer, layer.outputs[0])
    _same(graph, layer)


def _plain(op_type: str) -> Callable[[_Graph, Layer], None]:
    def convert(graph: _Graph, layer: Layer) -> None:
        graph.add(op_type, layer.inputs, layer, layer.outputs[0])
        _same(graph, layer)

    return convert


def _unary(graph: _Graph, layer: Layer) -> None:
    kind = UNARY.get(layer.integer(0))
    if kind is None:
        raise _refuse(layer, f"has a function {layer.integer(0)} that is not known")
    graph.add(kind, layer.inputs, layer, layer.outputs[0])
    _same(graph, layer)


def _binary(graph: _Graph, layer: Layer) -> None:
    number = layer.integer(0)
    if not 0 <= number < len(BINARY):
        raise _refuse(layer, f"has a function {number} that is not known")
    inputs = list(layer.inputs)
    if layer.integer(1):
        inputs.append(graph.constant(layer.number(2)))
    if number in REVERSED:
        inputs.reverse()
    graph.add(BINARY[number], inputs, layer, layer.outputs[0])
    _same(graph, layer)


def _eltwise(graph: _Graph, layer: Layer) -> None:
    number, factors = layer.integer(0), layer.numbers(1)
    terms = list(layer.inputs)
    if number == 1 and factors:
        terms = [
            term if factor == 1 else graph.add("Mul", [term, graph.constant(factor)], layer)
            for term, factor in zip(terms, factors, strict=True)
        ]
    kind = ("Mul", "Add", "Max")[number]
    total = terms[0]
    for index, term in enumerate(terms[1:], 2):
        last = layer.outputs[0] if index == len(terms) else None
        total = graph.add(kind, [total, term], layer, last)
    _same(graph, layer)


def _concat(graph: _Graph, layer: Layer) -> None:
    axis = layer.integer(0)
    graph.add("Concat", layer.inputs, layer, layer.outputs[0], axis=axis + 1 if axis >= 0 else axis)
    known = [graph.channels[name] for name in layer.inputs]
    graph.channels[layer.outputs[0]] = sum(known) if axis in (0, -3) else known[0]


def _copies(graph: _Graph, layer: Layer) -> None:
    for output in layer.outputs:
        graph.add("Identity", layer.inputs, layer, output)
        graph.channels[output] = graph.channels[layer.inputs[0]]


def _slice(graph: _Graph, layer: Layer) -> None:
    axis, sizes = layer.integer(1), [int(size) for size in layer.numbers(0)]
    channels = graph.channels[layer.inputs[0]]
    if axis not in (0, -3):
        raise _refuse(layer, f"cuts axis {axis}, expected channels")
    at = 0
    for index, (size, output) in enumerate(zip(sizes, layer.outputs, strict=True)):
        rest = (channels - at) // (len(sizes) - index)
        end = at + (rest if size == SAME_UPPER else size)
        limits = [graph.constant([value], np.int64) for value in (at, end, 1)]
        graph.add("Slice", [layer.inputs[0], *limits], layer, output)
        graph.channels[output] = end - at
        at = end


def _pixel_shuffle(graph: _Graph, layer: Layer) -> None:
    factor, mode = layer.integer(0, 1), "DCR" if layer.integer(1) else "CRD"
    graph.add("DepthToSpace", layer.inputs, layer, layer.outputs[0], blocksize=factor, mode=mode)
    graph.channels[layer.outputs[0]] = graph.channels[layer.inputs[0]] // factor**2


def _reorganise(graph: _Graph, layer: Layer) -> None:
    """Pixel-unshuffle: a convolution that takes each place to a channel of its own, exactly."""
    factor, channels = layer.integer(0, 1), graph.channels[layer.inputs[0]]
    eye = np.eye(factor**2, dtype=np.float32).reshape(factor**2, 1, factor, factor)
    weight = np.tile(eye, (channels, 1, 1, 1))
    if layer.integer(1):
        raise _refuse(layer, "orders channels by place")
    graph.add(
        "Conv",
        [layer.inputs[0], graph.constant(weight)],
        layer,
        layer.outputs[0],
        kernel_shape=[factor] * 2,
        strides=[factor] * 2,
        group=channels,
    )
    graph.channels[layer.outputs[0]] = channels * factor**2


def _interp(graph: _Graph, layer: Layer) -> None:
    kind, high, wide = layer.integer(0), layer.number(1, 1.0), layer.number(2, 1.0)
    if layer.integer(3) or layer.integer(4) or layer.integer(6) or len(layer.inputs) > 1:
        raise _refuse(layer, "resizes to a size of its own or by corners")
    how: dict[str, Any] = {"coordinate_transformation_mode": "half_pixel"}
    if kind == 1:
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif kind == 3:
        how["cubic_coeff_a"] = BICUBIC_A
    elif kind != 2:
        raise _refuse(layer, f"interpolates in a way {kind} that is not known")
    scales = graph.constant([1.0, 1.0, high, wide])
    mode = {1: "nearest", 2: "linear", 3: "cubic"}[kind]
    graph.add("Resize", [layer.inputs[0], "", scales], layer, layer.outputs[0], mode=mode, **how)
    _same(graph, layer)


def _padding(graph: _Graph, layer: Layer) -> None:
    top, bottom, left, right = (layer.integer(key) for key in range(4))
    if layer.integer(7) or layer.integer(8) or layer.integer(6) or min(top, left) < 0:
        raise _refuse(layer, "pads channels or by the size")
    pads = graph.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
    inputs = [layer.inputs[0], pads, graph.constant(layer.number(5))]
    graph.add("Pad", inputs, layer, layer.outputs[0], mode=PAD_MODES[layer.integer(4)])
    _same(graph, layer)


def _crop(graph: _Graph, layer: Layer) -> None:
    starts, ends, axes = (layer.numbers(key) for key in (9, 10, 11))
    if len(layer.inputs) > 1:
        raise _refuse(layer, "cuts to the size of another tensor")
    if not starts:
        if (
            layer.integer(2)
            or layer.integer(8)
            or any(layer.integer(key, SAME_UPPER) not in (SAME_UPPER, 0) for key in (3, 4))
        ):
            raise _refuse(layer, "cuts channels or to a size of its own")
        starts = (layer.integer(1), layer.integer(0))
        ends = tuple(-layer.integer(key) or 1 << 30 for key in (7, 6))
        axes = (1, 2)
    elif not axes or any(axis in (0, -3) for axis in axes):
        raise _refuse(layer, "cuts channels")
    places = [int(axis) + 1 if axis >= 0 else int(axis) for axis in axes]
    last = [1 << 30 if end == SAME_UPPER else int(end) for end in ends]
    values = ([int(start) for start in starts], last, places)
    limits = [graph.constant(value, np.int64) for value in values]
    graph.add("Slice", [layer.inputs[0], *limits], layer, layer.outputs[0])
    _same(graph, layer)


def _pooling(graph: _Graph, layer: Layer) -> None:
    maximum = layer.integer(0) == 0
    if layer.integer(4):
        kind = "GlobalMaxPool" if maximum else "GlobalAveragePool"
        graph.add(kind, layer.inputs, layer, layer.outputs[0])
        _same(graph, layer)
        return
    if layer.integer(5) != 1 or layer.integer(7):
        raise _refuse(layer, "pools up to the border or to a size of its own")
    width = layer.integer(1)
    left = layer.integer(3)
    top = layer.integer(13, left)
    attributes: dict[str, Any] = {
        "kernel_shape": [layer.integer(11, width), width],
        "strides": [layer.integer(12, layer.integer(2, 1)), layer.integer(2, 1)],
        "pads": [top, left, layer.integer(15, top), layer.integer(14, left)],
    }
    if not maximum:
        attributes["count_include_pad"] = layer.integer(6)
    kind = "MaxPool" if maximum else "AveragePool"
    graph.add(kind, layer.inputs, layer, layer.outputs[0], **attributes)
    _same(graph, layer)


def _batch_norm(graph: _Graph, layer: Layer) -> None:
    count, epsilon = layer.integer(0), layer.number(1)
    slope, mean, variance, bias = (graph.weights.plain(count, layer.name) for _ in range(4))
    factor = slope / np.sqrt(variance + np.float32(epsilon))
    offset = bias - mean * factor
    scaled = graph.add("Mul", [layer.inputs[0], graph.constant(factor.reshape(-1, 1, 1))], layer)
    graph.add("Add", [scaled, graph.constant(offset.reshape(-1, 1, 1))], layer, layer.outputs[0])
    _same(graph, layer)


def _same(graph: _Graph, layer: Layer, _: str = "") -> None:
    """Channels stay as they are; of two inputs the larger number, as they broadcast."""
    graph.channels[layer.outputs[0]] = max(graph.channels[name] for name in layer.inputs)


_LAYERS: dict[str, Callable[[_Graph, Layer], None]] = {
    **dict.fromkeys(("Convolution", "ConvolutionDepthWise"), _convolution),
    **dict.fromkeys(("Deconvolution", "DeconvolutionDepthWise"), _deconvolution),
    **dict.fromkeys(("Dropout", "Noop", "Split"), _copies),
    **dict.fromkeys(("HardSigmoid", "HardSwish"), _hard),
    "BatchNorm": _batch_norm,
    "BinaryOp": _binary,
    "Clip": _clip,
    "Concat": _concat,
    "Crop": _crop,
    "Eltwise": _eltwise,
    "Interp": _interp,
    "Mish": _plain("Mish"),
    "Padding": _padding,
    "PixelShuffle": _pixel_shuffle,
    "Pooling": _pooling,
    "PReLU": _prelu,
    "ReLU": _relu,
    "Reorg": _reorganise,
    "Sigmoid": _plain("Sigmoid"),
    "Slice": _slice,
    "Swish": _swish,
    "TanH": _plain("Tanh"),
    "UnaryOp": _unary,
}
