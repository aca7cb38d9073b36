"""Public networks as node costs: what a ledger row measured, counted as `graph.cost` does a graph.

A row names a kind and a few figures, such as `{"kind": "srvgg", "channels": 64, "convolutions": 16,
"scale": 4}`; the layers follow from the network's published definition.

    nodes = network_nodes(spec, width=1920, height=1080, element="float16")
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..graph.cost import NodeCost
from ..reading import Item

ELEMENT_BYTES = {"float": 4, "float16": 2, "int8": 1}
"""Bytes of ONNX's element types that rows are measured in."""

PICTURE = 3
"""Channels of a picture."""


@dataclass
class Layers:
    """Nodes of a network, added one after the other."""

    element: str
    nodes: list[NodeCost] = field(default_factory=list)
    weights: int = 0
    """Parameters, biases and slopes included."""

    def convolution(self, pixels: int, read: int, write: int, kernel: int = 3) -> None:
        """A convolution of `read` to `write` channels over `pixels` output pixels, with bias."""
        size = ELEMENT_BYTES[self.element]
        weights = read * write * kernel**2 + write
        self.weights += weights
        self.nodes.append(
            NodeCost(
                name="",
                op_type="Conv",
                multiply_adds=pixels * read * write * kernel**2,
                read_bytes=pixels * read * size,
                written_bytes=pixels * write * size,
                weight_bytes=weights * size,
                element=self.element,
                in_channels=read,
                out_channels=write,
                written_elements=pixels * write,
            )
        )

    def elementwise(self, op_type: str, elements: int, operands: int = 1) -> None:
        """An activation, or a sum or product of two tensors."""
        self._move(op_type, elements * operands, elements)

    def slopes(self, channels: int, elements: int) -> None:
        """A PReLU with a slope a channel."""
        self.weights += channels
        self.elementwise("PRelu", elements)

    def moved(self, op_type: str, read: int, write: int | None = None) -> None:
        """A node that only moves elements: a shuffle, a concatenation, a resize."""
        self._move(op_type, read, read if write is None else write)

    def _move(self, op_type: str, read: int, write: int) -> None:
        size = ELEMENT_BYTES[self.element]
        self.nodes.append(
            NodeCost(
                "",
                op_type,
                0,
                read * size,
                write * size,
                0,
                element=self.element,
                written_elements=write,
            )
        )


def srvgg(net: Layers, spec: Item, pixels: int) -> None:
    """Real-ESRGAN's compact network: convolutions at the input's size, one shuffle."""
    channels, scale = spec["channels"].integer(1, 4096), spec["scale"].integer(1, 8)
    net.convolution(pixels, PICTURE, channels)
    net.slopes(channels, pixels * channels)
    for _ in range(spec["convolutions"].integer(1, 1000)):
        net.convolution(pixels, channels, channels)
        net.slopes(channels, pixels * channels)
    net.convolution(pixels, channels, PICTURE * scale**2)
    _shuffled_onto_input(net, pixels, scale)


def rrdb(net: Layers, spec: Item, pixels: int) -> None:
    """ESRGAN: dense blocks of 5 convolutions, three a block; twice nearest and a convolution."""
    channels, growth = spec["channels"].integer(1, 4096), spec["growth"].integer(1, 4096)
    spec["scale"].integer(4, 4)
    net.convolution(pixels, PICTURE, channels)
    for _ in range(spec["blocks"].integer(1, 1000)):
        for _ in range(3):
            for index in range(4):
                net.convolution(pixels, channels + index * growth, growth)
                net.elementwise("LeakyRelu", pixels * growth)
                net.moved("Concat", pixels * (channels + (index + 1) * growth))
            net.convolution(pixels, channels + 4 * growth, channels)
            net.elementwise("Add", pixels * channels, operands=2)
        net.elementwise("Add", pixels * channels, operands=2)
    net.convolution(pixels, channels, channels)
    net.elementwise("Add", pixels * channels, operands=2)
    for _ in range(2):
        net.moved("Resize", pixels * channels, 4 * pixels * channels)
        pixels *= 4
        net.convolution(pixels, channels, channels)
        net.elementwise("LeakyRelu", pixels * channels)
    net.convolution(pixels, channels, channels)
    net.elementwise("LeakyRelu", pixels * channels)
    net.convolution(pixels, channels, PICTURE)


