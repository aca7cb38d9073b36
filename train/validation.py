"""What a run's weights are worth on clips it does not train on, measured whenever they are saved.

    validation = Validation(ValidationData([folder]), settings, device, report)
    figures = validation.measure(network, tensors)  # {"psnr_y": ..., "flicker": ..., ...}

The clips are cut and degraded as the recipe does it, by draws of their own that never change, so
the figures of two runs with the same data and degradation can be compared.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import SCALE
from ..errors import CheckpointError, MissingPackageError
from ..files import replace_file
from ..metrics.no_reference import sharpness
from ..metrics.planes import LUMA_SPAN, LUMA_WEIGHTS, Plane
from ..metrics.temporal import (
    FLOW_LEAST_PX,
    Motion,
    half_size,
    measure_motion,
    require_opencv,
    warping_error,
)
from ..model import AdcVsr
from ..reading import parse_json
from .data import ClipPairs
from .dists import read_dists
from .settings import StageSettings
from .teaching import to_signed

LOG_FILE = "validation.jsonl"
BEST_FILE = "best.safetensors"

CLIPS_PER_VIDEO, MOST_CLIPS = 6, 24
"""Clips taken of every video, and of all together."""

LEAST_FRAMES = 8
"""Shorter clips would not show what a carried state does."""

BORDER_PX = 4
"""Left out of every figure on each side, as the field does at x4."""

DISTS_FRAMES = 2
"""Frames of each clip that DISTS is measured on, from the last one back; VGG16 is expensive."""

SAME = 0.005
"""How far two figures of bicubic may be apart where they were measured alike, on other machines."""

Figures = dict[str, float]


@dataclass(frozen=True)
class ValidationData:
    """What is measured on, and by what."""

    clips: Sequence[Path]
    """Folders of videos that are not trained on."""

    dists: Path | None = None
    """Weights of DISTS, see `read_dists`; they measure and teach nothing. None leaves it out."""

    best_by_psnr: bool = True
    """Whether PSNR-Y tells which weights are best where DISTS does not. A game against
    discriminators lowers it from the first step on."""


class Clip(NamedTuple):
    """What is measured on."""

    low: Tensor
    """(T, 3, h, w) uint8."""

    high: Tensor
    """(T, 3, 4h, 4w) uint8."""

    motion: Sequence[Motion] = ()
    """Of the truth, frame to frame; none where flow cannot be had."""


class Validation:
    """The clips, their truth and the measures.

    Args:
        data: Folders and weights.
        settings: The recipe, whose data options and degradation make the clips.
        multiple: Sides of the clips are cut to multiples of this many low-resolution pixels.
        device: Where the network is.
        report: Told what cannot be used.

    Raises:
        TrainingDataError: No usable videos.
        CheckpointError: The weights of DISTS cannot be read.
    """

    def __init__(
        self,
        data: ValidationData,
        settings: StageSettings,
        *,
        multiple: int,
        device: torch.device,
        report: Callable[[str], None],
    ) -> None:
        options = dataclasses.replace(
            settings.data,
            frames=max(settings.data.frames, LEAST_FRAMES),
            segments_per_clip=CLIPS_PER_VIDEO,
            crops_per_clip=1,
            keep_decoded=False,
            window_px=settings.data.window_px or 2 * settings.data.least_px,
        )
        pairs = ClipPairs(data.clips, [], options, settings.degradation, seed=0, report=report)
        count = min(len(pairs), MOST_CLIPS)
        self.clips = [_cut(pairs, index * len(pairs) // count, multiple) for index in range(count)]
        why = _why_no_motion(self.clips)
        if why is None:
            self.clips = [clip._replace(motion=_motion(clip.high)) for clip in self.clips]
        self._device = device
        self._dists = read_dists(data.dists).to(device) if data.dists else None
        self._by_psnr = data.best_by_psnr
        self.baseline = _mean([self._compare(_bicubic(clip.low), clip) for clip in self.clips])
        shown = ", ".join(f"{name} {value:.4g}" for name, value in self.baseline.items())
        lacking = "" if why is None else f"; no warping error: {why}"
        report(f"validation on {count} clips of {options.frames} frames; bicubic: {shown}{lacking}")
        if self.best_by is None:
            report(
                f"no {BEST_FILE}: a game lowers PSNR-Y, so only DISTS can tell which weights are "
                "best (--validate-dists)"
            )

    @property
    def best_by(self) -> str | None:
        """The figure that decides which weights are the best; None where none can."""
        if self._dists:
            return "dists"
        return "psnr_y" if self._by_psnr else None

    def better(self, figures: Mapping[str, float], best: Mapping[str, float] | None) -> bool:
        """Whether weights of these figures are better than those of the best ones so far."""
        if self.best_by is None:
            return False
        if best is None:
            return True
        new, old = figures[self.best_by], best[self.best_by]
        return new < old if self._dists else new > old

    @torch.no_grad()
    def measure(self, network: AdcVsr, tensors: Mapping[str, Tensor]) -> Figures:
        """Measure weights.

        Args:
            network: The student.
            tensors: Its weights to measure, such as their moving average.

        Returns:
            `psnr_y` (dB) and `flicker`, the mean absolute error of luma differences from frame to
            frame (levels), of every frame but the first; `sharpness`, the slope of the last frame's
            edges over the truth's; `shift` and `jump` (levels), how far mean colours are off, and
            by how much that differs between the first frame, without a past, and the second;
            `dists` where it can be measured; `warp`, the warping error along the truth's motion,
            where OpenCV is installed; for a causal network `state_psnr_y` and
            `state_flicker`, what the carried state changes in them against the same weights reset
            at every frame.
        """
        figures = []
        for clip in self.clips:
            signed = to_signed(clip.low[None], self._device)
            out = self._run(network, tensors, signed)
            found = self._compare(out, clip)
            if network.config.causal:
                reset = self._run(network, tensors, signed.transpose(0, 1)).transpose(0, 1)
                alone = self._compare(reset, clip, perceived=False)
                found["state_psnr_y"] = found["psnr_y"] - alone["psnr_y"]
                found["state_flicker"] = found["flicker"] / max(alone["flicker"], 1e-9)
            figures.append(found)
        return _mean(figures)

    def _run(self, network: AdcVsr, tensors: Mapping[str, Tensor], clip: Tensor) -> Tensor:
        out, _ = torch.func.functional_call(network, dict(tensors), (clip,))
        shown: Tensor = ((out.float() + 1) / 2).clamp(0, 1)
        return shown

    def _compare(self, out: Tensor, clip: Clip, *, perceived: bool = True) -> Figures:
        """Figures of one clip: output (1, T, 3, H, W) in [0, 1]."""
        shown = (out[0] * 255).round() / 255
        truth = clip.high.to(shown.device).float() / 255
        inner = slice(BORDER_PX, -BORDER_PX)
        error = (_luma(shown) - _luma(truth))[..., inner, inner]
        squares = error[1:].square().mean((1, 2)).clamp(min=1e-2)
        found = {
            "psnr_y": float((10 * torch.log10(255**2 / squares)).mean()),
            "flicker": float(error.diff(dim=0).abs().mean()),
        }
        if perceived:
            off = 255 * (shown - truth).mean((2, 3))  # (T, 3)
            found["shift"] = float(off.mean(0).abs().mean())
            found["jump"] = float((off[0] - off[1]).mean().abs())
            slopes = [sharpness(_luma(each[-1:])[0].cpu().numpy()) for each in (shown, truth)]
            found["sharpness"] = slopes[0] / max(slopes[1], 1e-6)
            if clip.motion:
                found["warp"] = _warp(shown, clip.motion)
        if self._dists and perceived:
            last = slice(-DISTS_FRAMES, None)
            found["dists"] = float(self._dists(shown[last], truth[last]).mean())
        return found


class _Line(NamedTuple):
    """A line of the log."""

    step: int
    best: bool
    figures: Figures
    bicubic: Figures
    """Bicubic's figures on the same clips: they tell whether two measurements can be compared."""


