"""Graphs run with every tensor in sight: on their own, and cut so that all inputs are exact."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...arrays import Levels
from ...bundle import Bundle
from ...runtime.sessions.frames import pad_to_multiple
from ..sets.parallel import open_graph
from .channel_factors import Factors, scaled
from .matched_graphs import cut_at

FRAMES = 4
"""Frames each layer is looked at; their state is carried through all before."""

CUT = "reference::"
"""Prefix of the inputs that stand for tensors a graph was cut at."""

Tensors = dict[str, npt.NDArray[Any]]


def run_graph(
    bundle: Bundle,
    model: onnx.ModelProto,
    variant: str,
    frames: Sequence[Levels],
    step: Callable[[], None],
) -> Tensors:
    """All outputs and inputs on the last frames, one after the other along the first axis."""
    graph = open_graph(model.SerializeToString(), fused=False, threads=0)
    names = [value.name for value in graph.get_outputs()]
    dtype = np.dtype(bundle.variants[variant].state_dtype)
    first = pad_to_multiple(frames[0], bundle.size_multiple)
    state = {s.name: np.zeros(s.shape(*first.shape[:2]), dtype) for s in bundle.state}
    found: list[dict[str, Any]] = []
    for index, frame in enumerate(frames):
        feed = {bundle.input_name: pad_to_multiple(frame, bundle.size_multiple)[None], **state}
        looked_at = index >= len(frames) - FRAMES
        wanted = names if looked_at else [s.next_name for s in bundle.state]
        # Asked for nothing, as of a network without state, ONNX Runtime gives everything.
        values = dict(zip(wanted, graph.run(wanted, feed), strict=True)) if wanted else {}
        if looked_at:
            found.append({**values, **feed})
        state = {s.name: values[s.next_name] for s in bundle.state}
        step()
    return {name: _joined([each[name] for each in found]) for name in found[0]}


class Isolation:
    """Every layer's output on exact inputs: the variant's graph cut at all matched tensors.

    Args:
        bundle: For the graph's inputs.
        model: The variant's graph.
        inner: By tensor of the reference, that of the variant.
        exact: Tensors of the reference.
        rounded: Of the running variant, for their types.
    """

    def __init__(
        self,
        bundle: Bundle,
        model: onnx.ModelProto,
        inner: Mapping[str, str],
        exact: Tensors,
        rounded: Tensors,
    ) -> None:
        self._inner, self._exact = inner, exact
        self._frame = bundle.input_name
        self._types = {CUT + own: rounded[own].dtype for own in inner.values()}
        self._sources = {CUT + own: name for name, own in inner.items()}
        self._states = {s.name: s.next_name for s in bundle.state}
        self._types |= {name: rounded[name].dtype for name in self._states}
        cut = cut_at(model, {own: rounded[own].dtype for own in inner.values()}, CUT)
        self._graph = open_graph(cut.SerializeToString(), fused=False, threads=0)
        self._inputs = {value.name for value in self._graph.get_inputs()}

    def __call__(self, factors: Factors) -> Tensors:
        """Run all frames with the reference's values, scaled as the variant's channels are."""
        feeds = {self._frame: self._exact[self._frame]}
        for name, source in self._sources.items():
            feeds[name] = scaled(self._exact[source], factors.get(source))
        for name, following in self._states.items():
            feeds[name] = scaled(self._exact[name], factors.get(following))
        made = []
        for index in range(len(feeds[self._frame])):
            feed = {
                name: value[index : index + 1].astype(self._types.get(name, value.dtype))
                for name, value in feeds.items()
                if name in self._inputs
            }
            made.append(self._graph.run(list(self._inner.values()), feed))
        columns = zip(*made, strict=True)
        return {
            name: _joined(list(column)).astype(np.float32)
            for name, column in zip(self._inner, columns, strict=True)
        }


def _joined(values: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Frames along the first axis; of what has no such axis the last one."""
    one_each = values[0].ndim == 4 and len(values[0]) == 1
    return np.concatenate(values) if one_each else values[-1]
