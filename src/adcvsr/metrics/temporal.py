"""What one frame cannot show: error that flickers, and pictures that do not move with the scene.

Motion is estimated by OpenCV's DIS flow (the extra `evaluate`), imported only when it is used.
Frames enter at half size, where flow is cheaper and pixel noise weighs less.

    first, second = half_size(truth[0]), half_size(truth[1])
    motion = measure_motion(first, second)
    warping_error(half_size(output[0]), half_size(output[1]), motion)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from ..errors import missing_package
from .planes import LUMA_WEIGHTS, Plane, halve, same_shape

OCCLUSION_SHARE, OCCLUSION_FLOOR_PX2 = 0.01, 0.5
"""Flow and flow back disagree where |f + b|² > share (|f|² + |b|²) + floor (Sundaram 2010)."""

BOUNDARY_SHARE, BOUNDARY_FLOOR = 0.01, 0.002
"""A motion boundary is where |∇u|² + |∇v|² > share (u² + v²) + floor (Sundaram 2010)."""

WARP_SCALE = 1000.0
"""The field reports the warping error in thousandths."""

LEAST_SLOPE = 1 / 255
"""Slopes of a picture count as at least one level a pixel, in each channel."""

HALVED = 2.0
"""Pixels that one of half size is of."""

FLOW_LEAST_PX = 16
"""Least side at half size: OpenCV 5.0 crashes on some frames of 8 to 15 pixels."""


@dataclass(frozen=True)
class Motion:
    """Where the pixels of a frame went in the next one, at half size."""

    flow: npt.NDArray[np.float32]
    """(H, W, 2): x and y in pixels, from the first frame to the second."""

    visible: npt.NDArray[np.bool_]
    """(H, W): seen in both frames, and not at a motion boundary."""


def half_size(image: Levels) -> Plane:
    """Means of 2x2 pixels, (H, W, 3) uint8 to (H/2, W/2, 3) float32 in [0, 1]."""
    half = halve(image.astype(np.float32))
    half /= np.float32(255)
    return half


def measure_motion(first: Plane, second: Plane) -> Motion:
    """Estimate flow both ways and what it can be trusted for.

    Args:
        first: (H, W, 3) as `half_size` gives it, at least `FLOW_LEAST_PX` a side.
        second: The next frame, the same shape.

    Returns:
        Flow from first to second, and the pixels where the flow back agrees with it.

    Raises:
        ValueError: The shapes differ or are too small.
        MissingPackageError: OpenCV is not installed.
    """
    same_shape(first, second)
    if min(first.shape[:2]) < FLOW_LEAST_PX:
        raise ValueError(f"{first.shape[1]}x{first.shape[0]} pixels, flow needs {FLOW_LEAST_PX}")
    forward, backward = _flow(first, second), _flow(second, first)
    returned, inside = _sample(backward, forward)
    gap = _squares(forward + returned)
    bound = OCCLUSION_SHARE * (_squares(forward) + _squares(returned)) + OCCLUSION_FLOOR_PX2
    return Motion(forward, inside & (gap <= bound) & ~_motion_boundary(forward))


def warping_error(first: Plane, second: Plane, motion: Motion) -> float | None:
    """How far the second frame, moved back onto the first, is from it.

    Lai et al. (2018) as EvalCrafter computes it: squared error summed over the channels, mean over
    the pixels visible in both frames, in thousandths.

    Args:
        first: (H, W, 3) in [0, 1], as `half_size` gives it.
        second: The next frame.
        motion: Between these frames, or between the frames of the truth.

    Returns:
        The error; None where no pixel is visible in both frames (a cut).
    """
    count = int(motion.visible.sum())
    if not count:
        return None
    warped, _ = _sample(second, motion.flow)
    error = _squares(warped - first)
    return WARP_SCALE * float(error[motion.visible].sum(dtype=np.float64)) / count


def jitter(first: Plane, second: Plane, motion: Motion) -> float | None:
    """The warping error as a distance: how far a picture seems to have moved from where it belongs.

    A picture that is off by d pixels across its slopes s is off by d s: so the root of the squared
    error over the squared slopes, both over the pixels visible in both frames. More contrast of the
    same motion raises the warping error and leaves this.

    Args:
        first: (H, W, 3) in [0, 1], as `half_size` gives it.
        second: The next frame.
        motion: Between these frames, or between the frames of the truth.

    Returns:
        Pixels of the full size; None where no pixel is visible in both frames (a cut).
    """
    error = warping_error(first, second, motion)
    if error is None:
        return None
    down: Plane = np.asarray(np.gradient(first, axis=0), np.float32)
    across: Plane = np.asarray(np.gradient(first, axis=1), np.float32)
    slopes = (_squares(down) + _squares(across))[motion.visible]
    least = first.shape[2] * LEAST_SLOPE**2
    return HALVED * float(np.sqrt(error / WARP_SCALE / max(float(slopes.mean()), least)))


def flow_error(first: Plane, second: Plane, motion: Motion) -> float | None:
    """How far an output's motion is from the truth's: tOF of Chu et al. (2020).

    Length of the difference of both flows, mean over the pixels that are visible in both frames of
    the truth.

    Args:
        first: (H, W, 3) in [0, 1], as `half_size` gives it, of the output.
        second: Its next frame.
        motion: Between the same frames of the truth.

    Returns:
        Pixels of the full size; None where no pixel is visible in both frames (a cut).
    """
    if not motion.visible.any():
        return None
    apart = np.sqrt(_squares(_flow(first, second) - motion.flow))
    return HALVED * float(apart[motion.visible].mean(dtype=np.float64))


def frame_difference_error(
    output: Plane, output_before: Plane, truth: Plane, truth_before: Plane
) -> float:
    """How far the change from frame to frame is from the truth's change: mean absolute, in levels.

    Args:
        output: (H, W) luma of a frame.
        output_before: Of the frame before it.
        truth: Of the same frame of the truth.
        truth_before: Of the frame before it.
    """
    # The difference of the changes is the change of the error.
    change = (output - truth) - (output_before - truth_before)
    return float(np.abs(change).mean(dtype=np.float64))


def require_opencv() -> None:
    """Check for what the motion needs.

    Raises:
        MissingPackageError: OpenCV is not installed.
    """
    try:
        import cv2  # noqa: F401 - asked for, not used
    except ImportError as error:
        raise missing_package("opencv-python-headless", "evaluate", "measuring motion") from error


def _flow(first: Plane, second: Plane) -> npt.NDArray[np.float32]:
    require_opencv()
    import cv2

    weights = np.array(LUMA_WEIGHTS, np.float32) * np.float32(255)
    grey = [(frame @ weights + np.float32(0.5)).astype(np.uint8) for frame in (first, second)]
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return np.asarray(estimator.calc(grey[0], grey[1], None), np.float32)  # type: ignore[call-overload]


def _sample(plane: Plane, flow: npt.NDArray[np.float32]) -> tuple[Plane, npt.NDArray[np.bool_]]:
    """Read (H, W, C) bilinearly where the flow leads, and say where that is inside the frame."""
    import cv2

    height, width = flow.shape[:2]
    x = flow[..., 0] + np.arange(width, dtype=np.float32)
    y = flow[..., 1] + np.arange(height, dtype=np.float32)[:, None]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    sampled = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32), inside


def _motion_boundary(flow: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where neighbouring pixels move apart: there the flow is a blend of two motions."""
    steps = np.zeros(flow.shape[:2], np.float32)
    steps[:, :-1] += _squares(np.diff(flow, axis=1))
    steps[:-1] += _squares(np.diff(flow, axis=0))
    apart: npt.NDArray[np.bool_] = steps > BOUNDARY_SHARE * _squares(flow) + BOUNDARY_FLOOR
    return apart


def _squares(vectors: Plane) -> Plane:
    """Squared length along the last axis."""
    lengths: Plane = np.einsum("...c,...c->...", vectors, vectors)
    return lengths
