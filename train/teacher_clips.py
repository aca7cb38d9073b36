"""The training data as a source of whole clips, for a teacher's cache.

    pairs = WholeClips(ClipPairs(...))
    pairs.pair(epoch, index).low  # (T, 3, h, w)

A cache keeps whole degraded clips; training cuts its crops out of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .data import ClipPairs
from .settings import read_data_settings
from .teachers.sample import Clip
from .teachers.teacher import clip_key


@dataclass(frozen=True)
class WholePair:
    """A whole degraded clip, not a crop."""

    low: Clip
    """(T, 3, h, w) uint8."""

    high: Clip
    """(T, 3, 4h, 4w) uint8."""

    key: str
    """`clip_key` of `low`."""


class WholeClips:
    """The degraded clips that a recipe's samples are cut from."""

    def __init__(self, pairs: ClipPairs) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        """Degraded clips of an epoch."""
        return len(self._pairs) // self._pairs.options.crops_per_clip

    def pair(self, epoch: int, index: int) -> WholePair:
        """Give one; a function of seed, epoch and index."""
        clip = self._pairs.whole(epoch, index)
        return WholePair(clip.low, clip.high, clip_key(clip.low))

    def trained_on(self) -> dict[str, int]:
        """Files the clips are of, by folder, see `Sources.trained_on`."""
        return self._pairs.sources.trained_on()


def open_pairs(
    config: str, clips: Sequence[Path], images: Sequence[Path], report: Callable[[str], None]
) -> tuple[WholeClips, dict[str, Any]]:
    """Read a recipe's clips, and the facts that decide them, for the cache's header.

    Raises:
        ConfigError: No such recipe, or one with mistakes.
        TrainingDataError: No usable file in the folders.
    """
    settings = read_data_settings(config)
    pairs = ClipPairs(
        clips, images, settings.data, settings.degradation, seed=settings.seed, report=report
    )
    whole = WholeClips(pairs)
    recipe = {
        "seed": settings.seed,
        "clips": len(whole),
        "data": asdict(settings.data),
        "degradation": asdict(settings.degradation),
    }
    return whole, recipe