def spanf3(net: Layers, spec: Item, pixels: int) -> None:
    """SPANF3 of traiNNer-redux: attention by a 1x1 convolution; twice smaller inside at scale 2."""
    channels = spec["channels"].integer(1, 4096)
    unshuffle = 4 // spec["scale"].integer(1, 2)
    inside = pixels // unshuffle**2
    tensor = inside * channels
    net.moved("SpaceToDepth", pixels * PICTURE)
    net.convolution(inside, PICTURE * unshuffle**2, channels)
    for _ in range(spec["blocks"].integer(1, 1000)):
        for step in range(3):
            net.convolution(inside, channels, channels)
            if step < 2:
                net.elementwise("Relu", tensor)
        net.convolution(inside, channels, channels, kernel=1)
        net.elementwise("Tanh", tensor)
        net.elementwise("Add", tensor, operands=2)
        net.elementwise("Mul", tensor, operands=2)
    net.moved("Concat", 4 * tensor)
    net.convolution(inside, 4 * channels, channels, kernel=1)
    net.convolution(inside, channels, PICTURE * 16)
    net.moved("DepthToSpace", inside * PICTURE * 16)


def nanovsr(net: Layers, spec: Item, pixels: int) -> None:
    """NanoVSR as deployed, a frame of it: recurrent both ways, two shuffles, a bilinear base."""
    channels = spec["channels"].integer(1, 4096)
    net.convolution(pixels, PICTURE, channels)
    net.elementwise("LeakyRelu", pixels * channels)
    for _ in range(2):
        net.elementwise("Add", pixels * channels, operands=2)
        for _ in range(spec["blocks"].integer(1, 1000)):
            net.convolution(pixels, channels, channels)
            net.elementwise("LeakyRelu", pixels * channels)
    net.moved("Concat", 2 * pixels * channels)
    net.convolution(pixels, 2 * channels, channels, kernel=1)
    read = channels
    for made in (channels, 32):
        net.convolution(pixels, read, 4 * made)
        net.moved("DepthToSpace", 4 * pixels * made)
        pixels *= 4
        net.slopes(1, pixels * made)
        read = made
    net.convolution(pixels, 32, PICTURE)
    net.moved("Resize", pixels * PICTURE // 16, pixels * PICTURE)
    net.elementwise("Add", pixels * PICTURE, operands=2)
    net.moved("Concat", pixels * PICTURE)


def _shuffled_onto_input(net: Layers, pixels: int, scale: int) -> None:
    """A pixel shuffle, and the input's enlarged picture added to what it gives."""
    made = pixels * scale**2 * PICTURE
    net.moved("DepthToSpace", made)
    net.moved("Resize", pixels * PICTURE, made)
    net.elementwise("Add", made, operands=2)


NETWORKS: dict[str, Callable[[Layers, Item, int], None]] = {
    "srvgg": srvgg,
    "rrdb": rrdb,
    "spanf3": spanf3,
    "nanovsr": nanovsr,
}
"""By a row's `kind`."""


def make_network(spec: Item, *, width: int, height: int, element: str) -> Layers:
    """Lay out a public network for one frame.

    Args:
        spec: A row's `network`.
        width: Of the input, pixels.
        height: Likewise.
        element: ONNX's name of the type activations and weights are stored in.

    Raises:
        ConfigError: An unknown kind, or a figure that is missing or out of range.
    """
    net = Layers(element)
    NETWORKS[spec["kind"].text(one_of=tuple(NETWORKS))](net, spec, width * height)
    return net


def colour_nodes(width: int, height: int, scale: int, element: str) -> list[NodeCost]:
    """NV12 to RGB before a network and back after it, as kernels of their own."""
    size = ELEMENT_BYTES[element]
    before, after = width * height, width * height * scale**2
    planes = 3 / 2
    return [
        NodeCost("", "Colour", 0, int(before * planes), before * PICTURE * size, 0),
        NodeCost("", "Colour", 0, after * PICTURE * size, int(after * planes), 0),
    ]
