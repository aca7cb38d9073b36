"""The session contract: any size, carried state, reset, ownership."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adcvsr.bundle import open_bundle
from adcvsr.errors import BackendUnavailableError, BundleError
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.frames import pad_to_multiple
from gpu_backends import CONTRACT, prepare_backend


@pytest.fixture(params=CONTRACT)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    return prepare_backend(request.param, monkeypatch, tmp_path / "cache")


def test_golden_vectors(tiny_bundle: Path, backend: str) -> None:
    """The bundle's own vectors, made by torch, with carried state."""
    for bundle in (open_bundle(tiny_bundle), open_bundle("nano")):
        with np.load(bundle.path / "golden.npz") as golden:
            frames, expected = golden["frames"], golden["upscaled"]
        with create_session(bundle, backend=backend) as session:
            for frame, picture in zip(frames, expected, strict=True):
                difference = session.infer(frame).astype(int) - picture
                assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (3, 2), (17, 23), (64, 48)])
def test_any_size(tiny_bundle: Path, backend: str, size: tuple[int, int]) -> None:
    height, width = size
    frame = draw_clip(1, height, width)[0]
    for bundle in (open_bundle(tiny_bundle), open_bundle("nano")):
        with create_session(bundle, backend=backend) as session:
            out = session.infer(frame)
        assert out.shape == (4 * height, 4 * width, 3)
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous


def test_padding_does_not_reach_the_picture(tiny_bundle: Path, backend: str) -> None:
    """An odd frame gives what the same frame padded by hand gives."""
    frame = draw_clip(1, 15, 21)[0]
    with create_session(open_bundle(tiny_bundle), backend=backend) as session:
        odd = session.infer(frame)
        # A change of size is a new stream, also where both sizes are padded to the same.
        even = session.infer(np.pad(frame, ((0, 1), (0, 1), (0, 0)), mode="edge"))
    assert np.array_equal(odd, even[:60, :84])


def test_state_is_carried_and_reset_forgets(tiny_bundle: Path, backend: str) -> None:
    clip = draw_clip(3, 24, 32)
    clip[1] = 255 - clip[1]
    with create_session(open_bundle(tiny_bundle), backend=backend) as session:
        first = [session.infer(frame) for frame in clip]
        warm = session.infer(clip[0])
        session.reset()
        again = [session.infer(frame) for frame in clip]
        session.infer(draw_clip(1, 8, 8)[0])
        after_size_change = session.infer(clip[0])
    assert not np.array_equal(warm, first[0])
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert np.array_equal(after_size_change, first[0])


def test_results_are_the_callers_own(backend: str) -> None:
    clip = draw_clip(2, 16, 16)
    with create_session(open_bundle("nano"), backend=backend) as session:
        first = session.infer(clip[0])
        kept = first.copy()
        session.infer(255 - clip[1])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_wrong_frames(backend: str, frame: np.ndarray) -> None:
    with (
        create_session(open_bundle("nano"), backend=backend) as session,
        pytest.raises(ValueError, match="expected \\(H, W, 3\\) uint8 RGB"),
    ):
        session.infer(frame)


def test_closed_session(backend: str) -> None:
    session = create_session(open_bundle("nano"), backend=backend)
    with pytest.raises(RuntimeError, match="not open"):
        session.infer(np.zeros((4, 4, 3), np.uint8))


def test_a_session_opens_again(tiny_bundle: Path, backend: str) -> None:
    frame = draw_clip(1, 16, 24)[0]
    session = create_session(open_bundle(tiny_bundle), backend=backend)
    pictures = []
    for _ in range(2):
        with session:
            pictures.append(session.infer(frame))
        session.reset()
    assert np.array_equal(*pictures)


def test_no_memory_for_a_size(
    tiny_bundle: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size is not taken for prepared: it fails again, or works when there is memory."""
    frame = draw_clip(1, 16, 24)[0]

    def fail(*size: int) -> None:
        raise MemoryError

    with create_session(open_bundle(tiny_bundle), backend=backend) as session:
        session.infer(frame[:8, :8])
        with monkeypatch.context() as patch:
            patch.setattr(session, "_resize", fail)
            for _ in range(2):
                with pytest.raises(MemoryError):
                    session.infer(frame)
        assert session.infer(frame).shape == (64, 96, 3)


def test_unknown_backend_and_variant() -> None:
    bundle = open_bundle("nano")
    with pytest.raises(
        BackendUnavailableError, match="no backend 'npu'.*auto, tensorrt, .*ort-cpu"
    ):
        create_session(bundle, backend="npu")
    with pytest.raises(BundleError, match="no variant 'int1'"):
        create_session(bundle, variant="int1")


def test_non_contiguous_input(backend: str) -> None:
    wide = draw_clip(1, 16, 32)[0]
    with create_session(open_bundle("nano"), backend=backend) as session:
        out = session.infer(wide[:, ::2])
        session.reset()
        assert np.array_equal(out, session.infer(np.ascontiguousarray(wide[:, ::2])))


def test_pad_to_multiple() -> None:
    frame = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = pad_to_multiple(frame, 4)
    assert padded.shape == (4, 4, 3)
    assert np.array_equal(padded[3, 3], frame[1, 2])
    assert pad_to_multiple(frame, 1) is frame


def test_streams_beside_each_other_have_a_past_each(backend: str) -> None:
    """Of sizes of their own; one that resets, grows or goes leaves the others as they are."""
    clips = [draw_clip(4, 24, 32), 255 - draw_clip(4, 16, 20)]
    bundle = open_bundle("nano")
    with create_session(bundle, backend=backend) as session:
        alone = []
        for clip in clips:
            alone.append([session.infer(frame) for frame in clip])
            session.reset()
        with session.another_stream() as first, session.another_stream() as second:
            for index in range(4):
                session.infer(clips[0][3 - index])
                for stream, clip, expected in zip((first, second), clips, alone, strict=True):
                    assert np.array_equal(stream.infer(clip[index]), expected[index])
                if index == 1:
                    session.reset()
            second.reset()
            assert np.array_equal(second.infer(clips[1][0]), alone[1][0])
        session.reset()
        assert np.array_equal(session.infer(clips[0][0]), alone[0][0])
