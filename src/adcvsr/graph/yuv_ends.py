"""A graph whose pictures enter and leave as YUV 4:2:0 instead of RGB, the network the same.

Video is YUV 4:2:0 at both ends. RGB to YUV is linear, so it is folded into the last convolution:
of a block of 4x4 pixels it makes 24 channels instead of 48, sixteen of luma and eight of chroma.
What comes in is turned into RGB levels by a few small nodes, its chroma by the same bicubic filter
as swscale's, and clipped, so that the network sees what it sees of RGB files. Chroma lies left,
between two rows.

    graph = with_yuv_ends(graph, "frame", "upscaled", YuvEnds(matrix=6, full_range=False))

A network of others does not end in such a convolution: what it makes is clipped as it always was,
and a small convolution of blocks of s x s pixels behind it makes YUV; s is even.

It takes `frame` (1, H, W, 1), luma, and `frame_chroma` (1, ceil(H/2), ceil(W/2), 2), U and V as in
NV12, and gives `upscaled` (1, H, 4, 4W) and `upscaled_chroma` (1, H, 2, 4W): the planes of an NV12
picture of 4H rows, whose 2H rows of chroma hold 2W pairs; all uint8.

A picture of half that size, each pixel the mean of four, is linear in the same channels: where it
is all that is wanted, the last convolution makes it (`YuvEnds.halved`), six channels instead of 24.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import GraphError
from .edited import FLOAT16, UINT8, EditedGraph
from .file import Node
from .float_ends import HALF

LUMA_WEIGHTS: Mapping[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by H.273 matrix (BT.709, FCC, BT.601 twice, SMPTE 240M, BT.2020
twice); green has the rest. BT.2020's constant luminance is taken as swscale takes it."""

CHROMA = "{}_chroma"
"""Name of the second input and output, from that of the first."""

SIDE = 4
"""Pixels of a block's side: what one input pixel becomes."""

LUMA = SIDE * SIDE
"""Pixels of a block."""

CUBIC = -0.6
"""Of swscale's bicubic filter."""

_PASSING = frozenset({"Transpose", "Reshape", "Cast", "Clip", "QuantizeLinear"})
"""What stands between the last convolution and the picture."""

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class YuvEnds:
    """How the numbers of a stream's YUV mean colours."""

    matrix: int
    """One of `LUMA_WEIGHTS`."""

    full_range: bool
    """Whether luma and chroma take 0 to 255, else 16 to 235 and 16 to 240."""

    halved: bool = False
    """Whether pictures are given with half of the network's lines and columns."""

    def describe(self) -> str:
        """In a few words."""
        return f"matrix {self.matrix}, {'full' if self.full_range else 'limited'} range" + (
            ", halved" * self.halved
        )

    def side_of(self, scale: int) -> int:
        """Pixels of a picture's side for one of the frame's, of a network of a scale."""
        return scale // 2 if self.halved else scale

    @property
    def black(self) -> int:
        """Luma of black."""
        return 0 if self.full_range else 16

    @property
    def white(self) -> int:
        """Luma of white."""
        return 255 if self.full_range else 235

    @property
    def most_chroma(self) -> int:
        """Largest value of U and V."""
        return 255 if self.full_range else 240

    def from_rgb(self) -> Matrix:
        """(3, 3): rows Y, U and V of RGB, all in levels, without the offsets."""
        red, blue = LUMA_WEIGHTS[self.matrix]
        luma = np.array([red, 1 - red - blue, blue])
        u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
        v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
        chroma = 255 if self.full_range else 224
        rows = [luma * (self.white - self.black), u * chroma, v * chroma]
        return np.array(rows, np.float64) / 255

    def to_rgb(self) -> Matrix:
        """(3, 3): rows red, green and blue of Y, U and V without their offsets, all in levels."""
        inverse: Matrix = np.linalg.inv(self.from_rgb()).astype(np.float64)
        return inverse


