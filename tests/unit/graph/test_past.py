"""How many frames a graph looks back; proved by streams that begin at arbitrary frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcvsr.bundle import Bundle, open_bundle
from adcvsr.errors import GraphError
from adcvsr.graph.file import Graph, Model, Node, read_graph
from adcvsr.graph.past import frames_of_past, past_of
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.stream_session import StreamSession


def graph(*nodes: tuple[str, str], op_type: str = "Add") -> Model:
    """Nodes as ("inputs", "outputs"), names of one letter each."""
    made = [Node(list(inputs), list(outputs), op_type=op_type) for inputs, outputs in nodes]
    return Model(Graph(made), {})


def test_a_chain_of_states_adds_up() -> None:
    chain = graph(("f", "A"), ("Aa", "B"), ("Bb", "o"))
    assert frames_of_past(chain, {"a": "A", "b": "B"}, "o") == 2
    beside = graph(("f", "A"), ("f", "B"), ("ab", "o"))
    assert frames_of_past(beside, {"a": "A", "b": "B"}, "o") == 1
    assert frames_of_past(graph(("f", "o")), {}, "o") == 0


def test_a_state_that_depends_on_itself_never_ends() -> None:
    assert frames_of_past(graph(("fa", "A"), ("fa", "o")), {"a": "A"}, "o") is None
    around = graph(("fb", "A"), ("fa", "B"), ("fa", "o"))
    assert frames_of_past(around, {"a": "A", "b": "B"}, "o") is None
    with_a_body = graph(("f", "A"), ("fa", "o"), op_type="Loop")
    assert frames_of_past(with_a_body, {"a": "A"}, "o") is None


def test_a_graph_without_its_outputs_is_refused() -> None:
    with pytest.raises(GraphError, match="no output 'A'"):
        frames_of_past(graph(("fa", "o")), {"a": "A"}, "o")


def past(bundle: Bundle, variant: str) -> int:
    data = bundle.read(bundle.variant(variant).file)
    found = past_of(data, bundle.state, bundle.output_name, bundle.config)
    assert found is not None
    return found


@pytest.mark.parametrize("variant", ["fp32-onnx", "int8-ort"])
@pytest.mark.parametrize(("name", "frames"), [("nano", 1), ("small", 3)])
def test_a_stream_that_begins_that_much_earlier_gives_the_same_bits(
    name: str, frames: int, variant: str
) -> None:
    bundle = open_bundle(name)
    assert past(bundle, variant) == frames
    rng = np.random.default_rng(7)
    drawn = list(draw_clip(6, 26, 34))
    noise = list(rng.integers(0, 256, (6, 26, 34, 3), np.uint8))
    clip = [*drawn, *noise]
    with create_session(bundle, backend="ort-cpu", variant=variant, threads=1) as session:
        assert isinstance(session, StreamSession)
        whole = [session.infer(frame) for frame in clip]
        short = False
        for begin in (4, 7, 9):
            session.reset()
            begun = [session.infer(frame) for frame in clip[begin - frames :]][frames:]
            assert all(map(np.array_equal, begun, whole[begin:]))
            session.reset()
            fewer = [session.infer(frame) for frame in clip[begin - frames + 1 :]][frames - 1]
            short |= not np.array_equal(fewer, whole[begin])
    assert short, "one frame less would have done"


def test_export_stores_it(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    stored = bundle.manifest["interface"]["past_frames"]
    assert stored == past(bundle, "fp32-onnx") == len(bundle.state) > 0
    assert read_graph(bundle.read(bundle.variant("fp32-onnx").file)).graph.node
