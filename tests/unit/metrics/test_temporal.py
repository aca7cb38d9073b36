"""Temporal measures on motion that is known."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pytest

from adcvsr.errors import MissingPackageError
from adcvsr.metrics import (
    frame_difference_error,
    half_size,
    measure_motion,
    resize_bicubic,
    warping_error,
)
from adcvsr.metrics.temporal import FLOW_LEAST_PX, flow_error, jitter

Levels = npt.NDArray[np.uint8]


def texture(rng: np.random.Generator, height: int, width: int) -> Levels:
    """Smooth random blobs that flow can follow."""
    coarse = rng.integers(20, 236, (height // 8, width // 8, 3), dtype=np.uint8)
    return resize_bicubic(coarse, height, width)


def pan(rng: np.random.Generator, shift_px: int) -> tuple[Levels, Levels]:
    """Two frames, the scene moving left by `shift_px`."""
    scene = texture(rng, 160, 320)
    return scene[:, :256], scene[:, shift_px : 256 + shift_px]


def test_a_still_clip_does_not_move(rng: np.random.Generator) -> None:
    frame = half_size(texture(rng, 96, 128))
    motion = measure_motion(frame, frame)
    assert motion.flow == pytest.approx(0, abs=1e-6)
    assert motion.visible.all()
    assert warping_error(frame, frame, motion) == 0


def test_flicker_on_a_still_scene_has_a_known_error(rng: np.random.Generator) -> None:
    """Ten levels in every channel: 3 (10 / 255)² in thousandths."""
    frame = half_size(texture(rng, 96, 128))
    motion = measure_motion(frame, frame)
    dark, bright = (half_size(np.full((96, 128, 3), level, np.uint8)) for level in (100, 110))
    expected = 1000 * 3 * (10 / 255) ** 2
    assert warping_error(dark, bright, motion) == pytest.approx(expected, rel=1e-5)


def test_noise_on_a_still_scene_has_a_known_error(rng: np.random.Generator) -> None:
    """Independent noise of variance v: 3 channels, twice v, a quarter of it left by halving."""
    frame = half_size(texture(rng, 160, 256))
    motion = measure_motion(frame, frame)
    noisy = [half_size((128 + rng.normal(0, 8, (160, 256, 3))).astype(np.uint8)) for _ in range(2)]
    expected = 1000 * 3 * 2 * (64 + 1 / 12) / 4 / 255**2
    assert warping_error(*noisy, motion) == pytest.approx(expected, rel=0.03)


def test_a_pan_is_followed(rng: np.random.Generator) -> None:
    first, second = map(half_size, pan(rng, 8))
    motion = measure_motion(first, second)
    assert np.median(motion.flow[..., 0]) == pytest.approx(-4, abs=0.05)
    assert np.median(motion.flow[..., 1]) == pytest.approx(0, abs=0.05)
    assert not motion.visible[:, :3].any(), "left the picture"
    assert motion.visible[:, 8:-8].mean() > 0.9
    error = warping_error(first, second, motion)
    still = measure_motion(first, first)
    unmoved = warping_error(first, second, still)
    assert error is not None
    assert unmoved is not None
    assert error < unmoved / 100


def test_what_moves_with_the_output_but_not_with_the_scene_is_seen(
    rng: np.random.Generator,
) -> None:
    """An output that jitters by a pixel: flow of the output itself explains it away."""
    scene = texture(rng, 160, 256)
    jittered = np.roll(scene, 2, axis=1)
    first, second = half_size(scene), half_size(jittered)
    by_truth = warping_error(first, second, measure_motion(first, first))
    by_output = warping_error(first, second, measure_motion(first, second))
    assert by_truth is not None
    assert by_output is not None
    assert by_truth > 20 * by_output


def test_jitter_is_a_distance_that_contrast_leaves_alone(rng: np.random.Generator) -> None:
    """A scene that is two pixels off, with three contrasts, and one that is darker alone."""
    scene = texture(rng, 160, 256)
    still = measure_motion(half_size(scene), half_size(scene))
    still.visible[:, :4] = False  # where the other end of the picture comes in
    for contrast in (0.4, 0.7, 1.0):
        low = (128 + contrast * (scene.astype(np.float32) - 128)).astype(np.uint8)
        first, second = half_size(low), half_size(np.roll(low, 2, axis=1))
        # Across slopes of all directions a step to the side counts by its cosine.
        assert jitter(first, second, still) == pytest.approx(2 / 2**0.5, rel=0.1)
    flat = [half_size(np.full((96, 128, 3), level, np.uint8)) for level in (100, 102)]
    assert jitter(*flat, measure_motion(*flat)) == pytest.approx(2 * 2, rel=1e-3)
    still.visible[:] = False
    assert jitter(first, second, still) is None


def test_motion_that_is_not_the_scene_s_is_measured_in_pixels(rng: np.random.Generator) -> None:
    """A pan of eight pixels, and an output that moves by twelve, or not at all."""
    first, second = map(half_size, pan(rng, 8))
    motion = measure_motion(first, second)
    assert flow_error(first, second, motion) == pytest.approx(0, abs=1e-5)
    scene = texture(rng, 160, 320)
    ahead = [half_size(np.ascontiguousarray(scene[:, at : at + 256])) for at in (0, 12)]
    assert flow_error(*ahead, motion) == pytest.approx(4, abs=0.3)
    assert flow_error(first, first, motion) == pytest.approx(8, abs=0.3)
    darker = [frame * np.float32(0.7) for frame in (first, second)]
    assert flow_error(*darker, motion) == pytest.approx(0, abs=0.3)
    motion.visible[:] = False
    assert flow_error(first, second, motion) is None


def test_covered_background_is_not_compared(rng: np.random.Generator) -> None:
    background, square = texture(rng, 192, 256), texture(rng, 64, 64)
    frames = []
    for left in (80, 92):
        frame = background.copy()
        frame[64:128, left : left + 64] = square
        frames.append(half_size(frame))
    motion = measure_motion(*frames)
    assert motion.flow[40:56, 48:64, 0] == pytest.approx(6, abs=0.3), "the square, at half size"
    covered = motion.visible[36:60, 73:77]  # behind the square in the second frame
    assert covered.mean() < 0.3
    assert motion.visible[:24].mean() > 0.9


def test_nothing_visible_gives_no_figure(rng: np.random.Generator) -> None:
    frame = half_size(texture(rng, 64, 64))
    motion = measure_motion(frame, frame)
    motion.visible[:] = False
    assert warping_error(frame, frame, motion) is None


def test_frame_difference_error_of_known_changes(rng: np.random.Generator) -> None:
    truth = rng.uniform(20, 230, (2, 16, 16)).astype(np.float32)
    offset = truth + np.float32(5)
    assert frame_difference_error(offset[1], offset[0], truth[1], truth[0]) == pytest.approx(
        0, abs=1e-4
    )
    assert frame_difference_error(
        truth[1] + np.float32(3), truth[0] - np.float32(3), truth[1], truth[0]
    ) == pytest.approx(6, abs=1e-4)
    frozen = frame_difference_error(truth[0], truth[0], truth[1], truth[0])
    assert frozen == pytest.approx(np.abs(truth[1] - truth[0]).mean(), rel=1e-5)


def test_frames_too_small_for_flow_are_refused() -> None:
    """OpenCV would crash the process on some."""
    small = np.zeros((FLOW_LEAST_PX - 1, 64, 3), np.float32)
    with pytest.raises(ValueError, match="64x15 pixels, flow needs 16"):
        measure_motion(small, small)
    with pytest.raises(ValueError, match="shapes differ"):
        measure_motion(np.zeros((64, 64, 3), np.float32), np.zeros((64, 66, 3), np.float32))


@pytest.mark.parametrize("size", [(16, 16), (16, 400), (400, 16), (17, 23), (31, 128)])
def test_the_least_sizes_do_not_crash(size: tuple[int, int], rng: np.random.Generator) -> None:
    first, second = rng.random((2, *size, 3), dtype=np.float32)
    assert np.isfinite(measure_motion(first, second).flow).all()


def test_without_opencv_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    frame = half_size(texture(rng, 64, 64))
    with pytest.raises(MissingPackageError, match=r"pip install 'adcvsr\[evaluate\]'"):
        measure_motion(frame, frame)


def test_half_size_is_the_mean_of_four(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    expected = image.reshape(3, 2, 4, 2, 3).mean((1, 3)) / 255
    assert half_size(image) == pytest.approx(expected, abs=1e-6)
