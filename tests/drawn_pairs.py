"""Training pairs drawn in memory: the contract of a pair source, as small as it can be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.teachers import clip_key


@dataclass(frozen=True)
class DrawnPair:
    low: npt.NDArray[np.uint8]
    high: npt.NDArray[np.uint8]
    key: str


class DrawnPairs:
    """A clip with noise of (seed, epoch, index) on its low twin, so that no two are equal."""

    def __init__(
        self, count: int, frames: int = 3, size: tuple[int, int] = (12, 20), seed: int = 0
    ) -> None:
        self.count, self.seed = count, seed
        height, width = size
        drawn = draw_clip(frames, 4 * height, 4 * width)
        self.high = np.ascontiguousarray(drawn.transpose(0, 3, 1, 2))
        self.mean = self.high.reshape(frames, 3, height, 4, width, 4).mean((3, 5))

    def __len__(self) -> int:
        return self.count

    def pair(self, epoch: int, index: int) -> DrawnPair:
        rng = np.random.default_rng((self.seed, epoch, index))
        low = (self.mean + rng.normal(0, 3, self.mean.shape)).clip(0, 255).astype(np.uint8)
        return DrawnPair(low, self.high, clip_key(low))
