"""Batches: one order, however many workers and processes make them, from any step on."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from adcvsr.errors import TrainingDataError, TrainingWorkerError
from adcvsr.pictures.clips import write_clip, write_png
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.data import ClipPair, ClipPairs, DataOptions, PairBatch, PairLoader, Pairs
from adcvsr.train.data.lines import Lines
from adcvsr.train.degradation.presets import PRESETS


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ClipPairs:
    """24 samples an epoch: 8 degraded clips, 3 crops of each."""
    folder = tmp_path_factory.mktemp("data")
    write_clip(folder / "a.mp4", draw_clip(12, 64, 96))
    for index, image in enumerate(draw_clip(2, 96, 128)):
        write_png(folder / f"{index}.png", image)
    options = DataOptions(
        frames=2, patch_px=8, segments_per_clip=4, crops_per_clip=3, clips_at_once=4, pan_px=2
    )
    return ClipPairs([folder], [folder], options, PRESETS["camera"], seed=0, report=print)


def take(pairs: Pairs, count: int, **options: int) -> list[PairBatch]:
    return list(itertools.islice(PairLoader(pairs, **{"batch": 4, **options}), count))


def same(a: PairBatch, b: PairBatch) -> bool:
    return a.keys == b.keys and torch.equal(a.low, b.low) and torch.equal(a.high, b.high)


@pytest.fixture(scope="module")
def expected(pairs: ClipPairs) -> list[PairBatch]:
    """Nine steps from the first on, across the end of an epoch (six steps)."""
    return take(pairs, 9)


def test_a_batch_is_its_samples_in_order(pairs: ClipPairs, expected: list[PairBatch]) -> None:
    places = [(0, 20), (0, 21), (0, 22), (0, 23), (1, 0), (1, 1), (1, 2), (1, 3)]
    samples = [pairs.pair(*place) for place in places]
    for batch, part in ((expected[5], samples[:4]), (expected[6], samples[4:])):
        assert batch.keys == tuple(sample.key for sample in part)
        assert torch.equal(batch.low, torch.stack([sample.low for sample in part]))
        assert torch.equal(batch.high, torch.stack([sample.high for sample in part]))
        assert batch.teacher is None
    assert len({key for batch in expected[:6] for key in batch.keys}) > 20


def test_steps_that_nobody_wants_are_not_made(pairs: ClipPairs, expected: list[PairBatch]) -> None:
    loader = PairLoader(pairs, batch=4, start_step=1, wanted=lambda step: step % 3 == 0)
    assert all(map(same, itertools.islice(loader, 2), (expected[3], expected[6])))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(pairs: ClipPairs, expected: list[PairBatch], workers: int) -> None:
    found = take(pairs, 9, workers=workers)
    assert all(same(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_goes_on_in_the_middle_of_an_epoch(
    pairs: ClipPairs, expected: list[PairBatch], workers: int
) -> None:
    found = take(pairs, 5, start_step=4, workers=workers)
    assert all(same(a, b) for a, b in zip(found, expected[4:], strict=True))


def test_two_processes_share_the_batch_of_one_twice_as_large(
    pairs: ClipPairs, expected: list[PairBatch]
) -> None:
    halves = [take(pairs, 9, batch=2, process_index=p, num_processes=2) for p in (0, 1)]
    for first, second, whole in zip(*halves, expected, strict=True):
        assert first.keys + second.keys == whole.keys
        assert torch.equal(torch.cat([first.low, second.low]), whole.low)


def test_it_is_an_iterator_that_goes_on(pairs: ClipPairs, expected: list[PairBatch]) -> None:
    loader = PairLoader(pairs, batch=4)
    assert iter(loader) is loader
    for step in range(3):
        assert same(next(loader), expected[step])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_trainings_random_numbers_are_left_alone(pairs: ClipPairs, workers: int) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    take(pairs, 2, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


@dataclass
class FakePairs:
    """Says in the key who made a sample; may carry a teacher's clip, or fail."""

    lanes: int = 4
    taught: bool = False
    error: Exception | None = None
    lines: Lines = field(default_factory=lambda: Lines(print))

    def __len__(self) -> int:
        return 40

    def pair(self, epoch: int, index: int) -> ClipPair:
        if self.error is not None:
            raise self.error
        clip = torch.full((1, 3, 2, 2), index, dtype=torch.uint8)
        key = f"{self.lane(index)}:{os.getpid()}"
        return ClipPair(clip, clip, key, clip + 1 if self.taught else None)

    def lane(self, index: int) -> int:
        return index // 10 % self.lanes


def test_samples_that_share_a_clip_are_made_by_one_worker() -> None:
    made = [key.split(":") for batch in take(FakePairs(), 10, workers=2) for key in batch.keys]
    workers = {lane: {pid for other, pid in made if other == lane} for lane, _ in made}
    assert [len(pids) for pids in workers.values()] == [1, 1, 1, 1]
    assert len(set.union(*workers.values())) == 2
    assert str(os.getpid()) not in set.union(*workers.values())


@pytest.mark.parametrize("workers", [0, 2])
def test_teachers_clips_come_along(workers: int) -> None:
    for batch in take(FakePairs(taught=True), 3, workers=workers):
        assert batch.teacher is not None
        assert torch.equal(batch.teacher, batch.high + 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_workers_error_is_ours_and_one_line(workers: int) -> None:
    with pytest.raises(TrainingDataError) as caught:
        take(FakePairs(error=TrainingDataError("the disk is gone")), 1, workers=workers)
    assert str(caught.value) == "the disk is gone"


def test_a_workers_system_error_is_one_line() -> None:
    with pytest.raises(TrainingWorkerError) as caught:
        take(FakePairs(error=OSError(24, "Too many open files")), 1, workers=1)
    assert str(caught.value) == "cannot make a training sample: [Errno 24] Too many open files"


def test_a_file_met_by_two_workers_is_named_once(tmp_path: Path) -> None:
    """And by this process: a worker that wrote could wait for a lock that it was forked with."""
    write_clip(tmp_path / "a.mp4", draw_clip(4, 64, 96))
    (tmp_path / "b.mp4").write_bytes(b"nothing")
    options = DataOptions(frames=2, patch_px=8, segments_per_clip=6, crops_per_clip=1)
    lines: list[str] = []
    pairs = ClipPairs([tmp_path], [], options, PRESETS["bicubic"], seed=0, report=lines.append)
    assert pairs.count_skipped() == ""
    take(pairs, 6, workers=2)
    (line,) = lines
    assert line.startswith(f"skipped '{tmp_path / 'b.mp4'}': ")
    assert pairs.count_skipped() == "1 of 2 files could not be used; each was named above"
