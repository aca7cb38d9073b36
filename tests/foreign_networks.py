"""Small upscalers as others publish them: ONNX files of several kinds, and ncnn's two files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH = 6


def weights_of(scale: int) -> dict[str, np.ndarray[Any, Any]]:
    """Of two convolutions that change the picture by a few levels."""
    rng = np.random.default_rng(scale)
    return {
        "w1": rng.normal(0, 0.2, (WIDTH, 3, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, WIDTH).astype(np.float32),
        "w2": rng.normal(0, 0.01, (3 * scale**2, WIDTH, 3, 3)).astype(np.float32),
        "b2": np.zeros(3 * scale**2, np.float32),
    }


def upscaler(
    *,
    scale: int = 4,
    sides: Sequence[int | str] = ("h", "w"),
    batch: int | str = 1,
    layout: str = "NCHW",
    unit: float = 1.0,
    half: bool = False,
    opset: int = 17,
    swap_colours: bool = False,
    stride: int = 1,
    mix_batch: bool = False,
    sized: bool = False,
    extra: Sequence[onnx.NodeProto] = (),
) -> onnx.ModelProto:
    """A residual upscaler that clips to [0, unit].

    Args:
        scale: Of the output.
        sides: Height and width of the input.
        batch: Of pictures.
        layout: `NCHW` or `NHWC`.
        unit: White.
        half: Whether weights and pictures are in float16.
        opset: Of the file.
        swap_colours: Whether the network takes BGR and gives RGB, as no network should.
        stride: What sizes have to be multiples of, by a way down and up.
        mix_batch: Whether pictures are moved by the mean of the batch.
        sized: Whether the enlargement is to a fixed size.
        extra: Nodes on the way from `mixed` to `summed`.
    """
    kind = np.float16 if half else np.float32
    values: dict[str, Any] = {k: v.astype(kind) for k, v in weights_of(scale).items()}
    values["w2"] = values["w2"] * kind(unit)
    values["w1"] = values["w1"] / kind(unit)
    values |= {"low": kind(0), "high": kind(unit)}
    values["scales"] = np.array([1, 1, scale, scale], np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["f"], "body/first", pads=[1] * 4),
        helper.make_node("LeakyRelu", ["f"], ["a"], "body/act", alpha=0.1),
        helper.make_node("Conv", ["a", "w2", "b2"], ["u"], "body/last", pads=[1] * 4),
        helper.make_node("DepthToSpace", ["u"], ["d"], "tail/shuffle", blocksize=scale, mode="CRD"),
    ]
    if sized:
        values["target"] = np.array([1, 3, *(int(side) * scale for side in sides)], np.int64)
        resize = ["x", "", "", "target"]
    else:
        resize = ["x", "", "scales"]
    nodes.append(
        helper.make_node(
            "Resize",
            resize,
            ["r"],
            "tail/enlarge",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    )
    if stride > 1:
        steps = np.array([1, 1, 1 / stride, 1 / stride], np.float32)
        values |= {"down": steps, "back": 1 / steps}
        small = {
            "mode": "nearest",
            "coordinate_transformation_mode": "asymmetric",
            "nearest_mode": "floor",
        }
        nodes[2:2] = [
            helper.make_node(
                "MaxPool",
                ["a"],
                ["p"],
                "body/down",
                kernel_shape=[stride] * 2,
                strides=[stride] * 2,
            ),
            helper.make_node("Resize", ["p", "", "back"], ["q"], "body/up", **small),
            helper.make_node("Add", ["a", "q"], ["s"], "body/skip"),
        ]
        next(node for node in nodes if node.name == "body/last").input[0] = "s"
    nodes.append(helper.make_node("Add", ["r", "d"], ["mixed"], "tail/sum"))
    last = "mixed"
    if swap_colours:
        values["order"] = np.array([2, 1, 0], np.int64)
        nodes.append(helper.make_node("Gather", [last, "order"], ["bgr"], "tail/swap", axis=1))
        last = "bgr"
    if mix_batch:
        nodes.append(
            helper.make_node("ReduceMean", ["x"], ["mean"], "tail/mean", axes=[0, 1, 2, 3])
        )
        nodes.append(helper.make_node("Add", [last, "mean"], ["moved"], "tail/move"))
        last = "moved"
    if extra:
        nodes += extra
        last = "summed"
    nodes.append(helper.make_node("Clip", [last, "low", "high"], ["y"], "tail/clip"))
    element = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    shape = [batch, 3, *sides]
    out: list[Any] = [batch, 3, "hh", "ww"]
    if layout == "NHWC":
        shape, out = [batch, *sides, 3], [batch, "hh", "ww", 3]
        for node in nodes:
            for tensors in (node.input, node.output):
                for index, name in enumerate(tensors):
                    if name in ("x", "y"):
                        tensors[index] = f"{name}_nchw"
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["x_nchw"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["y_nchw"], ["y"], perm=[0, 2, 3, 1]))
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, out)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items() if k in read],
    )
    opsets = [helper.make_opsetid("", opset)]
    opsets += [helper.make_opsetid(node.domain, 1) for node in extra if node.domain]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def write_ncnn(param: Path, lines: Sequence[str], weights: Sequence[bytes]) -> Path:
    """Write a network in ncnn's format, its input a picture named `data`."""
    blobs = {word for line in lines for word in line.split()[4:] if "=" not in word}
    head = ["7767517", f"{len(lines) + 1} {len(blobs) + 1}", "Input input 0 1 data"]
    param.write_text("\n".join([*head, *lines]) + "\n")
    param.with_suffix(".bin").write_bytes(b"".join(weights))
    return param


