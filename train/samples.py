"""What the discriminators are shown, and which head is told what (arXiv 2603.00458, equation 5).

Five kinds of clips take detail and consistency apart: a still repeated has detail and perfect
consistency, unrelated crops have detail and none. A label of 0 gives a head no gradient.

    real = reals.next()
    arrange(*real.clips, real.orders)  # {"video": (N, T, 3, H, W), "shuffled": ..., ...}
"""

from __future__ import annotations

from collections.abc import Iterator
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


LEAST_SHUFFLED = 3
"""Frames below which no order is wrong: two frames swapped are the clip played backwards."""

_SHUFFLE_STREAM = 1 << 33
"""Sets the random numbers of the frame orders apart from those of the data."""


def arrange(
    video: Tensor, still: Tensor, crops: Tensor, orders: Tensor
) -> dict[SampleKind, Tensor]:
    """Make the four real kinds; of pixels, or of features that see one frame at a time.

    Args:
        video: (N, T, C, H, W) real clips.
        still: (N, 1, C, H, W) one real picture each.
        crops: (N, T, C, H, W) unrelated real pictures.
        orders: (N, T) int64, the frame order that shuffles each clip; on any device.

    Returns:
        (N, T, C, H, W) by kind.
    """
    rows = torch.arange(len(video))[:, None]
    return {
        "video": video,
        "shuffled": video[rows.to(video.device), orders.to(video.device)],
        "still": still.expand_as(video),
        "crops": crops,
    }


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


@dataclass(frozen=True)
class RealMaterial:
    """What `arrange` takes, of one draw."""

    clips: tuple[Tensor, Tensor, Tensor]
    """video (N, T, 3, H, W), still (N, 1, 3, H, W) and crops (N, T, 3, H, W), uint8."""

    orders: Tensor
    """(N, T) int64."""


class RealClips:
    """Endless real material: clips, one picture a clip, and T unrelated pictures a clip.

    Args:
        videos: Batches of N clips of T frames.
        pictures: Batches of N * (T + 1) clips of one frame, unrelated to one another.
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
        seed: int,
        first: int,
        stride: int,
        start: int,
    ) -> None:
        self.videos, self.pictures = videos, pictures
        self.seed, self.first, self.stride, self.draw = seed, first, stride, start

    def next(self) -> RealMaterial:
        """The next draw."""
        video = next(self.videos).high
        n, frames = video.shape[:2]
        pictures = next(self.pictures).high[:, 0]  # (N * (T+1), 3, H, W)
        pictures = pictures.view(n, frames + 1, *pictures.shape[1:])
        index = self.first + self.draw * self.stride
        orders = [
            shuffled_order(frames, np.random.default_rng((self.seed, _SHUFFLE_STREAM, index + i)))
            for i in range(n)
        ]
        self.draw += 1
        return RealMaterial((video, pictures[:, :1], pictures[:, 1:]), torch.tensor(orders))
