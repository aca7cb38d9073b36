"""A basis for the channels of a residual stream in which 8 bits lose least, and one range for it.

A network without norms only adds to its residual streams, so their channels may be mixed by any
matrix. What matters most in a picture, its luma, then lies in all channels and is rounded by all of
them independently, rather than in three whose range is the widest. With one range for the whole
stream additions are exact: a block rounds once, where it adds, instead of twice.

The matrix and the range are fitted together by gradient descent (as Liu et al. 2024, arXiv
2405.16406, fit rotations) to the mean square that the picture loses: rounding noise and clipped
values, both through the matrix' inverse and the picture's sensitivity to noise in the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...arrays import Doubles, Floats
from ...calibration.sets.parallel import map_in_order
from ...calibration.sets.reader import Feed
from ...errors import QuantizationError
from ..graphs.graph_edit import GraphEdit
from ..recipes.recipe import EVEN_NOISE
from .channel_groups import ChannelGroup
from .equalise import LARGEST_FACTOR
from .observe import Found, observe, require_finite, spread

STEPS = 400
"""Of the fit; the loss changes by less than 1 % after half of them."""

RATE = 0.02
"""First step size, of a matrix whose stream spans about 1; falls to zero along a cosine."""

SAMPLES = 30_000
"""Pixels of a stream's tensors together that clipping is judged on."""

PROBED_FEEDS = 4
"""Frames the sensitivity is measured on, spread over the set."""

NOISE_SHARE = 0.01
"""Of a stream's root mean square: noise small enough for the network to answer linearly."""

BLOCK_PX = 8
"""Side of areas that are rounded alike, as a flat colour is."""

LEVELS = 255


@dataclass(frozen=True)
class StreamBasis:
    """What a stream's tensors are stored as."""

    matrix: Doubles
    """(C, C): gives the stored channels from the network's own."""

    low: float
    """Of all stored channels of all tensors."""

    high: float