def with_yuv_ends(
    graph: bytes,
    picture_in: str,
    picture_out: str,
    ends: YuvEnds,
    *,
    scale: int = SIDE,
    bytes_inside: bool = False,
    batch: int | str = 1,
) -> bytes:
    """Rewrite a graph of RGB pictures; see the module for its inputs and outputs.

    Args:
        graph: An ONNX file's content.
        picture_in: Name of the input, (1, H, W, 3) uint8.
        picture_out: Name of the output, (1, 4H, 4W, 3) uint8.
        ends: The stream's.
        scale: Pixels of a side that one pixel's side becomes.
        bytes_inside: Whether uint8 may be moved about within the graph, which is faster in ONNX
            Runtime on a CPU and which TensorRT refuses.
        batch: First dimension of pictures: 1, or the name of one that is left open (see
            `batch_axis`).

    Raises:
        GraphError: It is no graph of this form.
    """
    if ends.matrix not in LUMA_WEIGHTS:
        raise GraphError(f"no weights of luma are known for H.273 matrix {ends.matrix}")
    edited = EditedGraph(graph)
    if {edited.input_element(picture_in), edited.output_element(picture_out)} != {UINT8}:
        raise GraphError("the graph's pictures are not of 8 bits; only such graphs take YUV")
    if scale % (4 if ends.halved else 2):
        raise GraphError(
            f"pictures of {scale} times the size"
            + " halved" * ends.halved
            + " have chroma of half a pixel"
        )
    _change_head(edited, picture_in, ends, batch)
    if (planes := _planes_of(edited, picture_out)) is not None:
        _add_tail(edited, planes, picture_out, ends, (batch, scale), bytes_inside=bytes_inside)
        return edited.content()
    if scale != SIDE:
        raise GraphError(f"pictures of {scale} times the size are not made of clipped planes")
    _change_tail(edited, picture_out, ends, batch, bytes_inside=bytes_inside)
    return edited.content()


def _change_head(graph: EditedGraph, picture_in: str, ends: YuvEnds, batch: int | str) -> None:
    """Make the planes of RGB, which the graph's first transposition made, of YUV."""
    readers = [node for node in graph.readers(picture_in) if node.op_type != "Shape"]
    cast = readers[0] if [node.op_type for node in readers] == ["Cast"] else None
    if cast is not None:
        readers = [node for node in graph.readers(cast.output[0]) if node.op_type != "Shape"]
    if [node.op_type for node in readers] != ["Transpose"]:
        raise GraphError(
            "the graph does not begin with pictures of interleaved RGB as exports do; only such "
            "graphs take YUV"
        )
    graph.take_out(readers[0])
    planes = readers[0].output[0]
    kind: np.dtype[Any] = np.dtype(np.float32)
    luma = "ends_luma"
    if cast is not None:
        element = cast.attributes["to"]
        kind = np.dtype(np.float16) if element == FLOAT16 else kind
        graph.take_out(cast)
        luma = cast.output[0]  # of its size shapes are read
    graph.set_input(picture_in, UINT8, (batch, "frame_rows", "frame_columns", 1))
    pairs = CHROMA.format(picture_in)
    graph.set_input(pairs, UINT8, (batch, "chroma_rows", "chroma_columns", 2))
    element = FLOAT16 if kind == np.float16 else 1
    graph.add("Cast", [picture_in], [luma], first=True, to=element)
    graph.add("Cast", [pairs], ["ends_pairs"], first=True, to=element)
    colour = _upsampled(graph, "ends_pairs", luma, ends, kind)
    gain = ends.to_rgb()[0, 0]
    half = 0.0 if cast is not None else HALF  # casts truncate
    # Not a transposition: ONNX Runtime would move it behind what follows, one value at a time.
    last, second = (graph.constant(np.array([axis], np.int64), "axis") for axis in (3, 1))
    graph.add("Squeeze", [luma, last], ["ends_rows"], first=True)
    graph.add("Unsqueeze", ["ends_rows", second], ["ends_plane"], first=True)
    gained = _affine(graph, "ends_plane", gain, half - gain * ends.black, kind)
    levels = planes if cast is not None else "ends_levels"
    graph.add("Add", [colour, gained], ["ends_rgb"], first=True)
    bounds = (np.array(half, kind), np.array(255 + half, kind))
    limits = [graph.constant(bound, "bound") for bound in bounds]
    graph.add("Clip", ["ends_rgb", *limits], [levels], first=True)
    if cast is None:
        graph.add("Cast", [levels], [planes], first=True, to=UINT8)


