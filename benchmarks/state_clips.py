"""Clips for `state_ablation.py`: batches drawn once and kept, and what is measured on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adcvsr.arrays import Levels
from adcvsr.config import SCALE
from adcvsr.train.data import ClipPairs, PairLoader
from adcvsr.train.degradation import PRESETS as DEGRADATIONS
from adcvsr.train.settings import PretrainSettings
from adcvsr.train.validation import Clip, Figures, Validation, ValidationData

NOISE_LEVELS = 8.0
"""Standard deviation of the white noise that is measured; trained on is 0 to twice as much."""

VALIDATION_PX = 256
"""Side of the windows of the truth that are measured."""

NOISY = ("noise", "still")
"""Kinds of clips beside the named degradations: a clean reduction with white noise, new in every
frame; and one frame of it that stands still, whose best treatment is to average."""

Batches = tuple[Levels, Levels]


@dataclasses.dataclass(frozen=True)
class Material:
    """What is trained on."""

    clips: Sequence[Path]
    """Folders of videos."""

    images: Sequence[Path]
    """Folders of pictures."""

    kinds: Sequence[str]
    """Named degradations, or `noise`; the batches take them in turn."""

    batches: int
    """How many are drawn."""


def draw(material: Material, settings: PretrainSettings, folder: Path) -> Batches:
    """The batches: drawn, written to a folder, read from there.

    Returns:
        (B, N, T, 3, h, w) uint8, and (B, N, T, 3, 4h, 4w) of the truth, left on the disk.

    Raises:
        SystemExit: The folder holds batches of other options.
    """
    kinds, data, count = list(material.kinds), settings.data, material.batches
    said = {
        "kinds": kinds,
        "batches": count,
        "frames": data.frames,
        "patch_px": data.patch_px,
        "seed": settings.seed,
    }
    note, low, high = (folder / name for name in ("drawn.json", "low.npy", "high.npy"))
    if note.is_file():
        if (found := json.loads(note.read_text())) != said:
            raise SystemExit(f"'{folder}' holds batches of {found}, expected {said}; use another")
        return np.load(low, mmap_mode="r"), np.load(high, mmap_mode="r")
    loaders = []
    for kind in kinds:
        degradation = DEGRADATIONS["bicubic" if kind in NOISY else kind]
        pairs = ClipPairs(
            material.clips, material.images, data, degradation, seed=settings.seed, report=print
        )
        loaders.append(PairLoader(pairs, batch=settings.batch, workers=1))
    shape = (count, settings.batch, data.frames, 3)
    side = data.patch_px
    lows, highs = (
        np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(*shape, px, px))
        for path, px in ((low, side), (high, SCALE * side))
    )
    noise = torch.Generator().manual_seed(settings.seed)
    for index in range(count):
        kind = kinds[index % len(kinds)]
        batch = next(loaders[index % len(kinds)])
        seen = batch.low
        if kind in NOISY:
            strength = 2 * NOISE_LEVELS * torch.rand(len(seen), 1, 1, 1, 1, generator=noise)
            seen = add_noise(seen, strength, noise)
        lows[index], highs[index] = seen.numpy(), batch.high.numpy()
    lows.flush()
    highs.flush()
    note.write_text(json.dumps(said))
    print(f"{len(lows)} batches drawn", flush=True)
    return lows, highs


def add_noise(frames: Tensor, strength: Tensor | float, generator: torch.Generator) -> Tensor:
    """White noise of a standard deviation in levels, on uint8 frames of any shape."""
    drawn = strength * torch.randn(frames.shape, generator=generator)
    return (frames + drawn).round().clamp(0, 255).to(torch.uint8)


class TrainedFrames(Validation):
    """Leaves out the frames before the loss began: their pictures were never trained."""

    def __init__(self, settings: PretrainSettings, folders: Sequence[Path], name: str) -> None:
        self._first = settings.first_frame
        super().__init__(
            ValidationData(folders),
            settings,
            multiple=4,
            device=torch.device("cpu"),
            report=lambda line: print(f"{name}, before noise: {line}" if name in NOISY else line),
        )

    def _compare(self, out: Tensor, clip: Clip, *, perceived: bool = True) -> Figures:
        first, before = self._first, max(self._first - 1, 0)  # PSNR-Y passes one frame over
        found = super()._compare(out[:, before:], _from(clip, before), perceived=perceived)
        later = super()._compare(out[:, first:], _from(clip, first), perceived=False)
        return {**found, "flicker": later["flicker"]}


def _from(clip: Clip, first: int) -> Clip:
    return Clip(clip.low[first:], clip.high[first:], clip.motion[first:])


def validation(name: str, folders: Sequence[Path], settings: PretrainSettings) -> Validation:
    """Clips to measure on, of a degradation or of the noisy kinds."""
    degradation = DEGRADATIONS["bicubic" if name in NOISY else name]
    data = dataclasses.replace(settings.data, window_px=VALIDATION_PX)
    made = TrainedFrames(
        dataclasses.replace(settings, degradation=degradation, data=data), folders, name
    )
    if name in NOISY:
        noise = torch.Generator().manual_seed(0)
        frames = slice(0, 1) if name == "still" else slice(None)
        made.clips = [
            Clip(
                add_noise(low[frames].expand_as(low), NOISE_LEVELS, noise),
                high[frames].expand_as(high),
            )
            for low, high, _ in made.clips
        ]
    return made
