"""In which order an epoch visits its samples: mixed, yet so that few degraded clips are in use.

An epoch has `clips` degraded clips with `crops` samples each. Neighbouring positions belong to
different *lanes*; each lane works through one degraded clip after another, and the lanes begin at
different places, so that one clip is due now and then instead of all at once. The order depends on
neither batch, workers nor processes, and every sample comes exactly once an epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Place:
    """What a position of an epoch stands for."""

    lane: int
    """Who shares a degraded clip: positions of one lane visit clip after clip."""

    clip: int
    """Which degraded clip of the epoch, from 0."""

    crop: int
    """Which of its crops, from 0."""


def find_place(position: int, *, clips: int, crops: int, lanes: int, key: tuple[int, ...]) -> Place:
    """Find the sample at a position.

    Args:
        position: 0 to clips x crops - 1.
        clips: Degraded clips of the epoch.
        crops: Samples of each.
        lanes: Degraded clips in use at a time.
        key: Seed and epoch, which shuffle the clips.
    """
    lanes = min(lanes, clips)
    rounds = clips // lanes
    even = rounds * lanes * crops
    if position < even:
        step, lane = divmod(position, lanes)
        step = (step + lane * crops // lanes) % (rounds * crops)
        turn, crop = divmod(step, crops)
        slot = turn * lanes + lane
    else:  # the clips left over when the lanes do not divide them
        crop, lane = divmod(position - even, clips - rounds * lanes)
        slot = rounds * lanes + lane
    return Place(lane, int(shuffle(clips, key)[slot]), crop)


@lru_cache(maxsize=8)
def shuffle(length: int, key: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """A permutation of range(length) that the key decides."""
    return np.random.default_rng(key).permutation(length)
