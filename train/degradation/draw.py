"""Draws every degradation shares: ranges, weighted choices, and parameters that drift over a clip.

RealBasicVSR lets a clip's parameters walk from frame to frame, as focus, gain and rate control do
in a real camera; a single draw a clip would teach a network that they never change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from ...config import nearest
from ...errors import ConfigError

Range = tuple[float, float]
"""Lowest and highest value, drawn from uniformly."""


def draw_walk(
    rng: np.random.Generator,
    limits: Range,
    step: float,
    frames: int,
    *,
    start: float | None = None,
) -> npt.NDArray[np.float64]:
    """Draw a parameter for each frame of a clip.

    Args:
        rng: Decides the draws.
        limits: The walk never leaves them.
        step: Largest change from one frame to the next; 0 keeps the first value.
        frames: T.
        start: The first value; drawn uniformly between the limits where None.

    Returns:
        (T,) values.
    """
    value = rng.uniform(*limits) if start is None else start
    changes = rng.uniform(-step, step, frames)
    values = np.empty(frames)
    for index in range(frames):
        values[index] = value
        value = min(max(value + changes[index], limits[0]), limits[1])
    return values


def draw_kind(rng: np.random.Generator, weights: Mapping[str, float]) -> str:
    """Draw a name in proportion to its weight."""
    names = list(weights)
    shares = np.array([weights[name] for name in names])
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def check_range(name: str, limits: Range, least: float = 0.0, most: float = math.inf) -> None:
    """Check that a range is one and lies where it has a meaning.

    Raises:
        ConfigError: It does not.
    """
    if len(limits) != 2 or not least <= limits[0] <= limits[1] <= most:
        bound = f" <= {most:g}" if most < math.inf else ""
        raise ConfigError(
            f"{name}={list(limits)}, expected [low, high] with {least:g} <= low <= high{bound}"
        )


def check_share(name: str, share: float) -> None:
    """Check that a value is a share.

    Raises:
        ConfigError: It is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"{name}={share}, expected a share in [0, 1]")


def check_steps(**steps: float) -> None:
    """Check that drifts are not negative.

    Raises:
        ConfigError: One is; 0 is no drift.
    """
    for name, step in steps.items():
        if step < 0:
            raise ConfigError(f"{name}={step}, expected 0 (no drift) or more")


def check_weights(name: str, weights: Mapping[str, float], known: tuple[str, ...]) -> None:
    """Check that weights name known things and that something can be drawn.

    Raises:
        ConfigError: An unknown name (the nearest one is given), a negative weight, or no positive.
    """
    for key, weight in weights.items():
        if key not in known:
            raise ConfigError(f"{name}: no '{key}'{nearest(key, dict.fromkeys(known))}")
        if not isinstance(weight, int | float) or weight < 0:
            raise ConfigError(f"{name}: weight {weight!r} of '{key}', expected 0 or more")
    if not sum(weights.values()) > 0:
        raise ConfigError(f"{name}={dict(weights)}, expected at least one weight above 0")
