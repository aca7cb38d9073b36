"""Batches for the stages: an endless stream that any step of any process can be read from.

pairs = ClipPairs([clips], [images], DataOptions(), Degradation(), seed=0, report=print)
for batch in PairLoader(pairs, batch=8, start_step=state.step):
    ...
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .data import PairPool
from .data import PoolOptions as DataOptions
from .degradation import Degradation

__all__ = ["ClipPairs", "DataOptions", "PairBatch", "PairLoader"]

CROPS_PER_CLIP = 1000
"""Samples an epoch cuts from every degraded clip."""


@dataclass(frozen=True)
class PairBatch:
    """The samples of one step on one process."""

    low: Tensor
    """(N, T, 3, h, w) uint8 RGB, the student's input."""

    high: Tensor
    """(N, T, 3, 4h, 4w) uint8 RGB, the truth."""

    keys: tuple[str, ...]
    """Each clip's name."""

    teacher: Tensor | None = None
    """(N, T, 3, 4h, 4w) uint8 RGB, the teacher's output where it was cached."""


class ClipPairs:
    """The samples of a pool in memory; see PairPool for the arguments."""

    def __init__(
        self,
        clips: Sequence[Path],
        images: Sequence[Path],
        options: DataOptions,
        degradation: Degradation,
        *,
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self._pool = PairPool(clips, images, options, degradation, seed=seed, report=report)
        self._epoch = -1

    def __len__(self) -> int:
        """Samples of an epoch."""
        return len(self._pool) * CROPS_PER_CLIP

    def summary(self) -> str:
        """Say in a line what there is to train on."""
        return f"{len(self._pool)} clips and images in memory ({self._pool.bytes / 2**30:.2f} GiB)"

    def sample(self, index: int) -> tuple[Tensor, Tensor]:
        """The global sample of that index: low (1, T, 3, h, w) and high (1, T, 3, 4h, 4w)."""
        epoch = index // len(self)
        if epoch != self._epoch:
            self._pool.draw_epoch(epoch)
            self._epoch = epoch
        return self._pool.batch(index, 1)


class PairLoader:
    """Endless and deterministic: step s is the global samples [s*N*P, (s+1)*N*P).

    Args:
        pairs: Where the samples come from.
        batch: N.
        start_step: First step to give.
        workers: Processes that prepare batches; a pool in memory needs none.
        process_index: Which slice of every step is this process's.
        num_processes: P.
    """

    def __init__(
        self,
        pairs: ClipPairs,
        *,
        batch: int,
        start_step: int = 0,
        workers: int = 0,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        self.pairs, self.batch, self.step = pairs, batch, start_step
        self.process_index, self.num_processes = process_index, num_processes

    def __iter__(self) -> Iterator[PairBatch]:
        """Itself."""
        return self

    def __next__(self) -> PairBatch:
        """The next step's batch."""
        first = (self.step * self.num_processes + self.process_index) * self.batch
        self.step += 1
        samples = [self.pairs.sample(index) for index in range(first, first + self.batch)]
        low, high = (torch.cat(side) for side in zip(*samples, strict=True))
        return PairBatch(low, high, tuple(str(first + i) for i in range(self.batch)))
