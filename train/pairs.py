"""Batches for the stages: an endless stream that any step of any process can be read from.

loader = PairLoader(pairs, batch=8, start_step=state.step)
batch = next(loader)  # low (N, T, 3, h, w), high (N, T, 3, 4h, 4w)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .data import PairPool, PoolOptions
from .degradation import Degradation


@dataclass(frozen=True)
class PairBatch:
    """Clips of one step and process."""

    low: Tensor
    """(N, T, 3, h, w) uint8, the student's input."""

    high: Tensor
    """(N, T, 3, 4h, 4w) uint8, the truth."""

    keys: tuple[str, ...]
    """One name a clip, of its global sample."""

    teacher: Tensor | None = None
    """(N, T, 3, 4h, 4w) uint8, the teacher's output where it was cached."""


@dataclass
class Pairs:
    """The pool, drawn anew every so many samples."""

    pool: PairPool
    samples_per_epoch: int
    epoch: int = -1

    def sample(self, index: int) -> tuple[Tensor, Tensor]:
        """The global sample of that index: low (1, T, 3, h, w) and high (1, T, 3, 4h, 4w)."""
        epoch = index // self.samples_per_epoch
        if epoch != self.epoch:
            self.pool.draw_epoch(epoch)
            self.epoch = epoch
        return self.pool.batch(index, 1)


def open_pairs(
    clips: Sequence[Path],
    images: Sequence[Path],
    options: PoolOptions,
    degradation: Degradation,
    *,
    seed: int,
    samples_per_epoch: int,
    report: Callable[[str], None],
) -> Pairs:
    """Read the folders into memory; see PairPool."""
    pool = PairPool(clips, images, options, degradation, seed=seed, report=report)
    return Pairs(pool, samples_per_epoch)


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
        pairs: Pairs,
        *,
        batch: int,
        start_step: int = 0,
        workers: int = 0,
        process_index: int = 0,
        num_processes: int = 1,
    ) -> None:
        self.pairs, self.batch = pairs, batch
        self.step = start_step
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
