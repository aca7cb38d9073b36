"""What flows through a graph on calibration inputs: the range of each channel of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx

from ...arrays import Floats
from ...calibration.sets.parallel import map_in_order, open_graph
from ...calibration.sets.reader import Feed
from ...errors import QuantizationError
from ..graphs.graph_edit import with_outputs

Found = Mapping[str, Floats]
"""Tensors of one run by name."""

Result = TypeVar("Result")
Range = tuple[float, float]
ChannelRange = tuple[Floats, Floats]

MOMENT_FEEDS = 48
"""Frames that means and moments are taken from: they settle long before ranges do, and cost most of
the time."""

BINS = 2048
"""Of the histograms that ranges are searched on."""

SHARES = tuple(np.linspace(0.2, 1.0, 41))
"""Of a tensor's extremes, tried as its range."""


def observe(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Iterable[Feed],
    reduce: Callable[[Found], Result],
    *,
    fused: bool = True,
) -> Iterator[Result]:
    """Run a graph and yield what a function makes of some of its tensors, feed by feed, in order.

    Args:
        model: Not changed.
        tensors: Graph inputs, outputs or what flows between them.
        feeds: Inputs of each run.
        reduce: Called in several threads at once with the tensors of a run by name. What it
            returns is kept until its turn, so it is better small.
        fused: See `open_graph`.
    """
    given = {value.name for value in model.graph.input}
    inner = [name for name in tensors if name not in given]
    session = open_graph(with_outputs(model, inner).SerializeToString(), fused=fused)

    def run(feed: Feed) -> Result:
        found = dict(zip(inner, session.run(inner, feed) if inner else [], strict=True))
        return reduce({name: feed[name] if name in given else found[name] for name in tensors})

    return map_in_order(run, feeds)


def spread(feeds: Sequence[Feed]) -> Sequence[Feed]:
    """`MOMENT_FEEDS` of the feeds or fewer, evenly spread."""
    return feeds[:: -(-len(feeds) // MOMENT_FEEDS)]


def channel_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], feeds: Sequence[Feed]
) -> dict[str, ChannelRange]:
    """Measure the lowest and highest value of each channel.

    Args:
        model: See `observe`.
        tensors: (1, C, H, W) each.
        feeds: See `observe`; at least one.

    Returns:
        (C,) twice by tensor.

    Raises:
        QuantizationError: A tensor is not finite.
    """
    ranges: dict[str, ChannelRange] = {}
    for found in observe(model, tensors, feeds, _extremes):
        for name, (low, high) in found.items():
            lowest, highest = ranges.get(name, (low, high))
            ranges[name] = np.minimum(low, lowest), np.maximum(high, highest)
    return ranges


def _extremes(found: Found) -> dict[str, ChannelRange]:
    ranges = {}
    for name, values in found.items():
        require_finite(name, values)
        axes = (0, *range(2, values.ndim))
        ranges[name] = values.min(axes), values.max(axes)
    return ranges


def require_finite(name: str, values: Floats) -> None:
    """Check a tensor.

    Raises:
        QuantizationError: It is not finite.
    """
    if not np.isfinite(values).all():
        raise QuantizationError(
            f"tensor '{name}' is not finite on the calibration set; the network itself is at fault"
        )


def widest_ranges(channels: Mapping[str, ChannelRange]) -> dict[str, Range]:
    """Ranges of whole tensors that hold every value measured."""
    return {name: (float(low.min()), float(high.max())) for name, (low, high) in channels.items()}


def least_error_ranges(
    model: onnx.ModelProto, widest: Mapping[str, Range], feeds: Sequence[Feed]
) -> dict[str, Range]:
    """Ranges of whole tensors with the least squared error in 8 bits: rare extremes are cut off.

    Args:
        model: See `observe`.
        widest: By tensor, see `widest_ranges`.
        feeds: Those `widest` was measured with.
    """
    edges = {name: np.linspace(low, high, BINS + 1) for name, (low, high) in widest.items()}
    counts = {name: np.zeros(BINS) for name in widest}

    def count(found: Found) -> dict[str, npt.NDArray[np.int64]]:
        spans = {name: (low, high) for name, (low, high) in widest.items() if high > low}
        return {name: np.histogram(found[name], BINS, span)[0] for name, span in spans.items()}

    for histograms in observe(model, list(widest), feeds, count):
        for name, histogram in histograms.items():
            counts[name] += histogram
    return {name: _least_error(edges[name], counts[name]) for name in widest}


def tie_ranges(ranges: dict[str, Range], pairs: Mapping[str, str]) -> dict[str, Range]:
    """Give pairs of tensors one range: what is written as one is read as the other."""
    tied = dict(ranges)
    for first, second in pairs.items():
        if first in ranges and second in ranges:
            (low, high), (other_low, other_high) = ranges[first], ranges[second]
            tied[first] = tied[second] = (min(low, other_low), max(high, other_high))
    return tied


def _least_error(edges: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]) -> Range:
    """Search shares of the range's two sides, each from its own extreme towards zero."""
    centres = (edges[:-1] + edges[1:]) / 2
    low, high = min(edges[0], 0.0), max(edges[-1], 0.0)
    # Squared error of cutting a side off at each share, and of rounding to what is left.
    below = [(counts * np.minimum(centres - low * share, 0) ** 2).sum() for share in SHARES]
    above = [(counts * np.maximum(centres - high * share, 0) ** 2).sum() for share in SHARES]
    total = counts.sum()
    errors = [
        (cut_low + cut_high + total * ((high * b - low * a) / 255) ** 2 / 12, low * a, high * b)
        for cut_low, a in zip(below, SHARES, strict=True)
        for cut_high, b in zip(above, SHARES, strict=True)
    ]
    _, best_low, best_high = min(errors)
    return float(best_low), float(best_high)
