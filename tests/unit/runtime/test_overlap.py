"""Copies of one frame beside the computation of another: order, buffers, and the same pictures."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import ConfigError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.deploy import acceptance
from adcvsr.runtime.deploy.deploy import deploy_bundle
from adcvsr.runtime.engine.order import SizeRange
from adcvsr.runtime.processing.backends import create_processor, create_session
from adcvsr.runtime.sessions.stream_session import StreamSession
from adcvsr.runtime.sessions.trt_stream import TensorRtSession
from adcvsr.runtime.upscaler import Upscaler
from fake_cuda import CONTEXT
from gpu_backends import CONTRACT, fake_gpu, prepare_backend

pytestmark = pytest.mark.usefixtures("nano_in_fp32")

OWNED = ("memory", "pinned", "streams", "graphs", "events", "contexts", "faults")
NOTHING = dict.fromkeys(OWNED, 0)


def reference(clip: np.ndarray) -> list[np.ndarray]:
    with create_session(open_bundle("nano"), backend="ort-cpu", threads=1) as session:
        return [session.infer(frame) for frame in clip]


def behind(session: Any, clip: Any) -> list[np.ndarray]:
    """All pictures, each a frame later, from frames that change as soon as they were taken."""
    late = []
    for frame in clip:
        given = frame.copy()
        late.append(session.infer_behind(given))
        given[:] = 0
    assert late[0] is None
    return [*late[1:], session.last()]


@pytest.mark.parametrize("backend", CONTRACT)
def test_a_frame_later_it_is_the_same_picture(
    backend: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also after a reset, across a change of size, and of sizes that are padded."""
    name = prepare_backend(backend, monkeypatch, tmp_path)
    clip = draw_clip(7, 20, 23)
    small = clip[:, :12, :16]
    with create_session(open_bundle("nano"), backend=name) as session:
        expected = [session.infer(frame) for frame in clip]
        session.reset()
        assert all(map(np.array_equal, behind(session, clip), expected))
        assert session.last() is None
        smaller = [session.infer(frame) for frame in small]
        session.reset()
        mixed = behind(session, [*small, *clip])
        assert all(map(np.array_equal, mixed, [*smaller, *expected]))


@pytest.mark.parametrize("eager", [False, True])
def test_copies_run_beside_the_engine_and_no_buffer_is_written_early(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, eager: bool
) -> None:
    """With copies as late as events allow, and as early: both are orders a GPU may take."""
    driver = fake_gpu(monkeypatch, tmp_path)
    driver.eager_copies = eager
    clip = draw_clip(9, 20, 24)
    seen: list[tuple[str, ...]] = []
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        pictures: list[Any] = []
        for frame in clip:
            driver.calls.clear()
            pictures.append(session.infer_behind(frame))
            seen.append(tuple(driver.calls))
            if len(pictures) > 1:  # the frame is queued, and not waited for
                assert any(stream.queued for stream in driver.streams.values())
        pictures.append(session.last())
        # Each frame ran once, and its time is counted.
        assert session.engine_seconds == pytest.approx(len(clip) * 0.0005, rel=0.5)
    assert all(map(np.array_equal, pictures[1:], reference(clip)))
    # The next frame is launched before the picture of the one before comes down.
    assert all(calls.index("launch") < calls.index("download") for calls in seen[4:])
    if eager:
        assert all(calls.index("upload") < calls.index("launch") for calls in seen[4:])
    assert driver.left() == NOTHING


