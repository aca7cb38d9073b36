"""Networks over clips as streams: the same pictures, the state they need, and who cannot."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from clip_networks import conv3d, recurrent, shift, stacked

from adcvsr.errors import AdoptError
from adcvsr.export.adopt.streamify import prove, streamify

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
