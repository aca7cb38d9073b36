"""FLIP: how different two pictures look when one flips between them on a screen.

Andersson et al., "FLIP: A Difference Evaluator for Alternating Images", HPG 2020, for pictures of 8
bits on an sRGB screen. Colours are compared as an eye at a stated distance blends them, edges and
points that only one picture has weigh more.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..arrays import Levels
from .colour_shift import lab_of_light, linear_light, xyz_of_light
from .planes import Plane, filter_same, require_side

PIXELS_PER_DEGREE = 67.0
"""At 0.7 m from a screen 0.7 m wide of 3840 pixels: the authors' choice."""

FLIP_LEAST_PX = 16
"""Least side."""

_COLOUR_EXPONENT, _FEATURE_EXPONENT = 0.7, 0.5
_COLOUR_EDGE, _COLOUR_LEVEL = 0.4, 0.95
"""The largest colour differences are squeezed: those over 0.4 of the maximum into the last 0.05."""

_FEATURE_WIDTH_DEGREES = 0.082

# Contrast sensitivity of an opponent colour as one or two Gaussians (a, b): a sqrt(pi/b)
# exp(-pi^2 x^2 / b), x in degrees.
_SENSITIVITY: tuple[tuple[tuple[float, float], ...], ...] = (
    ((1.0, 0.0047),),
    ((1.0, 0.0053),),
    ((34.1, 0.04), (13.5, 0.025)),
)
"""Of achromatic, red-green and blue-yellow."""


def flip(output: Levels, truth: Levels, pixels_per_degree: float = PIXELS_PER_DEGREE) -> float:
    """Mean FLIP of two pictures in [0, 1]; 0 when equal, lower is better.

    Args:
        output: (H, W, 3) uint8 RGB, sRGB; `FLIP_LEAST_PX` a side or more.
        truth: The same shape.
        pixels_per_degree: How far away the viewer is, as pixels a degree of his field of view.

    Raises:
        ValueError: The shapes differ, or a side is too small.
    """
    require_side(output, truth, FLIP_LEAST_PX)
    colours = _colour_difference(output, truth, pixels_per_degree)
    features = _feature_difference(output, truth, pixels_per_degree)
    return float((colours ** (1 - features)).mean(dtype=np.float64))


def _colour_difference(output: Levels, truth: Levels, pixels_per_degree: float) -> Plane:
    first, second = (_seen(each, pixels_per_degree) for each in (truth, output))
    difference = _hyab(first, second) ** _COLOUR_EXPONENT
    most = _most() ** _COLOUR_EXPONENT
    edge = _COLOUR_EDGE * most
    low = difference * (_COLOUR_LEVEL / edge)
    high = _COLOUR_LEVEL + (difference - edge) / (most - edge) * (1 - _COLOUR_LEVEL)
    squeezed: Plane = np.where(difference < edge, low, high).astype(np.float32)
    return squeezed.clip(0, 1)


def _seen(image: Levels, pixels_per_degree: float) -> npt.NDArray[np.float64]:
    """A picture as an eye blends it, in Hunt-adjusted L*a*b*: (H, W, 3)."""
    opponents = _opponents(linear_light(image))
    blended = np.stack(
        [_blended(opponents[..., channel], channel, pixels_per_degree) for channel in range(3)],
        axis=-1,
    )
    return _hunt(lab_of_light(_light_of_opponents(blended).clip(0, 1)))


