"""Networks over clips as streams: the same pictures, the state they need, and who cannot."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from clip_networks import conv3d, recurrent, shift, stacked

from adcvsr.errors import AdoptError
from adcvsr.export.adopt.streamify import prove, streamify
from adcvsr.export.adopt.unrolled import TRIAL_SIDES, Unrolled
from adcvsr.export.graphs.replay import open_session

CAUSAL: dict[str, tuple[Callable[[], onnx.ModelProto], int, int, int]] = {
    "conv3d": (conv3d, 2, 4, 4),
    "shift": (shift, 0, 2, 2),
    "recurrent": (recurrent, 1, 1, 5),
    "stacked": (stacked, 0, 2, 2),
}
"""Network, axis of time, states, and frames before a picture that it depends on."""


@pytest.mark.parametrize("name", CAUSAL)
def test_frame_by_frame_is_the_whole_clip(name: str) -> None:
    make, axis, states, past = CAUSAL[name]
    model = make()
    stream = streamify(model, frames_axis=axis)
    assert (len(stream.states), stream.past) == (states, past)
    assert prove(model, stream, axis) < 1e-5
    onnx.checker.check_model(stream.model)


def test_convolutions_over_one_frame_are_of_the_plane() -> None:
    """Quantizers and engines know those; a weight over one frame of time is the same thing."""
    graph = streamify(conv3d(), frames_axis=2).model.graph
    sides = {t.name: len(t.dims) for t in graph.initializer}
    found = [sides[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    assert found == [4] * 6


AHEAD: dict[str, tuple[Callable[[], onnx.ModelProto], int, int]] = {
    "one each way": (lambda: conv3d(before=1, after=1), 2, 2),
    "only later ones": (lambda: conv3d(before=0, after=2), 2, 4),
    "recurrent": (lambda: recurrent(ahead=2, frames=12), 1, 2),
}
"""Network, axis of time, and frames after a picture that it needs."""


@pytest.mark.parametrize("name", AHEAD)
def test_pictures_that_come_late_are_those_of_the_whole_clip(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, axis, ahead = AHEAD[name]
    model = make()
    stream = streamify(model, frames_axis=axis, most_ahead=ahead)
    assert (stream.ahead, stream.end) == (ahead, "absent")
    assert prove(model, stream, axis) < 1e-5
    onnx.checker.check_model(stream.model)
    # What is read beyond the clip's ends counts: taken as it was computed, the proof refuses it.
    monkeypatch.setattr("adcvsr.export.adopt.streamify.find_borders", lambda *_: {})
    with pytest.raises(AdoptError, match="before the first or after the last is not zero"):
        prove(model, streamify(model, frames_axis=axis, most_ahead=ahead), axis)


CHUNKS = ([1], [2], [3], [5], [7], [4, 1, 6], [9, 2])
"""Frames of chunks, in turn until the clip is over."""


class InChunks:
    """A random clip whole, and its stream in chunks."""

    def __init__(self, model: onnx.ModelProto, axis: int, ahead: int) -> None:
        self.stream = streamify(model, frames_axis=axis, most_ahead=ahead)
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        dims[axis] = self.count = dims[axis] or 17
        shape = Unrolled.sizes(dims, axis, TRIAL_SIDES[0])
        self.clip = np.random.default_rng(3).uniform(0, 1, shape).astype(np.float32)
        self.axis = axis
        self._session = open_session(self.stream.model.SerializeToString())
        (self.whole,) = open_session(model.SerializeToString()).run(None, {"x": self.clip})

    def cuts(self, sizes: list[int]) -> list[int]:
        found, step = [0], itertools.cycle(sizes)
        while found[-1] < self.count:
            found.append(min(found[-1] + next(step), self.count))
        return found

    def zeros(self) -> dict[str, Any]:
        return {name: np.zeros(self.stream.shapes[name], np.float32) for name, _ in self.states}

    @property
    def states(self) -> Any:
        return self.stream.states

    def run(self, first: int, last: int, state: dict[str, Any]) -> list[Any]:
        """Pictures as they come of frames from first up to last; the states go on in `state`."""
        pictures = []
        names = ["picture", *(following for _, following in self.states)]
        for at in range(first, last):
            frame = np.take(self.clip, [min(at, self.count - 1)], self.axis)
            if self.stream.end is not None and at >= self.count:
                state[self.stream.end] = np.ones_like(state[self.stream.end])
            picture, *following = self._session.run(names, {"frame": frame, **state})
            state |= {key: each for (key, _), each in zip(self.states, following, strict=True)}
            pictures.append(picture)
        return pictures

    def apart(self, pictures: list[Any]) -> float:
        return float(np.abs(np.concatenate(pictures, self.axis) - self.whole).max())


@pytest.mark.parametrize(
    ("make", "axis", "ahead"),
    [*((make, axis, 0) for make, axis, *_ in CAUSAL.values()), *AHEAD.values()],
    ids=[*CAUSAL, *(f"ahead, {name}" for name in AHEAD)],
)
def test_any_chunks_are_the_whole_clip(
    make: Callable[[], onnx.ModelProto], axis: int, ahead: int
) -> None:
    """States go from chunk to chunk as files would; without them, so many frames before do."""
    clip = InChunks(make(), axis, ahead)
    for sizes in CHUNKS:
        carried, made, alone = clip.zeros(), [], []
        for start, end in itertools.pairwise(clip.cuts(sizes)):
            made += clip.run(start, end + (ahead if end == clip.count else 0), carried)
            warm = max(start - clip.stream.past, 0)
            alone += clip.run(warm, end + ahead, clip.zeros())[start - warm + ahead :]
        assert clip.apart(made[ahead:]) < 1e-5, sizes
        if axis != 1:  # those are recurrent: what a hidden state knows has no end
            assert clip.apart(alone) < 1e-5, sizes


def test_what_comes_later_is_refused_with_its_nodes() -> None:
    with pytest.raises(AdoptError, match=r"needs 2 frames after its own \('net/f', 'net/c'"):
        streamify(conv3d(before=1, after=1), frames_axis=2)
    with pytest.raises(AdoptError, match=r"needs 1 frames after its own \('net/fin\d"):
        streamify(recurrent(ahead=1, frames=12), frames_axis=1)


def test_backwards_through_the_clip_is_refused_with_its_nodes() -> None:
    with pytest.raises(AdoptError, match=r"to the end of the clip.*'net/bin\d+'.* in windows"):
        streamify(recurrent(backwards=True), frames_axis=1)


def test_another_start_than_zero_is_found_out() -> None:
    """A hidden state that begins with ones: a stream begins with zero, and the proof says so."""
    model = recurrent()
    start = next(t for t in model.graph.initializer if t.name == "zero")
    start.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(start) + 1, "zero"))
    stream = streamify(model, frames_axis=1)
    with pytest.raises(AdoptError, match="frame by frame the network gives another picture"):
        prove(model, stream, 1)


def test_a_mean_over_time_is_named() -> None:
    model = conv3d()
    node = onnx.helper.make_node("ReduceMean", ["a", "axes"], ["m"], "net/mean", keepdims=1)
    model.graph.initializer.append(
        onnx.numpy_helper.from_array(onnx.numpy_helper.np.array([2]), "axes")
    )
    model.graph.node.insert(2, node)
    model.graph.node[3].input[0] = "m"
    with pytest.raises(AdoptError, match=r"node 'net/mean' \(ReduceMean\) does with time"):
        streamify(model, frames_axis=2)
