"""Batches of training samples, made ahead by worker processes, in one order however many there are.

for batch in PairLoader(pairs, batch=8, start_step=state.step, workers=2):
    ...
"""

from __future__ import annotations

import itertools
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import active_children
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ...errors import AdcVsrError, TrainingWorkerError
from .lines import Lines
from .pairs import ClipPair
from .workers import Workers

STEPS_AHEAD = 8
"""Batches each worker may be ahead: time to decode and degrade the next clip while crops of the
others are used. 8 batches of 8 clips of 6x192x192 are 43 MB."""


class Pairs(Protocol):
    """Samples by epoch and index, in an order of their own that differs between epochs."""

    def __len__(self) -> int:
        """Samples of an epoch."""
        ...

    def pair(self, epoch: int, index: int) -> ClipPair:
        """Make a sample; the same arguments give the same sample in every process."""
        ...


@runtime_checkable
class SharedPairs(Pairs, Protocol):
    """Samples some of which share work, best done in one process; they have lines to show."""

    lines: Lines

    def lane(self, index: int) -> int:
        """Samples of the same lane share work."""
        ...


@dataclass(frozen=True)
class PairBatch:
    """The samples of one step on one process."""

    low: Tensor
    """(N, T, 3, h, w) uint8 RGB."""

    high: Tensor
    """(N, T, 3, 4h, 4w) uint8 RGB."""

    keys: tuple[str, ...]
    """Each clip's name in a teacher cache."""

    teacher: Tensor | None = None
    """(N, T, 3, 4h, 4w) uint8 RGB, where the pairs come from a teacher cache."""


class PairLoader:
    """Endless batches from a step on.

    With P processes and N samples a batch, step s takes the samples s N P to (s + 1) N P - 1 of all
    epochs in a row, and process p the p-th N of them: what is trained on does not depend on how the
    batch is shared out, and a resumed run goes on where it stopped.

    Args:
        pairs: The samples.
        batch: N, samples a step on this process.
        start_step: The first step.
        workers: Processes that make samples; 0 makes them here, while the network waits.
        process_index: p.
        num_processes: P.
        wanted: Whether a step's batch is; the others are not made, and `next` gives the next one
            that is.
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
        wanted: Callable[[int], bool] | None = None,
    ) -> None:
        self._wanted = wanted
        self._work = _Work(pairs, batch, max(workers, 1), process_index, num_processes)
        self._start_step, self._num_workers = start_step, workers
        self._parts: Iterator[_Part] | None = None
        self._workers = Workers([])

    def __iter__(self) -> Iterator[PairBatch]:
        """Itself: it goes on where it is."""
        return self

    def __next__(self) -> PairBatch:
        """Give the next step's batch; the first call starts the workers, which live as long as it.

        Raises:
            AdcVsrError: What a worker met, such as data that is gone.
            TrainingWorkerError: A worker died or stands still.
            RuntimeError: A worker died; torch raises it wherever the process is, see
                `worker_failure`.
        """
        if self._parts is None:
            others = active_children()
            self._parts = self._start()
            self._workers = Workers([p for p in active_children() if p not in others])
        return _join([self._take() for _ in range(self._work.workers)])

    def _take(self) -> _Part:
        """The next part, its lines shown."""
        assert self._parts is not None
        part = self._workers.take(self._parts)
        for line in part.lines:
            self._work.lines(line)
        if part.error is not None:
            raise part.error
        return part

    def _start(self) -> Iterator[_Part]:
        loader: DataLoader[_Part] = DataLoader(
            self._work,
            batch_size=None,
            sampler=_Tasks(self._start_step, self._work.workers, self._wanted),
            num_workers=self._num_workers,
            prefetch_factor=STEPS_AHEAD if self._num_workers else None,
            # Its own generator: the default one would draw from the training's random numbers.
            generator=torch.Generator(),
            # Forked workers share the decoded sources; nothing of them touches a GPU.
            multiprocessing_context="fork" if self._num_workers else None,
            worker_init_fn=_leave_signals,
        )
        with warnings.catch_warnings():
            # Python 3.12 warns of forking beside threads: torch's are idle, and a worker never
            # waits for one of them.
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            return iter(loader)


def _leave_signals(worker: int) -> None:
    """Signals for all of a terminal's or torchrun's processes: the first one decides when to stop.

    One that dies otherwise takes its workers along: they look for it every few seconds.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@dataclass(frozen=True)
