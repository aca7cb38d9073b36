"""Fill a cache with a teacher's outputs: measured before it begins, resumable.

    store = open_cache(folder, teacher=teacher.identity, recipe=recipe, samples=1000)
    fill_cache(store, pairs, teacher, samples=1000, report=print, progress=show)

Several processes may fill one cache, each its share.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch

from ...errors import OutputNotWritableError, TeacherCacheError
from .sample import Clip, encode_sample
from .store import CacheFolder
from .teacher import Teacher, clip_key

PROBES = 3
"""Samples encoded beforehand to tell the size of all."""

Progress = Callable[[int, int], None]
"""Called with samples done and samples to do, of this call."""


class Pair(Protocol):
    """A clip and its truth."""

    @property
    def low(self) -> Any:
        """(T, 3, h, w) uint8."""

    @property
    def high(self) -> Any:
        """(T, 3, 4h, 4w) uint8."""

    @property
    def key(self) -> str:
        """`clip_key` of `low`."""


class PairSource(Protocol):
    """Pairs as a pure function of epoch and index."""

    def __len__(self) -> int:
        """Pairs an epoch."""

    def pair(self, epoch: int, index: int) -> Pair:
        """Make one pair."""


def fill_cache(
    store: CacheFolder,
    pairs: PairSource,
    teacher: Teacher,
    *,
    samples: int,
    share: tuple[int, int] = (1, 1),
    report: Callable[[str], None],
    progress: Progress,
) -> None:
    """Write the samples a cache does not hold yet.

    Args:
        store: The cache.
        pairs: Where the clips come from.
        teacher: Entered here, once it is sure that there is work and room.
        samples: Samples wanted in all; further epochs follow where there are fewer pairs.
        share: (K, N): this process does every N-th sample, from the K-th on.
        report: Called with lines to show.
        progress: Called after every sample.

    Raises:
        TeacherCacheError: The pairs are not those the cache was begun with.
        OutputNotWritableError: The disk would not hold all samples, or is full; those written are
            intact.
    """
    todo = samples_to_do(store, samples, share)
    if not todo:
        report(f"all {samples} samples are there")
        return
    check_pairs(store, pairs)
    left = len(samples_to_do(store, samples))
    streams = 2 if teacher.identity == "truth" else 3
    check_space(store, pairs, todo, left=left, streams=streams, report=report)
    with teacher:
        for done, (index, pair) in enumerate(read_ahead(pairs, todo), start=1):
            store.add(index, _taught(pair, teacher))
            progress(done, len(todo))


def samples_to_do(store: CacheFolder, samples: int, share: tuple[int, int] = (1, 1)) -> list[int]:
    """Places of the samples that a share still has to make, damaged ones included."""
    first, step = share
    damaged = {entry.index for entry in store.damaged()}
    return [i for i in range(first - 1, samples, step) if i not in store.entries or i in damaged]


def read_ahead(pairs: PairSource, indices: Sequence[int]) -> Iterator[tuple[int, Pair]]:
    """Make pairs in order, one ahead of its use, while the teacher has the device."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = [pool.submit(_pair_at, pairs, index) for index in indices[:1]]
        for place, index in enumerate(indices):
            pair = following.pop().result()
            following = [pool.submit(_pair_at, pairs, i) for i in indices[place + 1 : place + 2]]
            yield index, pair


def check_pairs(store: CacheFolder, pairs: PairSource) -> None:
    """Make the last stored pair again and see that it is still the same.

    Raises:
        TeacherCacheError: It is another: sources or software changed since.
    """
    entries = store.entries or store.awaiting
    if not entries:
        return
    entry = entries[max(entries)]
    found = _pair_at(pairs, entry.index).key
    if found != entry.source:
        raise TeacherCacheError(
            f"sample {entry.index} of '{store.folder}' is clip {entry.source}, the same settings "
            f"now give {found}: the training folders or the software that degrades changed; go on "
            "with those it was begun with, or choose another folder"
        )


def check_space(
    store: CacheFolder,
    pairs: PairSource,
    todo: Sequence[int],
    *,
    left: int,
    streams: int = 3,
    report: Callable[[str], None],
) -> None:
    """Tell how large the samples will be, from a few encoded in memory, and see that they fit.

    Args:
        store: The cache.
        pairs: Where the clips come from.
        todo: Places of this process's samples.
        left: Samples still to come in all shares together; all must fit.
        streams: Clips a sample holds.
        report: Called with a line.

    Raises:
        OutputNotWritableError: They would not fit on the disk.
    """
    probes = todo[:: max(len(todo) // PROBES, 1)][:PROBES]
    sizes = []
    for index in probes:
        low, high = clips_of(_pair_at(pairs, index))
        # The truth stands in for the teacher's clip, which is as large and as sharp.
        sizes.append(len(encode_sample([low, high, high][:streams])))
    each = sum(sizes) / len(sizes)
    free = shutil.disk_usage(store.folder).free
    report(
        f"{len(todo)} samples to do, about {_size(each)} each, {_size(each * left)} in all; "
        f"{_size(free)} free at '{store.folder}'"
    )
    if each * left > free:
        raise OutputNotWritableError(
            f"{left} samples need about {_size(each * left)}, '{store.folder}' has "
            f"{_size(free)} free: about {int(free / each)} would fit (--samples)"
        )


def clips_of(pair: Pair) -> tuple[Clip, Clip]:
    """Low and high of a pair as arrays, (T, 3, h, w) and (T, 3, 4h, 4w) uint8."""
    low, high = np.asarray(pair.low), np.asarray(pair.high)
    assert pair.key == clip_key(low)
    return low, high


def _taught(pair: Pair, teacher: Teacher) -> list[Clip]:
    """A sample's clips; the truth's own would be stored twice and is left out."""
    low, high = clips_of(pair)
    if teacher.identity == "truth":
        return [low, high]
    out = teacher.teach(torch.from_numpy(low)[None].float() / 255)
    # Rounded to the nearest level; DOVE's own script truncates, half a level darker on average.
    return [low, high, (out[0] * 255).round().byte().numpy()]


def _pair_at(pairs: PairSource, index: int) -> Pair:
    return pairs.pair(*divmod(index, len(pairs)))


def _size(count: float) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"