def _read(path: Path, line: str) -> _Line:
    advice = "remove the line; the figures in it are lost"
    found = parse_json(line.encode(), source=f"'{path}'", error=CheckpointError, advice=advice)
    fields = dict(found.fields())
    bicubic = fields.pop("bicubic", None)
    step, best = (fields.pop(name, found[name]) for name in ("step", "best"))
    return _Line(
        int(step.number(0)),
        best.flag(),
        {name: value.number() for name, value in fields.items()},
        {name: value.number() for name, value in bicubic.fields()} if bicubic else {},
    )


class ValidationLog:
    """The figures of a run so far, a line of JSON a measurement, all legs in one file.

    Args:
        folder: The run's.
        step: Steps done; what a leg that was lost measured after them is taken out.
        validation: What measures now; the best weights of a leg that was measured otherwise, on
            other clips or without DISTS, are no longer held against new ones.
        report: Told of that.
    """

    def __init__(
        self, folder: Path, *, step: int, validation: Validation, report: Callable[[str], None]
    ) -> None:
        self.path, self._validation = folder / LOG_FILE, validation
        lines = self.path.read_text().splitlines() if self.path.is_file() else []
        self._lines = [line for line in lines if _read(self.path, line).step <= step]
        kept = [_read(self.path, line) for line in self._lines]
        best = next((one for one in reversed(kept) if one.best), None)
        alike = best is not None and self._alike(best)
        self.best: Figures | None = best.figures if best is not None and alike else None
        if best is not None and not alike:
            report(
                f"measured otherwise until step {best.step:,}: none of its weights counts "
                "as the best any more"
            )

    def _alike(self, line: _Line) -> bool:
        """Whether a line's figures can be compared with those measured now."""
        by, now = self._validation.best_by, self._validation.baseline
        if by is None or by not in line.figures:
            return by is None
        told = [name for name in ("psnr_y", by) if name in line.bicubic]  # none in lines of 0.1
        return all(abs(line.bicubic[name] - now[name]) <= SAME for name in told)

    def add(self, step: int, figures: Figures, *, best: bool) -> None:
        """Write a measurement.

        Raises:
            OutputNotWritableError: The disk is full.
        """
        bicubic: Figures = {
            name: self._validation.baseline[name] for name in ("psnr_y", "dists") if name in figures
        }
        facts = {"step": step, "best": best, **_rounded(figures), "bicubic": _rounded(bicubic)}
        self._lines.append(json.dumps(facts))
        self.best = figures if best else self.best
        text = "".join(f"{line}\n" for line in self._lines)
        replace_file(self.path, lambda part: part.write_text(text))