def plain(values: Any) -> bytes:
    """A bias or slope as ncnn stores it."""
    return np.asarray(values, "<f4").tobytes()


def flagged(values: Any, *, half: bool = False) -> bytes:
    """A kernel as ncnn stores it, in float16 where that is asked for."""
    if half:
        data = np.asarray(values, "<f2").tobytes()
        return struct.pack("<I", 0x01306B47) + data + bytes(-len(data) % 4)
    return struct.pack("<I", 0) + plain(values)


def ncnn_upscaler(param: Path, *, scale: int = 2, half: bool = True) -> Path:
    """A compact network with slopes, a pixel-shuffle and an enlarged input, as SRVGG has."""
    w = weights_of(scale)
    outs = 3 * scale**2
    lines = [
        "Split split 1 2 data d0 d1",
        f"Convolution first 1 1 d0 f 0={WIDTH} 1=3 4=1 5=1 6={w['w1'].size}",
        f"PReLU act 1 1 f a 0={WIDTH}",
        f"Convolution last 1 1 a u 0={outs} 1=3 4=1 5=1 6={w['w2'].size}",
        f"PixelShuffle shuffle 1 1 u s 0={scale}",
        f"Interp enlarge 1 1 d1 r 0=1 1={float(scale)} 2={float(scale)}",
        "BinaryOp sum 2 1 s r out",
    ]
    slopes = np.linspace(0.05, 0.3, WIDTH)
    stored = [
        flagged(w["w1"], half=half),
        plain(w["b1"]),
        plain(slopes),
        flagged(w["w2"], half=half),
        plain(w["b2"]),
    ]
    return write_ncnn(param, lines, stored)


def of_yuv(model: onnx.ModelProto, *, range_: tuple[float, float] = (0.0, 1.0)) -> onnx.ModelProto:
    """An upscaler that works on RGB inside, as a network that takes and gives YUV from `range_`.

    Its matrix is that of JPEG; what leaves the range on the way is not clipped.
    """
    low, high = range_
    to_rgb = np.array([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])
    grey = np.array([0, 128, 128]) / 255
    span = high - low
    graph = model.graph
    graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in {
            "to_rgb": to_rgb[:, :, None, None] / span,
            "to_rgb_offset": -to_rgb @ (grey + low / span),
            "to_yuv": np.linalg.inv(to_rgb)[:, :, None, None] * span,
            "to_yuv_offset": grey * span + low,
        }.items()
    )
    for node in graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name in ("x", "y"):
                    tensors[index] = f"{name}_rgb"
    make = helper.make_node
    graph.node.insert(0, make("Conv", ["x", "to_rgb", "to_rgb_offset"], ["x_rgb"], "head/rgb"))
    graph.node.append(make("Conv", ["y_rgb", "to_yuv", "to_yuv_offset"], ["y"], "tail/yuv"))
    return model


def of_luma(scale: int) -> onnx.ModelProto:
    """Two convolutions and a pixel-shuffle of one channel, (n, 1, H, W), as ESPCN has them."""
    rng = np.random.default_rng(5)
    centre = np.zeros((scale**2, WIDTH, 3, 3), np.float32)
    centre[:, :, 1, 1] = 1 / WIDTH
    first = np.zeros((WIDTH, 1, 3, 3), np.float32)
    first[:, :, 1, 1] = 1
    first += rng.normal(0, 0.02, first.shape).astype(np.float32)
    values = {"w1": first, "w2": centre}
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w1"], ["f"], "body/first", pads=[1] * 4),
        make("Relu", ["f"], ["a"], "body/act"),
        make("Conv", ["a", "w2"], ["u"], "body/last", pads=[1] * 4),
        make("DepthToSpace", ["u"], ["y"], "tail/shuffle", blocksize=scale, mode="CRD"),
    ]
    graph = helper.make_graph(
        nodes,
        "luma",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, "hh", "ww"])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