def _upsampled(
    graph: EditedGraph, pairs: str, luma: str, ends: YuvEnds, kind: np.dtype[Any]
) -> str:
    """RGB's part that comes of chroma, (1, 3, H, W): convolved to 2x2 pixels, set side by side."""
    middle = graph.constant(np.array(128, kind), "middle")
    graph.add("Sub", [pairs, middle], ["ends_centred"], first=True)
    graph.add("Transpose", ["ends_centred"], ["ends_uv"], first=True, perm=[0, 3, 1, 2])
    border = graph.constant(np.array([0, 0, 2, 1, 0, 0, 2, 2], np.int64), "border")
    graph.add("Pad", ["ends_uv", border], ["ends_bordered"], first=True, mode="edge")
    down = [_taps(-0.25, range(-2, 3)), _taps(0.25, range(-2, 3))]
    right = [_taps(0.0, range(-1, 3)), _taps(0.5, range(-1, 3))]
    filters = np.einsum("py,qx,cu->pqcuyx", down, right, ends.to_rgb()[:, 1:])
    weights = graph.constant(filters.reshape(12, 2, 5, 4).astype(kind), "chroma_to_rgb")
    graph.add("Conv", ["ends_bordered", weights], ["ends_phases"], first=True, kernel_shape=[5, 4])
    graph.add("DepthToSpace", ["ends_phases"], ["ends_even"], first=True, blocksize=2, mode="DCR")
    # Of an odd size the last column or row of chroma stands for one of luma alone.
    graph.add("Shape", [luma], ["ends_size"], first=True, start=1, end=3)
    begins = graph.constant(np.zeros(2, np.int64), "begins")
    axes = graph.constant(np.array([2, 3], np.int64), "axes")
    return graph.add("Slice", ["ends_even", begins, "ends_size", axes], ["ends_colour"], first=True)


def _taps(at: float, places: range) -> Matrix:
    """Weights of a bicubic filter of `CUBIC` at a place between whole ones."""
    away = np.abs(np.array(places) - at)
    near = (CUBIC + 2) * away**3 - (CUBIC + 3) * away**2 + 1
    far = CUBIC * (away**3 - 5 * away**2 + 8 * away - 4)
    weights: Matrix = np.where(away <= 1, near, np.where(away < 2, far, 0.0))
    return weights


def _affine(
    graph: EditedGraph, tensor: str, gain: float, offset: float, kind: np.dtype[Any]
) -> str:
    gains, offsets = (graph.constant(np.array(x, kind), "luma_to_rgb") for x in (gain, offset))
    graph.add("Mul", [tensor, gains], ["ends_gained"], first=True)
    return graph.add("Add", ["ends_gained", offsets], ["ends_gray"], first=True)


def _change_tail(
    graph: EditedGraph, picture_out: str, ends: YuvEnds, batch: int | str, *, bytes_inside: bool
) -> None:
    """Fold RGB to YUV into the last convolution, and set its blocks side by side in two planes."""
    node, quantized = graph.producer(picture_out), None
    while node.op_type in _PASSING:
        if node.op_type == "QuantizeLinear":
            quantized = node
        elif quantized is None:
            graph.take_out(node)
        node = graph.producer(node.input[0])
    if node.op_type != "Conv" or len(node.input) != 3:
        raise GraphError(
            "the graph does not end in a convolution with a bias as exports do; only such graphs "
            "give YUV"
        )
    if quantized is not None:
        _fold_quantized(graph, node, quantized, ends)
        levels, kind, inside = quantized.output[0], np.dtype(np.uint8), True
    else:
        levels, kind = _fold_floats(graph, node, ends)
        inside = bytes_inside
    _leave(
        graph,
        levels,
        kind,
        picture_out,
        ends,
        (batch, ends.side_of(SIDE)),
        inside=inside,
        clip_pairs=quantized is not None,
    )


def _planes_of(graph: EditedGraph, picture_out: str) -> str | None:
    """Clipped planes (1, 3, sH, sW) of levels + `HALF`, as networks of others end; None of ours."""
    cast = graph.producer(picture_out)
    if cast.op_type != "Cast":
        return None
    turned = graph.producer(cast.input[0])
    if turned.op_type != "Transpose" or turned.attributes.get("perm") != [0, 2, 3, 1]:
        return None
    graph.take_out(cast)
    graph.take_out(turned)
    return turned.input[0]


