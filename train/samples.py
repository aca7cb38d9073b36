"""What the discriminators are shown, and which head is told what (arXiv 2603.00458, equation 5).

Five kinds of clips take detail and consistency apart: a still repeated has detail and perfect
consistency, unrelated crops have detail and none. A label of 0 gives a head no gradient.

    reals.next().arrange()  # {"video": (N, T, 3, H, W), "shuffled": ..., ...}
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from .data import PairBatch

SampleKind = Literal["student", "video", "shuffled", "still", "crops"]

Heads = Literal["both", "detail"]
"""Heads of the discriminators that count."""

HeadWeights = Literal["maps", "equal"]
"""How much each counts when the discriminators learn."""


@dataclass(frozen=True)
class Labels:
    """What each head is told: +1 real, -1 fake, 0 nothing."""

    detail: Literal[-1, 0, 1]
    consistency: Literal[-1, 0, 1]


LABELS: dict[SampleKind, Labels] = {
    "student": Labels(detail=-1, consistency=-1),
    # Real video is consistent, but too often blurred or compressed to teach detail.
    "video": Labels(detail=0, consistency=1),
    "shuffled": Labels(detail=0, consistency=-1),
    "still": Labels(detail=1, consistency=1),
    "crops": Labels(detail=1, consistency=-1),
}
"""The published table."""


def kinds_of_step(step: int, count: int, heads: Heads = "both") -> list[SampleKind]:
    """Which kinds the discriminators see in a step; over the steps all of them, equally often.

    Args:
        step: Steps done before.
        count: Kinds a step.
        heads: Those that count; a kind that tells them nothing is left out.
    """
    kinds: list[SampleKind] = [
        kind for kind, labels in LABELS.items() if heads == "both" or labels.detail
    ]
    count = min(count, len(kinds))
    return [kinds[(step * count + index) % len(kinds)] for index in range(count)]


OF_VIDEO: frozenset[SampleKind] = frozenset({"video", "shuffled"})
OF_PICTURES: frozenset[SampleKind] = frozenset({"still", "crops"})
"""Kinds by what they are made of."""

LEAST_SHUFFLED = 3
"""Frames below which no order is wrong: two frames swapped are the clip played backwards."""

_SHUFFLE_STREAM = 1 << 33
"""Sets the random numbers of the frame orders apart from those of the data."""


@dataclass(frozen=True)
class RealMaterial:
    """What real kinds are made of; of pixels, or of features that see one frame at a time."""

    video: Tensor | None
    """(N, T, C, H, W) real clips; None where no kind of the step is made of them."""

    pictures: Tensor | None
    """(N, 1 + T, C, H, W) unrelated real pictures: one for the still, T for the crops; likewise."""

    orders: Tensor
    """(N, T) int64, the frame order that shuffles each clip."""

    def map(self, change: Callable[[Tensor], Tensor]) -> RealMaterial:
        """Change clips and pictures."""
        video, pictures = (
            None if clips is None else change(clips) for clips in (self.video, self.pictures)
        )
        return RealMaterial(video, pictures, self.orders)

    def arrange(self) -> dict[SampleKind, Tensor]:
        """The real kinds that it can make, (N, T, C, H, W) each."""
        made: dict[SampleKind, Tensor] = {}
        if self.video is not None:
            orders = self.orders.to(self.video.device)
            rows = torch.arange(len(orders), device=orders.device)[:, None]
            made = {"video": self.video, "shuffled": self.video[rows, orders]}
        if self.pictures is not None:
            still, crops = self.pictures[:, :1], self.pictures[:, 1:]
            made |= {"still": still.expand_as(crops), "crops": crops}
        return made


def shuffled_order(frames: int, rng: np.random.Generator) -> list[int]:
    """Draw a frame order that is neither the clip's own nor its reverse, which is as smooth.

    Args:
        frames: T, at least `LEAST_SHUFFLED`.
        rng: Decides the order.
    """
    while True:
        order = [int(i) for i in rng.permutation(frames)]
        if order not in (sorted(order), sorted(order, reverse=True)):
            return order


class RealClips:
    """Endless real material: clips, one picture a clip, and T unrelated pictures a clip.

    Args:
        videos: Batches of N clips of T frames, of the draws that want them.
        pictures: Batches of N * (T + 1) clips of one frame, unrelated to one another; likewise.
        frames: T.
        seed: With the samples' index decides the frame orders.
        first: Global index of this process's first sample, N * its index.
        stride: Global samples a draw, N * processes.
        start: Draws done before, by a run that is resumed.
    """

    def __init__(
        self,
        videos: Iterator[PairBatch],
        pictures: Iterator[PairBatch],
        *,
        frames: int,
        seed: int,
        first: int,
        stride: int,
        start: int,
    ) -> None:
        self.videos, self.pictures, self.frames = videos, pictures, frames
        self.seed, self.first, self.stride, self.draw = seed, first, stride, start

    def next(self, kinds: Collection[SampleKind] = tuple(LABELS)) -> RealMaterial:
        """What the next draw needs for these kinds, uint8."""
        video = pictures = None
        if OF_VIDEO & set(kinds):
            video = next(self.videos).high
        if OF_PICTURES & set(kinds):
            drawn = next(self.pictures).high[:, 0]  # (N * (T+1), 3, H, W)
            pictures = drawn.view(-1, self.frames + 1, *drawn.shape[1:])
        index = self.first + self.draw * self.stride
        orders = [
            shuffled_order(
                self.frames, np.random.default_rng((self.seed, _SHUFFLE_STREAM, index + i))
            )
            for i in range(0 if video is None else len(video))
        ]
        self.draw += 1
        return RealMaterial(video, pictures, torch.tensor(orders))
