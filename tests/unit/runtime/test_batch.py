"""Frames of several streams in one run: bits of each as if alone, whoever joins, leaves, stalls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adcvsr.arrays import Frame
from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError, GraphError
from adcvsr.graph import batch_axis
from adcvsr.graph.batch_axis import with_batch_axis
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import SDR_BT709 as BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import YuvPicture
from adcvsr.runtime.engine.build_list import order_engines
from adcvsr.runtime.engine.engine_cache import EngineCache
from adcvsr.runtime.engine.engines import ensure_engine, find_engine
from adcvsr.runtime.engine.order import BuildOptions, SizeRange
from adcvsr.runtime.nvidia import gpu
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions import ort_batch
from adcvsr.runtime.sessions.batch_slots import BatchSlots, neighbours, run_ahead
from adcvsr.runtime.sessions.stream_session import StreamSession
from gpu_backends import CONTRACT, fake_gpu, prepare_backend

SIZES = ((12, 16), (9, 15))
CLIPS = {size: draw_clip(5, *size) for size in SIZES}
STREAMS = 4


@pytest.fixture(scope="module", params=["int8-ort", "fp32-onnx"])
def loaded(request: pytest.FixtureRequest) -> Iterator[StreamSession]:
    with create_session(
        open_bundle("nano"), backend="ort-cpu", variant=request.param, threads=1
    ) as session:
        assert isinstance(session, StreamSession)
        assert session.prepare_batches() == ""
        yield session


step = st.fixed_dictionaries(
    {
        "there": st.lists(st.booleans(), min_size=STREAMS, max_size=STREAMS),
        "frame": st.integers(0, 4),
        "what": st.sampled_from(["", "", "", "reset", "leave", "size"]),
        "who": st.integers(0, STREAMS - 1),
    }
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(step, min_size=3, max_size=12))
def test_bits_of_each_are_those_of_a_run_of_its_own(
    loaded: StreamSession, steps: list[dict[str, object]]
) -> None:
    """Streams join and leave, stall, are reset and change size; a twin of each runs alone."""
    streams = [loaded.another_stream().__enter__() for _ in range(STREAMS)]
    twins = [loaded._beside() for _ in range(STREAMS)]
    for twin in twins:
        twin._batches = None  # type: ignore[attr-defined] # alone, on the graph of one
        twin.__enter__()
    sizes = [SIZES[0]] * STREAMS
    try:
        for each in steps:
            who = int(str(each["who"]))
            if each["what"] == "reset":
                streams[who].reset()
                twins[who].reset()
            elif each["what"] == "leave":  # another camera comes in its place
                streams[who].__exit__(None, None, None)
                streams[who] = loaded.another_stream().__enter__()
                twins[who].reset()
            elif each["what"] == "size":
                sizes[who] = SIZES[sizes[who] == SIZES[0]]
            there = [index for index, is_there in enumerate(each["there"]) if is_there]  # type: ignore[arg-type, var-annotated]
            frames = {index: CLIPS[sizes[index]][each["frame"]] for index in there}
            run_ahead([(streams[index], frame) for index, frame in frames.items()])
            for index, frame in frames.items():
                assert np.array_equal(streams[index].infer(frame), twins[index].infer(frame))
    finally:
        for session in (*streams, *twins):
            session.__exit__(None, None, None)


def test_neighbours_run_in_one_batch_and_a_latecomer_joins_it(loaded: StreamSession) -> None:
    clip = CLIPS[SIZES[0]]
    streams = [loaded.another_stream().__enter__() for _ in range(3)]

    def together(frame: Frame, *who: int) -> list[int]:
        sizes = run_ahead([(streams[index], frame) for index in who])
        for index in who:
            streams[index].infer(frame)
        return sizes

    assert together(clip[0], 0, 1, 2) == []  # nobody has buffers for the size yet
    assert together(clip[1], 0, 1, 2) == [3]
    assert together(clip[2], 0, 2) == []  # no neighbours
    assert together(clip[3], 0, 1) == [2]  # the second missed a turn: its state moves over
    assert together(clip[4], 0, 1, 2) == [3]
    for each in streams:
        each.__exit__(None, None, None)


def test_a_batch_is_no_larger_than_caches_like(
    loaded: StreamSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adcvsr.runtime.sessions.ort_cpu.LARGEST_BATCH_PX", 2 * 12 * 16)
    streams = [loaded.another_stream().__enter__() for _ in range(4)]
    frame = CLIPS[SIZES[0]][0]
    for each in streams:
        each.infer(frame)
    pairs = [(each, frame) for each in streams]
    assert run_ahead(pairs) == [2, 2]
    monkeypatch.setattr(ort_batch, "LARGEST_BATCH_PX", 100)
    for each in streams:
        each.__exit__(None, None, None)
    with loaded.another_stream() as other:
        other.infer(frame)
        assert other.batch_family(frame) is None


def test_another_frame_than_the_one_that_ran_is_refused(loaded: StreamSession) -> None:
    a, b = (loaded.another_stream().__enter__() for _ in range(2))
    clip = CLIPS[SIZES[0]]
    for each in (a, b):
        each.infer(clip[0])
    assert run_ahead([(a, clip[1]), (b, clip[1])]) == [2]
    with pytest.raises(RuntimeError, match="another frame"):
        a.infer(clip[2])
    b.reset()
    assert b.infer(clip[2]).shape == (48, 64, 3)
    for each in (a, b):
        each.__exit__(None, None, None)


def test_slots_are_taken_again() -> None:
    slots = BatchSlots([(1, 2, 3, 4)], np.float32)
    assert [slots.take() for _ in range(3)] == [0, 1, 2]
    slots.give(1)
    assert slots.take() == 1
    assert len(slots) == 3


def test_neighbours() -> None:
    assert neighbours([4, 0, 1, 2, 6, 5], 2) == [[1, 2], [3], [0, 5], [4]]
    assert neighbours([], 3) == []


def stored(model: str, variant: str) -> bytes:
    bundle = open_bundle(model)
    return (bundle.path / bundle.variant(variant).file).read_bytes()


@pytest.mark.parametrize("variant", ["int8-ort", "fp32-onnx"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_of_yuv_run_in_batches_too(variant: str, size: tuple[int, int]) -> None:
    """As cameras give them: bits of each are those of a run of its own, one misses a turn."""
    ends = YuvEnds(BT709.matrix, full_range=BT709.full_range)
    random = np.random.default_rng(3)
    height, width = size
    half = ((height + 1) // 2, (width + 1) // 2, 2)
    pictures = [
        YuvPicture(
            random.integers(16, 236, size, np.uint8),
            random.integers(16, 241, half, np.uint8),
            BT709,
        )
        for _ in range(6)
    ]
    with ExitStack() as stack:
        loaded = stack.enter_context(
            create_session(open_bundle("nano"), backend="ort-cpu", variant=variant, threads=1)
        )
        assert isinstance(loaded, StreamSession)
        alone = stack.enter_context(loaded.of_yuv(ends))
        assert loaded.prepare_batches() == ""
        shared = stack.enter_context(loaded.of_yuv(ends))
        streams = [stack.enter_context(shared.another_stream()) for _ in range(3)]
        twins = [stack.enter_context(alone.another_stream()) for _ in range(3)]
        held = []
        for turn, there in enumerate([(0, 1, 2), (0, 1, 2), (0, 2), (0, 1, 2)]):
            given = {index: pictures[turn + index] for index in there}
            held += run_ahead([(streams[index], picture) for index, picture in given.items()])
            for index, picture in given.items():
                mine, its = (each[index].infer_yuv(picture) for each in (streams, twins))
                assert mine.colours is picture.colours
                assert np.array_equal(mine.luma, its.luma)
                assert np.array_equal(mine.chroma, its.chroma)
    assert held == [3, 3]  # the first frames of a size run alone, and 0 and 2 are no neighbours


@pytest.mark.parametrize("model", ["nano", "nano-camera", "small"])
def test_every_graph_that_is_shipped_takes_a_batch(model: str) -> None:
    onnx = pytest.importorskip("onnx")
    for variant in open_bundle(model).variants:
        opened = onnx.load_model_from_string(with_batch_axis(stored(model, variant)))
        onnx.checker.check_model(opened)
        for end in (*opened.graph.input, *opened.graph.output):
            assert end.type.tensor_type.shape.dim[0].dim_param == batch_axis.BATCH


def test_a_graph_of_today_takes_a_batch(tiny_bundle: Path) -> None:
    """Tails that keep their batch axis, as they are exported now."""
    with create_session(open_bundle(tiny_bundle), backend="ort-cpu", threads=1) as session:
        assert isinstance(session, StreamSession)
        assert session.prepare_batches() == ""


@pytest.mark.parametrize(
    ("old", "new"), [(b"Conv", b"Gemm"), (b"Clip", b"Sinh")], ids=["one", "other"]
)
def test_a_node_that_may_mix_pictures_is_named(old: bytes, new: bytes) -> None:
    graph = stored("nano", "fp32-onnx").replace(b"\x04" + old, b"\x04" + new)
    with pytest.raises(GraphError, match=new.decode()):
        with_batch_axis(graph)


def test_a_batch_of_other_bits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules say what may take a batch; the trial, what does."""
    true = ort_batch.OrtBatches._run

    def off_by_one(self: object, given: list[Frame], past: object, following: object) -> object:
        out = true(self, given, past, following)  # type: ignore[arg-type]
        return [each + (len(given[0]) > 1) for each in out]

    monkeypatch.setattr(ort_batch.OrtBatches, "_run", off_by_one)
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1) as session:
        assert isinstance(session, StreamSession)
        assert "other bits" in session.prepare_batches()
        with session.another_stream() as a, session.another_stream() as b:
            frame = CLIPS[SIZES[0]][0]
            pairs = [(a, frame), (b, frame)]
            for each, _ in pairs:
                each.infer(frame)
            assert run_ahead(pairs) == []