def _rounded(figures: Figures) -> Figures:
    return {name: round(value, 5) for name, value in figures.items()}


def _cut(pairs: ClipPairs, index: int, multiple: int) -> Clip:
    """A whole degraded clip, cut to multiples."""
    clip = pairs.whole(0, index)
    height, width = (extent // multiple * multiple for extent in clip.low.shape[2:])
    low = torch.from_numpy(clip.low[..., :height, :width].copy())
    high = torch.from_numpy(clip.high[..., : SCALE * height, : SCALE * width].copy())
    return Clip(low, high)


def _why_no_motion(clips: Sequence[Clip]) -> str | None:
    """Why the truth's motion cannot be measured in all clips; None where it can."""
    try:
        require_opencv()
    except MissingPackageError:
        return "it needs OpenCV (the extra 'evaluate')"
    side = min(min(clip.high.shape[2:]) for clip in clips)
    least = 2 * FLOW_LEAST_PX
    return None if side >= least else f"a clip has a side of {side} pixels, it needs {least}"


def _motion(high: Tensor) -> list[Motion]:
    """From frame to frame of (T, 3, H, W) uint8."""
    return [measure_motion(*pair) for pair in pairwise(_halves(high.permute(0, 2, 3, 1)))]


def _halves(levels: Tensor) -> Iterator[Plane]:
    """Frames (T, H, W, 3) uint8 at half the size, as motion is measured."""
    for frame in levels.cpu().numpy():
        yield half_size(frame)


def _warp(shown: Tensor, motion: Sequence[Motion]) -> float:
    """The mean warping error of frames (T, 3, H, W) in [0, 1]; 0 where nothing stays in sight."""
    frames = pairwise(_halves((shown * 255).round().byte().permute(0, 2, 3, 1)))
    errors = [warping_error(*pair, way) for pair, way in zip(frames, motion, strict=True)]
    found = [error for error in errors if error is not None]
    return sum(found) / max(len(found), 1)


def _bicubic(low: Tensor) -> Tensor:
    up = F.interpolate(low.float() / 255, scale_factor=SCALE, mode="bicubic")
    return up.clamp(0, 1)[None]


def _luma(frames: Tensor) -> Tensor:
    """(T, 3, H, W) in [0, 1] to luma of BT.601 in its 219 levels, (T, H, W)."""
    weights = torch.tensor(LUMA_WEIGHTS, device=frames.device, dtype=frames.dtype)
    return LUMA_SPAN * torch.einsum("tchw,c->thw", frames, weights)


def _mean(figures: Sequence[Figures]) -> Figures:
    return {name: sum(one[name] for one in figures) / len(figures) for name in figures[0]}
