"""Read a teacher cache: as a source of training pairs, or as a teacher.

    pairs = CachedPairs(folder, teacher="dove", patch_px=64)
    pair = pairs.pair(epoch, index)  # low, high, teacher, key

A run that trains on them needs neither the source clips nor the teacher.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...config import SCALE
from ...errors import ConfigError, TeacherCacheError
from ..data import ClipPair
from ..data.pairs import tensor_of
from ..degradation.film import to_grey
from .sample import Clip
from .store import CacheFolder, Entry, check_teacher
from .teacher import Teacher, clip_key


class CachedPairs:
    """A cache as a source of pairs, whole or in random crops; every pair is read and checked anew.

    Args:
        folder: The cache.
        teacher: Whose outputs are wanted: an identity, or a kind such as `dove`; empty for any.
        frames: T of random windows in time; 0 for whole clips.
        patch_px: Side of random crops of the low clips; 0 for whole frames, which batch only where
            all have one size.
        flips: Mirror and reverse at random, transpose where square, all three clips alike.
        grey_share: Share of samples whose colour is taken out, of all three clips alike. Where the
            truth is grey the teacher's clip is made so in any case: teachers add coloured fringes.
        seed: With epoch and index decides every draw.

    Raises:
        TeacherCacheError: No cache, an empty one, another teacher's, or samples that are missing
            or cut off; the first are named.
        ConfigError: A crop larger than a clip.
    """

    def __init__(
        self,
        folder: Path,
        *,
        teacher: str = "",
        frames: int = 0,
        patch_px: int = 0,
        flips: bool = False,
        grey_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._store = CacheFolder(folder)
        if teacher:
            check_teacher(self._store, teacher)
        self._store.check()
        self._entries = list(self._store.entries.values())
        if not self._entries:
            raise TeacherCacheError(f"the cache in '{folder}' holds no finished sample")
        self.frames, self.patch_px, self.flips, self.seed = frames, patch_px, flips, seed
        self.grey_share = grey_share
        self._order: tuple[int, npt.NDArray[np.int64]] | None = None
        self._check_crops()

    @property
    def teacher(self) -> str:
        """Identity of the teacher."""
        return self._store.teacher

    @property
    def trained_on(self) -> dict[str, int]:
        """Files its clips are of, by folder, see `Sources.trained_on`.

        Empty where an older version began the cache.
        """
        return dict(self._store.header.get("trained_on", {}))

    @property
    def missing(self) -> int:
        """Samples planned that are not there yet."""
        return max(int(self._store.header["samples"]) - len(self._entries), 0)

    def __len__(self) -> int:
        """Samples in the cache."""
        return len(self._entries)

    def pair(self, epoch: int, index: int) -> ClipPair:
        """Read a sample; a function of seed, epoch and index alone, each epoch in its own order.

        Args:
            epoch: From 0.
            index: 0 to `len(self)` - 1.

        Raises:
            TeacherCacheError: Its file is missing or was changed.
        """
        entry = self._entries[self._place(epoch, index)]
        rng = np.random.default_rng((self.seed, epoch, 1 + index))
        stored = entry.kept[1] - entry.kept[0]
        frames = self.frames or stored
        start = int(rng.integers(0, stored - frames + 1))
        clips = self._store.read(entry, start=start, stop=start + frames)
        low, high, taught = _cut(clips if len(clips) == 3 else [*clips, clips[1]], self, rng)
        if rng.random() < self.grey_share:
            low, high, taught = (_grey(clip) for clip in (low, high, taught))
        elif (high[:, :1] == high[:, 1:]).all():
            taught = _grey(taught)
        return ClipPair(low, high, entry.key, taught)

    def _place(self, epoch: int, index: int) -> int:
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch, 0))
            self._order = (epoch, rng.permutation(len(self._entries)))
        return int(self._order[1][index])

    def _check_crops(self) -> None:
        for entry in self._entries:
            t0, t1, y0, y1, x0, x1 = entry.kept
            if self.frames > t1 - t0 or self.patch_px > min(y1 - y0, x1 - x0):
                raise ConfigError(
                    f"{self.frames} frames of {self.patch_px} pixels do not fit the cached clip "
                    f"{entry.file}, {t1 - t0} frames of {x1 - x0}x{y1 - y0}"
                )


class CachedOutputs(Teacher):
    """A cache as a teacher: gives back what was stored for exactly these clips.

    Args:
        folder: The cache.
        device: As every teacher's; nothing is computed.

    Raises:
        TeacherCacheError: No cache, or samples that are missing or cut off.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        super().__init__(device)
        self._store = CacheFolder(folder)
        self._store.check()
        self._by_key = {entry.key: entry for entry in self._store.entries.values()}
        self.identity = self._store.teacher
        self.licences = tuple(self._store.header.get("licences", ()))

    def _teach(self, low: Tensor, high: Tensor | None) -> Tensor:
        levels = low.mul(255).round().byte().cpu().numpy()
        clips = [self._store.read(self._find(clip_key(clip)))[-1] for clip in levels]
        return torch.from_numpy(np.stack(clips)).to(low.device).float() / 255

    def _find(self, key: str) -> Entry:
        if key in self._by_key:
            return self._by_key[key]
        cut = any(entry.source == key for entry in self._store.entries.values())
        reason = (
            "holds only a part of it, as its teacher's program lost the rest: train on the cache's "
            "own pairs"
            if cut
            else "does not hold it: fill the cache with the run's own settings and seed, or train "
            "on the cache's own pairs"
        )
        raise TeacherCacheError(
            f"clip {key} of this run: the cache '{self._store.folder}' {reason}"
        )


def _cut(clips: list[Clip], options: CachedPairs, rng: np.random.Generator) -> list[Tensor]:
    """Cut the same crop out of all clips and flip them alike."""
    height, width = clips[0].shape[2:]
    crop_h, crop_w = (options.patch_px or extent for extent in (height, width))
    y, x = int(rng.integers(0, height - crop_h + 1)), int(rng.integers(0, width - crop_w + 1))
    flip_t, flip_y, flip_x, turn = (rng.random(4) < 0.5) & options.flips
    turn &= crop_h == crop_w  # others would change the batch's shape
    out = []
    for clip in clips:
        s = clip.shape[2] // height
        cut = clip[:, :, s * y : s * (y + crop_h), s * x : s * (x + crop_w)]
        cut = cut[:: -1 if flip_t else 1, :, :: -1 if flip_y else 1, :: -1 if flip_x else 1]
        cut = cut.transpose(0, 1, 3, 2) if turn else cut
        out.append(tensor_of(cut))
    assert all(clip.shape[2] in (height, SCALE * height) for clip in clips)
    return out


def _grey(clip: Tensor) -> Tensor:
    """Take the colour from a clip (T, 3, H, W) uint8."""
    return torch.stack(to_grey(list(clip.float()))).round().byte()