def _hunt(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Colours fade as they darken."""
    adjusted: npt.NDArray[np.float64] = lab.copy()
    adjusted[..., 1:] *= 0.01 * lab[..., :1]
    return adjusted


def _hyab(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Plane:
    """City-block in lightness, Euclidean in colour."""
    apart = first - second
    distance: Plane = (np.abs(apart[..., 0]) + np.hypot(apart[..., 1], apart[..., 2])).astype(
        np.float32
    )
    return distance


@lru_cache(maxsize=1)
def _most() -> float:
    """The largest difference there is, that of green and blue."""
    ends = _hunt(lab_of_light(np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])))
    return float(_hyab(ends[0], ends[1]))


def _opponents(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Linear light to YyCxCz, which is linear in it as L*a*b* is not."""
    x, y, z = np.moveaxis(xyz_of_light(light), -1, 0)
    opponents: npt.NDArray[np.float64] = np.stack(
        [116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1
    )
    return opponents


def _light_of_opponents(opponents: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lightness, red_green, blue_yellow = np.moveaxis(opponents, -1, 0)
    y = (lightness + 16) / 116
    xyz = np.stack([y + red_green / 500, y, y - blue_yellow / 200], axis=-1)
    light: npt.NDArray[np.float64] = xyz @ _inverse().T
    return light


@lru_cache(maxsize=1)
def _inverse() -> npt.NDArray[np.float64]:
    """From XYZ over white back to linear light."""
    return np.linalg.inv(xyz_of_light(np.eye(3)).T)


def _blended(
    plane: npt.NDArray[np.float64], channel: int, pixels_per_degree: float
) -> npt.NDArray[np.float64]:
    """One opponent colour through its contrast sensitivity, edges repeated."""
    taps = _sensitivity_taps(channel, pixels_per_degree)
    blended = np.zeros(plane.shape)
    for weight, kernel in taps:
        blended += weight * filter_same(plane.astype(np.float32), kernel, kernel, repeat_edges=True)
    return blended


@lru_cache(maxsize=8)
def _sensitivity_taps(
    channel: int, pixels_per_degree: float
) -> tuple[tuple[float, npt.NDArray[np.float64]], ...]:
    """Separable parts of a filter of sum 1: their weights, and taps of sum 1."""
    widest = max(b for terms in _SENSITIVITY for _, b in terms)
    radius = math.ceil(3 * math.sqrt(widest / (2 * math.pi**2)) * pixels_per_degree)
    x = np.arange(-radius, radius + 1) / pixels_per_degree
    parts = []
    for a, b in _SENSITIVITY[channel]:
        taps = np.exp(-(math.pi**2) * x**2 / b)
        parts.append((a * math.sqrt(math.pi / b) * taps.sum() ** 2, taps / taps.sum()))
    total = sum(weight for weight, _ in parts)
    return tuple((weight / total, taps) for weight, taps in parts)


def _feature_difference(output: Levels, truth: Levels, pixels_per_degree: float) -> Plane:
    edges, points = _feature_taps(pixels_per_degree)
    found = []
    for image in (truth, output):
        lightness = (_opponents(linear_light(image))[..., 0] + 16) / 116
        plane = lightness.astype(np.float32)
        smooth = edges[0]
        found.append(
            [
                np.hypot(
                    filter_same(plane, smooth, taps, repeat_edges=True),
                    filter_same(plane, taps, smooth, repeat_edges=True),
                )
                for taps in (edges[1], points)
            ]
        )
    (edge1, point1), (edge2, point2) = found
    apart = np.maximum(np.abs(edge1 - edge2), np.abs(point1 - point2))
    difference: Plane = (apart / math.sqrt(2)) ** _FEATURE_EXPONENT
    return difference.clip(0, 1)


@lru_cache(maxsize=4)
def _feature_taps(
    pixels_per_degree: float,
) -> tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]:
    """The Gaussian and its first derivative, and its second.

    What is positive and what is negative in a derivative sums to 1 each.
    """
    deviation = 0.5 * _FEATURE_WIDTH_DEGREES * pixels_per_degree
    radius = math.ceil(3 * deviation)
    x = np.arange(-radius, radius + 1, dtype=np.float64)
    gauss = np.exp(-(x**2) / (2 * deviation**2))
    second = (x**2 / deviation**2 - 1) * gauss
    return (gauss / gauss.sum(), _balanced(-x * gauss)), _balanced(second)


def _balanced(taps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    positive, negative = taps[taps > 0].sum(), -taps[taps < 0].sum()
    balanced: npt.NDArray[np.float64] = np.where(taps > 0, taps / positive, taps / negative)
    return balanced
