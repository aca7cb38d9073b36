"""The sample kinds: the published table, and what each kind is made of."""

from __future__ import annotations

import numpy as np
import torch

from adcvsr.train.adversarial import LAST_KIND
from adcvsr.train.data import PairBatch
from adcvsr.train.samples import (
    LABELS,
    OF_PICTURES,
    OF_VIDEO,
    RealClips,
    RealMaterial,
    shuffled_order,
)


def test_the_published_table() -> None:
    assert {kind: (told.detail, told.consistency) for kind, told in LABELS.items()} == {
        "student": (-1, -1),
        "video": (0, +1),
        "shuffled": (0, -1),
        "still": (+1, +1),
        "crops": (+1, -1),
    }
    assert LABELS[LAST_KIND].detail
    assert LABELS[LAST_KIND].consistency


def test_arranged_from_frames() -> None:
    video = torch.arange(8).view(2, 4, 1, 1, 1)
    pictures = torch.cat([video[:, :1], video], 1) + 100
    orders = torch.tensor([[2, 0, 3, 1], [1, 3, 0, 2]])
    real = RealMaterial(video, pictures, orders)
    assert set(RealMaterial(video, None, orders).arrange()) == OF_VIDEO
    assert set(RealMaterial(None, pictures, orders).arrange()) == OF_PICTURES
    made = real.arrange()
    assert made["video"].flatten(1).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert made["shuffled"].flatten(1).tolist() == [[2, 0, 3, 1], [5, 7, 4, 6]]
    assert made["still"].flatten(1).tolist() == [[100] * 4, [104] * 4]
    assert made["crops"].flatten(1).tolist() == [[100, 101, 102, 103], [104, 105, 106, 107]]


def test_a_shuffled_clip_runs_neither_forwards_nor_backwards() -> None:
    rng = np.random.default_rng(0)
    orders = {tuple(shuffled_order(3, rng)) for _ in range(200)}
    assert orders == {(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1)}
    assert sorted(shuffled_order(25, rng)) == list(range(25))


class Numbered:
    """Batches whose frames hold the number of their global sample."""

    def __init__(self, batch: int, frames: int, index: int, processes: int) -> None:
        self.batch, self.frames = batch, frames
        self.index, self.processes, self.step = index, processes, 0

    def __iter__(self) -> Numbered:
        return self

    def __next__(self) -> PairBatch:
        first = (self.step * self.processes + self.index) * self.batch
        self.step += 1
        numbers = torch.arange(first, first + self.batch)
        high = numbers.view(-1, 1, 1, 1, 1).expand(-1, self.frames, 1, 1, 1)
        return PairBatch(high, high, tuple(map(str, numbers.tolist())))


def draws(batch: int, processes: int) -> list[list[torch.Tensor]]:
    """Two steps of all processes, put together."""
    made = []
    for index in range(processes):
        reals = RealClips(
            Numbered(batch, 4, index, processes),
            Numbered(batch * 5, 1, index, processes),
            frames=4,
            seed=0,
            first=batch * index,
            stride=batch * processes,
            start=0,
        )
        made.append([reals.next() for _ in range(2)])
    return [
        [
            torch.cat(parts)
            for parts in zip(
                *((*m.arrange().values(), m.orders) for m in step if m.video is not None),
                strict=True,
            )
        ]
        for step in zip(*made, strict=True)
    ]


def test_processes_share_what_one_process_draws() -> None:
    for one, two in zip(draws(4, 1), draws(2, 2), strict=True):
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a, b)
    video, _, still, crops, _ = draws(1, 1)[1]
    assert video[0, 0].item() == 1
    assert still[0, 0].item() == 5
    assert crops.flatten().tolist() == [6, 7, 8, 9]


def test_a_resumed_run_draws_the_same_orders() -> None:
    whole = draws(2, 1)[1][4]
    resumed = RealClips(
        Numbered(2, 4, 0, 1), Numbered(10, 1, 0, 1), frames=4, seed=0, first=0, stride=2, start=1
    )
    assert torch.equal(resumed.next().orders, whole)


def test_only_what_a_step_shows_is_drawn() -> None:
    videos, pictures = Numbered(2, 4, 0, 1), Numbered(10, 1, 0, 1)
    reals = RealClips(videos, pictures, frames=4, seed=0, first=0, stride=2, start=0)
    assert reals.next(["student"]).arrange() == {}
    assert set(reals.next(["shuffled"]).arrange()) == OF_VIDEO
    assert (videos.step, pictures.step) == (1, 0)
    assert set(reals.next(["crops"]).arrange()) == OF_PICTURES
    assert (videos.step, pictures.step, reals.draw) == (1, 1, 3)
