"""The field's benchmarks by name: which clips, how inputs are made, what is measured and left out.

Published figures are comparable only where all of this is the same, so each is written down with
where it comes from. Sets are read as they are usually unpacked; nothing is downloaded.

    found = find_protocol_clips(PROTOCOLS["vid4"], Path("Vid4"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import Levels
from ...errors import InputNotFoundError
from ...metrics.matlab import blur_down, imresize
from .sequences import gap_in, images_in
from .truth import Degrade, TruthOptions

BI, BD = "BI", "BD"
"""MATLAB's bicubic, and blur by a Gaussian of sigma 1.6 with every fourth pixel kept."""

ALL_FRAMES = 1_000_000
"""Of a clip."""

SCALE = 4
"""All of them are of four times."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One benchmark."""

    name: str
    clips: tuple[str, ...]
    """Names of the folders of clips; none takes all there are."""

    count: int = 0
    """How many there are, where `clips` does not name them."""

    lengths: tuple[int, ...] = ()
    """Frames of each of `clips`, or of every one; none where they are not known."""

    degradation: str
    """`BI` or `BD`, how inputs are made where the set comes without; empty where there is no truth
    to make them of."""

    metrics: tuple[str, ...]
    """Of the field, in its order."""

    border_px: int = 0
    """Left out on each side."""

    ends: int = 0
    """Frames left out of the figures at the start and the end of each clip; they are upscaled."""

    frames: tuple[int, ...] = ()
    """Only these are measured; none for all."""

    truths: tuple[str, ...] = ("GT", "HR", "gt", "hr", "")
    """Folders of the truth below the root, the first that has the clips; with frames in a clip's
    own folder or in one of `INSIDE`."""

    lows: tuple[str, ...] = ("LR", "lr", "LQ", "lq")
    """Folders of the inputs, likewise."""

    source: str
    """Whose conventions these are."""

    note: str = ""
    """What to know of the figures."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


INSIDE = ("truth", "original", "hr", "GT", "gt")
"""Folders within a clip's that hold its truth."""

INSIDE_LOW = {BI: ("lr_x4_BI", "bicubic", "input4", "BIx4"), BD: ("blur4", "lr_x4_BD", "BDx4")}
"""Likewise its input."""

_Y, _RGB = ("psnr", "ssim"), ("psnr_rgb", "ssim_rgb")

PROTOCOLS: Mapping[str, Protocol] = {
    each.name: each
    for each in (
        Protocol(
            name="reds4",
            clips=("000", "011", "015", "020"),
            lengths=(100,),
            degradation=BI,
            metrics=_RGB,
            truths=("GT", "sharp", "train_sharp", "train/train_sharp", "HR", ""),
            lows=(
                *("sharp_bicubic", "sharp_bicubic/X4", "train_sharp_bicubic/X4", "BIx4", "LR"),
                "train/train_sharp_bicubic/X4",
            ),
            source="EDVR (2019) and BasicVSR (2021): RGB, all 100 frames, no border",
        ),
        Protocol(
            name="vid4",
            clips=("calendar", "city", "foliage", "walk"),
            lengths=(41, 34, 49, 47),
            degradation=BI,
            metrics=_Y,
            lows=("BIx4", "LR_bicubic", "bicubic", "LR"),
            source="BasicVSR (2021): Y, all frames, no border; BIx4",
        ),
        Protocol(
            name="udm10",
            clips=(
                *("archpeople", "archwall", "auditorium", "band", "caffe", "camera", "clap"),
                *("lake", "photography", "polyflow"),
            ),
            lengths=(32,),
            degradation=BD,
            metrics=_Y,
            lows=("BDx4", "LR", "blur4"),
            source="BasicVSR (2021): Y, all frames, no border; BDx4",
        ),
        Protocol(
            name="spmcs",
            clips=(),
            count=30,
            lengths=(31,),
            degradation=BD,
            metrics=_Y,
            border_px=8,
            ends=2,
            lows=("BDx4", "LR", "blur4"),
            source="PFNL (2019): Y, without 8 pixels at each border and two frames at each end; "
            "BDx4",
        ),
        Protocol(
            name="videolq",
            clips=(),
            count=50,
            degradation="",
            metrics=("delta_e", "contours", "frame_diff", "warp", "cambi"),
            frames=(0, 50, 99),
            lows=("Input", "input", "LR", "LQ", "lq", ""),
            source="RealBasicVSR (2022): 50 clips, frames 0, 50 and 99",
            note="there is no truth: figures are against the input enlarged by MATLAB's bicubic, "
            "and say what a method changes, not how good it is; NIQE is not measured here (its "
            "model is MATLAB's)",
        ),
    )
}