def fit_streams(
    model: onnx.ModelProto,
    groups: Sequence[ChannelGroup],
    quantized: Sequence[str],
    output: str,
    feeds: Sequence[Feed],
    even_noise: float = EVEN_NOISE,
) -> dict[str, StreamBasis]:
    """Fit the streams among groups of tensors.

    Args:
        model: A float graph.
        groups: Those that are not mixable, or of which nothing is quantized, are left out.
        quantized: Tensors that will be in 8 bits.
        output: The tensor whose mean square error counts: the picture, before it is rounded.
        feeds: Calibration inputs of the graph.
        even_noise: See `output_sensitivity`.

    Returns:
        By tensor; the same object for all of a stream.
    """
    streams: dict[tuple[str, ...], tuple[Floats, Doubles, Doubles, int]] = {}
    for group in groups:
        tensors = [name for name in group.tensors if name in quantized]
        if not group.mixable or not tensors:
            continue
        values, weights = sample(model, tensors, feeds)
        rounded = _rounded(model, tensors)
        if not rounded or not values.any():
            continue
        every = -(-len(feeds) // PROBED_FEEDS)
        sensitivity = output_sensitivity(
            model, rounded, output, feeds[every // 2 :: every], even_noise
        )
        streams[group.tensors] = (values, weights, sensitivity, len(rounded))
    with _one_torch_thread():
        bases = map_in_order(lambda stream: fit_basis(*stream), streams.values())
        return {name: basis for names, basis in zip(streams, bases, strict=True) for name in names}


def fit_basis(
    values: Floats, weights: Doubles, sensitivity: Doubles, roundings: int
) -> StreamBasis:
    """Fit one stream; the same arguments and threads of torch give the same basis.

    Args:
        values: (C, N) pixels of its tensors.
        weights: (N,) so that weighted sums over them are sums over tensors of means over pixels.
        sensitivity: (C, C), see `output_sensitivity`.
        roundings: How many tensors' sensitivity that is the sum of.

    Raises:
        QuantizationError: The fit fails.
    """
    import torch

    x, share, noise = (torch.tensor(v, dtype=torch.float64) for v in (values, weights, sensitivity))
    span = x.abs().amax(1)
    start = torch.diag(1 / span.clamp(min=float(span.max()) / LARGEST_FACTOR))
    stored = start @ x
    width = stored.max() - stored.min()
    matrix = (start / width).requires_grad_()
    # Logarithms of how far the range goes up and down.
    sides = torch.stack([stored.max(), -stored.min()]).clamp(min=1e-3 * float(width)) / width
    sides = sides.log().requires_grad_()
    optimizer = torch.optim.Adam([matrix, sides], lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        inverse = torch.linalg.inv(matrix)
        high, low = sides[0].exp(), -sides[1].exp()
        lost = inverse.T @ noise @ inverse  # by the picture, of what is lost in store
        rounding = ((high - low) / LEVELS) ** 2 / 12 * torch.trace(lost)
        stored = matrix @ x
        clipped = torch.relu(stored - high) - torch.relu(low - stored)
        clipping = (share * (clipped * (lost / roundings @ clipped)).sum(0)).sum()
        (rounding + clipping).backward()
        optimizer.step()
        schedule.step()
    fitted: Doubles = matrix.detach().numpy()
    if not np.isfinite(fitted).all():
        raise QuantizationError(
            "no basis found for a residual stream; set mix_channels = false in the recipe"
        )
    up, down = sides.detach().exp().tolist()
    return StreamBasis(fitted, -down, up)


def sample(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> tuple[Floats, Doubles]:
    """Draw pixels of tensors, those far out more often, since clipping is about them.

    A pixel's chance grows with the fourth power of its Mahalanobis distance; the farthest are all
    taken. Weights undo that.

    Returns:
        (C, N) values and (N,) weights, see `fit_basis`; N is about `SAMPLES`.

    Raises:
        QuantizationError: A tensor is not finite.
    """
    few = spread(feeds)
    moments = _moments(model, tensors, few)
    inverse = {name: _inverse(moment) for name, moment in moments.items()}
    usual = _mean_distances(model, inverse, few)
    rng = np.random.default_rng(0)
    values, weights = [], []

    def measure(found: Found) -> dict[str, tuple[Floats, Doubles]]:
        return {name: _distances(tensor, inverse[name]) for name, tensor in found.items()}

    for measured in observe(model, tensors, feeds, measure):
        for name, (pixels, far) in measured.items():
            count = len(far) * len(feeds)
            chance = (1 + far / max(usual[name], 1e-12)) / 2
            chance = np.minimum(1, chance * (SAMPLES / len(tensors) / count))
            drawn = rng.random(len(far)) < chance
            values.append(pixels[:, drawn])
            weights.append(1 / (chance[drawn] * count))
    return np.concatenate(values, 1), np.concatenate(weights)


def output_sensitivity(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    output: str,
    feeds: Sequence[Feed],
    even_noise: float = EVEN_NOISE,
) -> Doubles:
    """What noise in tensors makes of the output.

    Noise, new in each pixel and as much in common to blocks, is added to all tensors at once, the
    same to each channel in turn; the products of
    the answers are the matrix M for which noise of the covariance S between channels in each tensor
    gives the output a mean square of trace(M S).

    Args:
        model: A float graph.
        tensors: (1, C, h, w) each, h and w their own.
        output: The tensor that counts.
        feeds: Inputs of the graph.
        even_noise: Noise that a block has in common, to that of its pixels: no neighbour evens it
            out.

    Returns:
        (C, C), summed over the tensors.
    """
    noisy = _with_noise(model, tensors)
    rng, products = np.random.default_rng(0), np.zeros((1, 1))
    for feed, found in zip(feeds, observe(model, tensors, feeds, dict), strict=True):
        channels = found[tensors[0]].shape[1]
        power = float(np.mean([np.mean(value**2) for value in found.values()]))
        size = NOISE_SHARE * max(power**0.5, 1e-6)
        noise = {n: _noise(rng, v.shape[2], v.shape[3], even_noise) for n, v in found.items()}
        fed = (
            feed | _noise_inputs(found, noise, channel, size)
            for channel in [None, *range(channels)]
        )
        plain, *answers = observe(noisy, [output], fed, lambda o: o[output].ravel())
        rows = np.stack(answers).astype(np.float64)
        rows -= plain
        rows /= size
        products = products + rows @ rows.T / plain.size / len(feeds)
    return products


def _noise(rng: np.random.Generator, height: int, width: int, even: float) -> Floats:
    """Noise (H, W) that is new in each pixel, and as much that whole blocks have in common."""
    blocks = rng.standard_normal((-(-height // BLOCK_PX), -(-width // BLOCK_PX)))
    common = blocks.repeat(BLOCK_PX, 0).repeat(BLOCK_PX, 1)[:height, :width]
    noise: Floats = (rng.standard_normal((height, width)) + even * common).astype(np.float32)
    return noise


def _noise_inputs(
    found: Mapping[str, Floats], noise: Mapping[str, Floats], channel: int | None, size: float
) -> Feed:
    """Noise in one channel of all tensors, or none."""
    inputs = {name: np.zeros_like(value) for name, value in found.items()}
    if channel is not None:
        for name, values in inputs.items():
            values[0, channel] = noise[name] * size
    return {f"{name}:noise": values for name, values in inputs.items()}


def _with_noise(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The graph with an input for each tensor that is added to what its readers read."""
    edit = GraphEdit(model)
    graph = edit.model.graph
    for name in tensors:
        noise, noisy = f"{name}:noise", f"{name}:noisy"
        for reader in edit.consumers(name):
            if reader.op_type != "Shape":
                reader.input[:] = [noisy if each == name else each for each in reader.input]
        graph.input.append(helper.make_tensor_value_info(noise, TensorProto.FLOAT, None))
        graph.node.append(helper.make_node("Add", [name, noise], [noisy], name=noisy))
    return edit.finish()


def _rounded(model: onnx.ModelProto, tensors: Sequence[str]) -> list[str]:
    """Tensors that are rounded to become 8 bits; sums within a stream and its states are exact."""
    exact = {value.name for value in model.graph.input}
    for node in model.graph.node:
        if node.op_type in ("Add", "Identity") and set(node.input) <= set(tensors):
            exact |= set(node.output)
    return [name for name in tensors if name not in exact]


def _moments(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, Doubles]:
    """Mean outer product of each tensor's pixels, (C, C)."""
    sums: dict[str, Doubles] = {}
    for found in observe(model, tensors, feeds, _mean_products):
        for name, products in found.items():
            sums[name] = sums.get(name, np.zeros(1)) + products
    return {name: total / len(feeds) for name, total in sums.items()}


def _mean_products(found: Found) -> dict[str, Doubles]:
    products = {}
    for name, tensor in found.items():
        require_finite(name, tensor)
        pixels = tensor[0].reshape(tensor.shape[1], -1).astype(np.float64)
        products[name] = pixels @ pixels.T / pixels.shape[1]
    return products


def _inverse(moment: Doubles) -> Doubles:
    """Inverse of a matrix of moments; of dead channels a large value, not infinity."""
    size = len(moment)
    least = 1e-4 * max(float(np.trace(moment)), 1e-12) / size
    return np.asarray(np.linalg.inv(moment + least * np.eye(size)), np.float64)


def _distances(tensor: Floats, inverse: Doubles) -> tuple[Floats, Doubles]:
    """A tensor's pixels, (C, N), and the fourth power of their Mahalanobis distance, (N,)."""
    pixels = tensor[0].reshape(tensor.shape[1], -1)
    return pixels, (pixels * (inverse @ pixels)).sum(0) ** 2


def _mean_distances(
    model: onnx.ModelProto, inverse: Mapping[str, Doubles], feeds: Sequence[Feed]
) -> dict[str, float]:
    sums = dict.fromkeys(inverse, 0.0)

    def mean(found: Found) -> dict[str, float]:
        return {n: float(_distances(tensor, inverse[n])[1].mean()) for n, tensor in found.items()}

    for means in observe(model, list(inverse), feeds, mean):
        for name, value in means.items():
            sums[name] += value / len(feeds)
    return sums


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Sums in one order; small matrices gain nothing from threads. Not for two at a time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
