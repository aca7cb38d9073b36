"""The training pool as a source of whole clips, for a teacher's cache.

    pairs = PoolPairs(pool)
    pairs.pair(epoch, index).low  # (T, 3, h, w)

A cache keeps whole clips; training cuts its crops out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data import PairPool
from .settings import read_settings
from .teachers import clip_key
from .teachers_sample import Clip


@dataclass(frozen=True)
class PoolPair:
    """A whole clip of the pool, not a crop."""

    low: Clip
    """(T, 3, h, w) uint8."""

    high: Clip
    """(T, 3, 4h, 4w) uint8."""

    key: str
    """`clip_key` of `low`."""


class PoolPairs:
    """Pairs of a pool, one a clip or image; each epoch degrades all anew."""

    def __init__(self, pool: PairPool) -> None:
        self._pool, self._epoch = pool, -1

    def __len__(self) -> int:
        """Clips and images."""
        return len(self._pool)

    def pair(self, epoch: int, index: int) -> PoolPair:
        """Give one pair; a function of the pool's seed, epoch and index."""
        if epoch != self._epoch:
            self._pool.draw_epoch(epoch)
            self._epoch = epoch
        pair = self._pool._pairs[index]
        low, high = (np.ascontiguousarray(c.transpose(0, 3, 1, 2)) for c in (pair.low, pair.high))
        return PoolPair(low, high, clip_key(low))


def open_pairs(
    config: str, clips: Sequence[Path], images: Sequence[Path], report: Callable[[str], None]
) -> tuple[PoolPairs, dict[str, Any]]:
    """Read a recipe's pairs, and the facts that decide them, for the cache's header.

    Raises:
        ConfigError: No such recipe, or one with mistakes.
        TrainingDataError: No usable file in the folders.
    """
    settings = read_settings(config)
    pool = PairPool(
        clips, images, settings.pool, settings.degradation, seed=settings.seed, report=report
    )
    recipe = {
        "seed": settings.seed,
        "clips": len(pool),
        "pool": asdict(settings.pool),
        "degradation": asdict(settings.degradation),
    }
    return PoolPairs(pool), recipe