class _Part:
    """The samples of a step that one worker made."""

    slots: tuple[int, ...]
    """Their places in the batch."""

    batch: PairBatch | None
    """None where the worker had none."""

    error: AdcVsrError | None = None

    lines: tuple[str, ...] = ()
    """To be shown by who takes the part."""


class _Tasks(Sampler[tuple[int, int]]):
    """Wanted step and worker of each task, forever; the loader hands them out in turn."""

    def __init__(
        self, start_step: int, workers: int, wanted: Callable[[int], bool] | None = None
    ) -> None:
        self._start_step, self._workers, self._wanted = start_step, workers, wanted

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for step in itertools.count(self._start_step):
            if self._wanted is None or self._wanted(step):
                yield from ((step, worker) for worker in range(self._workers))


class _Work(Dataset[_Part]):
    """What a worker does for a step: the samples of the lanes that are its own."""

    def __init__(
        self, pairs: Pairs, batch: int, workers: int, process_index: int, num_processes: int
    ) -> None:
        self.workers = workers
        self._pairs, self._batch = pairs, batch
        self._process_index, self._num_processes = process_index, num_processes
        self.lines = pairs.lines if isinstance(pairs, SharedPairs) else Lines(print)

    def __getitem__(self, task: tuple[int, int]) -> _Part:
        step, worker = task
        first = (step * self._num_processes + self._process_index) * self._batch
        places = [divmod(first + slot, len(self._pairs)) for slot in range(self._batch)]
        slots = [slot for slot, (_, index) in enumerate(places) if self._worker(index) == worker]
        try:
            samples = [self._pairs.pair(*places[slot]) for slot in slots]
        except AdcVsrError as error:  # as a value: the loader would wrap it in a traceback
            return _Part((), None, error, self.lines.take())
        except (OSError, MemoryError) as error:
            failed = TrainingWorkerError(
                f"cannot make a training sample: {error or 'out of memory'}"
            )
            return _Part((), None, failed, self.lines.take())
        return _Part(tuple(slots), _stack(samples) if samples else None, lines=self.lines.take())

    def _worker(self, index: int) -> int:
        lane = self._pairs.lane(index) if isinstance(self._pairs, SharedPairs) else index
        return lane % self.workers


def _stack(samples: list[ClipPair]) -> PairBatch:
    teachers = [sample.teacher for sample in samples if sample.teacher is not None]
    return PairBatch(
        torch.stack([sample.low for sample in samples]),
        torch.stack([sample.high for sample in samples]),
        tuple(sample.key for sample in samples),
        torch.stack(teachers) if teachers else None,
    )


def _join(parts: list[_Part]) -> PairBatch:
    """Put the workers' samples back into the batch's order."""
    made = [part for part in parts if part.batch is not None]
    if len(made) == 1 and made[0].batch is not None:
        return made[0].batch
    batches = [part.batch for part in made if part.batch is not None]
    order = torch.tensor([slot for part in made for slot in part.slots]).argsort()
    keys = [key for batch in batches for key in batch.keys]
    teachers = [batch.teacher for batch in batches if batch.teacher is not None]
    return PairBatch(
        torch.cat([batch.low for batch in batches])[order],
        torch.cat([batch.high for batch in batches])[order],
        tuple(keys[index] for index in order.tolist()),
        torch.cat(teachers)[order] if teachers else None,
    )