@pytest.fixture(params=CONTRACT)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return prepare_backend(request.param, monkeypatch, tmp_path / "cache")


SIDE = 16
"""Of frames whose state lies on 256 bytes, as a GPU wants it."""


@pytest.mark.parametrize("built", [False, True], ids=["as it is", "built"])
def test_every_backend_keeps_to_the_contract(
    backend: str, built: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Together as alone, in a batch or one by one, and it says which."""
    bundle, clip = open_bundle("nano"), draw_clip(8, SIDE, SIDE)
    trt = backend.startswith("tensorrt")
    if built and not trt:
        pytest.skip("only TensorRT has engines that are built")
    if built:
        (order,) = order_engines(
            bundle, backend=backend, sizes=SizeRange.fixed(SIDE, SIDE), streams=3
        )
        assert "of 3 streams" in order.describe()
        ensure_engine(order)
    with create_session(bundle, backend=backend) as alone:
        expected = {}
        for who in range(4):
            alone.reset()
            expected[who] = [alone.infer(frame) for frame in clip[who:]]
    with create_session(bundle, backend=backend) as loaded:
        assert isinstance(loaded, StreamSession)
        why = loaded.prepare_batches()
        together = backend == "ort-cpu" or built
        assert (why == "") == together
        streams = [loaded.another_stream().__enter__() for _ in range(4)]
        sizes = []

        def go(turn: int, *who: int) -> None:
            frames = {each: clip[each + at[each]] for each in who}
            sizes.append(run_ahead([(streams[each], frames[each]) for each in who]))
            for each, frame in frames.items():
                picture = streams[each].infer(frame)
                assert np.array_equal(picture, expected[each][at[each]]), (turn, each)
                at[each] += 1

        at = dict.fromkeys(range(4), 0)
        for turn, who in enumerate(((0, 1, 2, 3), (0, 1, 2, 3), (0, 2), (1,), (0, 1, 2, 3))):
            go(turn, *who)
        if trt:  # engines of three: two of three are worth it, one of the next block is not
            assert sizes == ([[], [3], [2], [], [3]] if built else [[]] * 5)
        streams[1].reset()
        at[1] = 0
        go(5, 0, 1, 2)
        streams[2].__exit__(None, None, None)
        streams[2] = loaded.another_stream().__enter__()
        at[2] = 0
        go(6, 0, 1, 2)
        go(7, 0, 1, 2)
        for each in streams:
            each.__exit__(None, None, None)


def test_an_engine_for_several_streams_is_no_engine_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = fake_gpu(monkeypatch, tmp_path / "cache")
    bundle = open_bundle("nano")
    sizes = SizeRange.fixed(SIDE, SIDE)
    (many,) = order_engines(bundle, backend="tensorrt", sizes=sizes, streams=2)
    (one,) = order_engines(bundle, backend="tensorrt", sizes=sizes)
    assert many.key != one.key
    ensure_engine(many)
    cache = EngineCache()
    assert find_engine(one, gpu.current_gpu(driver), SIDE, SIDE, cache) is None
    assert find_engine(many, gpu.current_gpu(driver), SIDE, SIDE, cache) is not None
    with pytest.raises(ConfigError, match="one stream at once"):
        order_engines(
            bundle, backend="tensorrt", sizes=sizes, streams=2, options=BuildOptions(dla=0)
        )


def test_a_size_without_such_an_engine_runs_one_by_one_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    driver = fake_gpu(monkeypatch, tmp_path / "cache")
    bundle = open_bundle("nano")
    (many,) = order_engines(
        bundle, backend="tensorrt", sizes=SizeRange.fixed(SIDE, SIDE), streams=2
    )
    ensure_engine(many)
    frame = draw_clip(1, SIDE, 2 * SIDE)[0]
    with create_session(bundle, backend="tensorrt") as loaded:
        assert isinstance(loaded, StreamSession)
        assert loaded.prepare_batches() == ""
        with loaded.another_stream() as a, loaded.another_stream() as b:
            for each in (a, b):
                each.infer(frame)
            assert run_ahead([(a, frame), (b, frame)]) == []
    assert "streams of 32x16 run one by one" in caplog.text
    assert driver.faults == []
    assert not driver.memory