def _add_tail(
    graph: EditedGraph,
    planes: str,
    picture_out: str,
    ends: YuvEnds,
    sides: tuple[int | str, int],
    *,
    bytes_inside: bool,
) -> None:
    """Make YUV of a picture's planes, a block at a time; `sides` are the batch and a block's."""
    scale = sides[1]
    fold, offset = _fold_of(ends, scale)
    sides = (sides[0], ends.side_of(scale))
    bias = offset + HALF - HALF * fold.sum(1)
    graph.add("SpaceToDepth", [planes], ["ends_packed"], blocksize=scale)
    kind = np.dtype(np.float32)
    made = [
        graph.constant(array.astype(kind), "to_yuv") for array in (fold[:, :, None, None], bias)
    ]
    graph.add("Conv", ["ends_packed", *made], ["ends_yuv"], kernel_shape=[1, 1])
    levels = _clipped(graph, "ends_yuv", ends.black, ends.most_chroma + HALF, kind)
    _leave(graph, levels, kind, picture_out, ends, sides, inside=bytes_inside)


def _leave(
    graph: EditedGraph,
    levels: str,
    kind: np.dtype[Any],
    picture_out: str,
    ends: YuvEnds,
    sides: tuple[int | str, int],
    *,
    inside: bool,
    clip_pairs: bool = False,
) -> None:
    """Set blocks of luma and chroma side by side in two planes; see `_add_tail` for `sides`."""
    batch, scale = sides
    blocks = graph.add("Transpose", [levels], ["ends_blocks"], perm=[0, 2, 3, 1])
    if inside and kind != np.uint8:
        blocks = graph.add("Cast", [blocks], ["ends_bytes"], to=UINT8)
        kind = np.dtype(np.uint8)
    sizes = graph.constant(np.array([scale**2, scale**2 // 2], np.int64), "channels")
    luma, pairs = "ends_luma_blocks", "ends_chroma_blocks"
    graph.add("Split", [blocks, sizes], [luma, pairs], axis=3)
    half = 0.0 if kind == np.uint8 else HALF
    if not ends.full_range:
        luma = _clipped(graph, luma, ends.black, ends.white + half, kind)
        if clip_pairs:
            pairs = _clipped(graph, pairs, ends.black, ends.most_chroma, kind)
    rows, pair_rows = (batch, scale, scale), (batch, scale // 2, scale)
    _set_planes(graph, luma, picture_out, rows, cast=not inside)
    _set_planes(graph, pairs, CHROMA.format(picture_out), pair_rows, cast=not inside)


def _clipped(
    graph: EditedGraph, tensor: str, least: float, most: float, kind: np.dtype[Any]
) -> str:
    limits = [graph.constant(np.array(each, kind), "bound") for each in (least, most)]
    return graph.add("Clip", [tensor, *limits], [f"{tensor}_clipped"])


def _set_planes(
    graph: EditedGraph, blocks: str, name: str, sides: tuple[int | str, int, int], *, cast: bool
) -> None:
    """Make planes of blocks (batch, H, W, rows * columns): neighbours of a row at a time."""
    batch, rows, columns = sides
    apart = graph.constant(np.array([0, 0, 0, rows, columns], np.int64), "apart")
    graph.add("Reshape", [blocks, apart], [f"ends_{name}_apart"])
    graph.add("Transpose", [f"ends_{name}_apart"], [f"ends_{name}_turned"], perm=[0, 1, 3, 2, 4])
    joined = graph.constant(np.array([0, 0, rows, -1], np.int64), "joined")
    made = f"ends_{name}_rows" if cast else name
    graph.add("Reshape", [f"ends_{name}_turned", joined], [made])
    if cast:
        graph.add("Cast", [made], [name], to=UINT8)
    graph.set_output(name, UINT8, (batch, "frame_rows", rows, f"{columns}*frame_columns"))


def _fold_floats(graph: EditedGraph, node: Node, ends: YuvEnds) -> tuple[str, np.dtype[Any]]:
    """Fold RGB to YUV into a convolution of floats; gives levels + `HALF` and their type."""
    weights, bias = (graph.values(each) for each in node.input[1:])
    folded, offset = _folded(weights, bias.astype(np.float64) - HALF, ends)
    kind = weights.dtype
    arrays = (folded.astype(kind), (offset + HALF).astype(kind))
    graph.take_out(node)
    levels = graph.add(
        "Conv",
        [node.input[0], *(graph.constant(each, "decoder") for each in arrays)],
        ["ends_decoded"],
        called=node.name,
        kernel_shape=list(weights.shape[2:]),
        pads=list(node.attributes["pads"]),
    )
    return _clipped(graph, levels, ends.black, ends.most_chroma + HALF, kind), kind


def _folded(weights: npt.NDArray[Any], bias: Matrix, ends: YuvEnds) -> tuple[Matrix, Matrix]:
    """The last convolution's weights and bias, from RGB levels to luma and then chroma.

    Chroma of a pair of columns and rows is that of its left column, in the mean of both rows: what
    was made four times as large has nothing between its columns that it could miss.
    """
    if weights.shape[0] != 3 * LUMA:
        raise GraphError(
            f"the last convolution makes {weights.shape[0]} channels, not the {3 * LUMA} of 4x4 "
            "pixels; only such graphs give YUV"
        )
    flat, offset = _fold_of(ends, SIDE)
    stored = weights.astype(np.float64)
    return np.einsum("oi,icyx->ocyx", flat, stored), flat @ bias + offset


def _fold_of(ends: YuvEnds, side: int) -> tuple[Matrix, Matrix]:
    """From RGB levels of a block's pixels, colours last, to its luma and then its chroma pairs.

    Where `ends` says so they are those of the block reduced by areas to half of its sides.
    """
    if ends.halved:
        half = side // 2
        means = np.zeros((half, half, 3, half, 2, half, 2, 3))
        for row, column, colour in np.ndindex(half, half, 3):
            means[row, column, colour, row, :, column, :, colour] = 1 / 4
        fold, offset = _fold_of(replace(ends, halved=False), half)
        return fold @ means.reshape(3 * half**2, 3 * side**2), offset
    luma, pairs = side * side, side * side // 2
    matrix, fold = ends.from_rgb(), np.zeros((luma + pairs, side, side, 3))
    for row in range(side):
        for column in range(side):
            fold[row * side + column, row, column] = matrix[0]
            if column % 2 == 0:
                first = luma + row // 2 * side + column
                fold[first : first + 2, row, column] = matrix[1:] / 2
    offset = np.repeat((ends.black, 128), (luma, pairs)).astype(np.float64)
    return fold.reshape(luma + pairs, 3 * luma), offset


def _fold_quantized(graph: EditedGraph, node: Node, after: Node, ends: YuvEnds) -> None:
    """The same for a convolution of 8 bits: folded in its weights' own units, and rounded again."""
    given, stored, added = (graph.producer(each) for each in node.input)
    if {given.op_type, stored.op_type, added.op_type} != {"DequantizeLinear"}:
        raise GraphError("the last convolution is only partly of 8 bits; such graphs give no YUV")
    if graph.values(after.input[1]).item() != 1 or graph.values(after.input[2]).item() != 0:
        raise GraphError("the last convolution does not give levels; only such graphs give YUV")

    def scaled(each: Node) -> Matrix:
        values = graph.values(each.input[0]).astype(np.float64)
        scale = graph.values(each.input[1]).astype(np.float64)
        return values * scale.reshape(-1, *[1] * (values.ndim - 1))

    weights, offset = _folded(scaled(stored), scaled(added), ends)
    scale = np.maximum(np.abs(weights).max((1, 2, 3)), 1e-12) / 127
    rounded = np.rint(weights / scale[:, None, None, None])
    unit = scale * float(graph.values(given.input[1]).item())
    zeros = np.zeros(len(scale))
    for each, values, units, kind in (
        (stored, rounded, scale, np.int8),
        (added, np.rint(offset / unit), unit, np.int32),
    ):
        graph.exchange(each.input[0], values.astype(kind))
        graph.exchange(each.input[1], units.astype(np.float32))
        graph.exchange(each.input[2], zeros.astype(kind))