@dataclass(frozen=True)
class ProtocolClips:
    """What was found of a benchmark."""

    protocol: Protocol
    files: tuple[Path, ...]
    """A folder of frames each: of the truth, or of the input where there is no truth."""

    lows: Mapping[Path, Path]
    """Inputs that came with the set, by truth; all or none."""

    missing: tuple[str, ...]
    """Clips that are not there."""

    odd: tuple[str, ...] = ()
    """What else is not as the benchmark has it: clips, frames, gaps between them."""

    @property
    def inputs(self) -> str:
        """Where the inputs are from, for people."""
        if not self.protocol.degradation:
            return "of the set"
        return "of the set" if self.lows else f"made here ({self.protocol.degradation})"


def find_protocol_clips(protocol: Protocol, root: Path) -> ProtocolClips:
    """Find a benchmark's clips below a folder.

    Args:
        protocol: Which.
        root: Where it was unpacked.

    Raises:
        InputNotFoundError: No clip is there; the message says which layouts were looked for.
    """
    folders = protocol.truths if protocol.degradation else protocol.lows
    for folder in folders:
        found = _clips(root / folder, protocol.clips, INSIDE)
        if found:
            break
    else:
        wanted = ", ".join(protocol.clips[:3]) or "a folder a clip"
        raise InputNotFoundError(
            f"no clip of {protocol.name} in '{root}': expected {wanted} with a picture a frame in "
            f"one of {', '.join(repr(each or '.') for each in folders)}"
        )
    lows = _lows(protocol, root, found) if protocol.degradation else {}
    missing = tuple(name for name in protocol.clips if name not in found)
    return ProtocolClips(
        protocol, tuple(found.values()), lows, missing, tuple(_oddities(protocol, found))
    )


def protocol_truth(found: ProtocolClips, *, frames: int = ALL_FRAMES) -> TruthOptions:
    """How truth is read and reduced for a benchmark.

    Args:
        found: Its clips.
        frames: Most of each clip; fewer than all make figures that are not the field's.
    """
    protocol = found.protocol
    return TruthOptions(
        frames=frames,
        degradation=protocol.degradation or "none",
        degrade=protocol_degrade(protocol),
        lows=found.lows,
        enlarge=None if protocol.degradation else enlarge,
        multiple=SCALE,
        border_px=protocol.border_px,
        ends=protocol.ends,
        only=protocol.frames,
    )


def protocol_degrade(protocol: Protocol) -> Degrade:
    """Make inputs as the benchmark's are made; draws nothing."""
    reduce = blur_down if protocol.degradation == BD else _bicubic

    def degrade(frames: Iterator[Levels], rng: np.random.Generator) -> Iterator[Levels]:
        return map(reduce, frames)

    return degrade


def enlarge(image: Levels) -> Levels:
    """The field's bicubic: MATLAB's, four times."""
    return imresize(image, float(SCALE))


def _bicubic(image: Levels) -> Levels:
    return imresize(image, 1 / SCALE)


def _oddities(protocol: Protocol, found: Mapping[str, Path]) -> Iterator[str]:
    """Say what would make the figures nobody else's."""
    if protocol.count and len(found) != protocol.count:
        yield f"{len(found)} clips, of {protocol.count}"
    each = protocol.lengths * (len(protocol.clips) if len(protocol.lengths) == 1 else 1)
    lengths = dict(zip(protocol.clips, each, strict=True)) if protocol.clips else {}
    for name, path in found.items():
        count = len(images_in(path))
        wanted = lengths.get(name, protocol.lengths[0] if protocol.lengths else count)
        if count != wanted:
            yield f"{name} has {count} frames, of {wanted}"
        if protocol.frames and count <= max(protocol.frames):
            yield f"{name} has {count} frames, of which {max(protocol.frames)} is none"
        if (gap := gap_in(path)) is not None:
            yield f"{name}: {gap}"


def _clips(folder: Path, names: tuple[str, ...], inside: tuple[str, ...]) -> dict[str, Path]:
    """Folders with frames by the clip's name, of one layout."""
    if not folder.is_dir():
        return {}
    wanted = names or tuple(sorted(each.name for each in folder.iterdir() if each.is_dir()))
    found = {}
    for name in wanted:
        for place in (folder / name, *(folder / name / each for each in inside)):
            if place.is_dir() and images_in(place):
                found[name] = place
                break
    return found


def _lows(protocol: Protocol, root: Path, truths: Mapping[str, Path]) -> dict[Path, Path]:
    """Inputs of all clips in one layout; empty where the set comes without."""
    names = tuple(truths)
    for folder in protocol.lows:
        found = _clips(root / folder, names, ())
        if len(found) == len(names):
            return {truths[name]: found[name] for name in names}
    for inside in INSIDE_LOW[protocol.degradation]:
        places = {path: path.parent / inside for path in truths.values()}
        if all(place.is_dir() and images_in(place) for place in places.values()):
            return places
    return {}