def test_a_lane_written_early_would_be_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without the wait for its upload an engine reads the frame of before: the fake shows it."""
    driver = fake_gpu(monkeypatch, tmp_path)
    clip = draw_clip(6, 20, 24)
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        good = behind(session, clip)
        session.reset()
        monkeypatch.setattr(driver, "cuStreamWaitEvent", lambda *_: driver.cuCtxSetCurrent(CONTEXT))
        bad = behind(session, clip)
    assert not all(map(np.array_equal, bad, good))


def test_mapped_memory_is_switched_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    driver = fake_gpu(monkeypatch, tmp_path, integrated=True)
    clip = draw_clip(5, 20, 24)
    expected = reference(clip)
    for mapped in (True, False):
        driver.calls.clear()
        session: Any = create_session(open_bundle("nano"), backend="tensorrt")
        session.mapped = mapped
        with session:
            found = [session.infer(frame) for frame in clip]
            session.reset()
            later = behind(session, clip)
        assert ("upload" in driver.calls) is not mapped
        assert ("download" in driver.calls) is not mapped
        assert all(map(np.array_equal, found, expected))
        assert all(map(np.array_equal, later, expected))
        assert driver.left() == NOTHING


def test_a_frame_at_once_is_refused_while_one_is_under_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_gpu(monkeypatch, tmp_path)
    clip = draw_clip(3, 12, 16)
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        session.infer_behind(clip[0])
        session.infer_behind(clip[1])
        with pytest.raises(RuntimeError, match="take it with `last` first"):
            session.infer(clip[2])
        assert session.last() is not None
        session.infer(clip[2])


def test_files_overlap_and_streams_answer_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who wants a frame gets its picture; who reads a clip gets all, in order, none twice."""
    driver = fake_gpu(monkeypatch, tmp_path)
    clip = draw_clip(5, 12, 16)
    taken: list[int] = []
    began = StreamSession.infer_behind

    def counting(session: StreamSession, frame: np.ndarray) -> Any:
        taken.append(1)
        return began(session, frame)

    monkeypatch.setattr(StreamSession, "infer_behind", counting)
    expected = reference(clip)
    with Upscaler("nano", backend="tensorrt") as upscaler:
        assert all(np.array_equal(upscaler(f), e) for f, e in zip(clip, expected, strict=True))
        assert not taken
        assert all(map(np.array_equal, upscaler.upscale_clip(iter(clip)), expected))
        assert len(taken) == len(clip)
        half = upscaler.upscale_clip(iter(clip))
        assert np.array_equal(next(half), expected[0])
        half.close()  # what is under way is dropped
        upscaler.reset()
        assert np.array_equal(upscaler(clip[0]), expected[0])
    assert driver.left() == NOTHING
    with create_session(open_bundle("nano"), backend="ort-cpu") as session:
        # No delay where nothing would run beside.
        processor = create_processor(session, overlap=True)
        assert len(list(processor.push(clip[0]))) == 1


@pytest.mark.parametrize("faster", [True, False])
def test_deploy_times_both_ways_to_a_board_and_sessions_take_the_faster(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, faster: bool
) -> None:
    pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    driver = fake_gpu(monkeypatch, tmp_path, integrated=True)
    slow = {True: 0.0, False: 0.0, not faster: 0.01}
    infer = TensorRtSession._infer

    def slowed(session: TensorRtSession, frame: np.ndarray, slot: int) -> Any:
        time.sleep(slow[bool(session._mapped)])
        return infer(session, frame, slot)

    monkeypatch.setattr(TensorRtSession, "_infer", slowed)
    monkeypatch.setattr(acceptance, "WARM_UP_FRAMES", 1)
    report = deploy_bundle(open_bundle("nano"), sizes=SizeRange.fixed(12, 16), frames=10)
    (candidate,) = report.candidates
    assert report.changed, candidate.reasons
    assert candidate.acceptance is not None
    assert candidate.acceptance.mapped is faster
    kept = "mapped" if faster else "copied"
    assert candidate.acceptance.staging.startswith(f"{kept} memory is kept: mapped ")
    assert report.current is not None
    assert report.current["mapped"] is faster
    driver.calls.clear()
    clip = draw_clip(2, 12, 16)
    with create_session(open_bundle("nano"), backend="tensorrt") as session:
        assert all(map(np.array_equal, map(session.infer, clip), reference(clip)))
    assert ("upload" in driver.calls) is not faster


def test_staging_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the fake reads its layers from the graph")
    fake_gpu(monkeypatch, tmp_path / "card")
    nano, size = open_bundle("nano"), SizeRange.fixed(12, 16)
    with pytest.raises(ConfigError, match="--staging mapped: NVIDIA GeForce RTX 4060 and 'nano'"):
        deploy_bundle(nano, sizes=size, staging="mapped")
    driver = fake_gpu(monkeypatch, tmp_path / "board", integrated=True)
    monkeypatch.setattr(acceptance, "WARM_UP_FRAMES", 1)
    report = deploy_bundle(nano, sizes=size, staging="copied", frames=10)
    assert report.current is not None
    assert report.current["mapped"] is False
    assert report.candidates[0].acceptance is not None
    assert not report.candidates[0].acceptance.staging
    assert "upload" in driver.calls
