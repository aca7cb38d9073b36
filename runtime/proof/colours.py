"""Whether a variant gives colours back: every flat one by itself, and drawn clips full of them.

A mean over pictures does not see a green that comes out grey, where the clips have no green. So
each of 749 flat colours is held to a limit of its own, on every backend.

    request = colour_request(bundle)
    found = compare_colours(run_colours(session_runner(session), request), expected, request)
    why = found.why_beyond(ColourLimits())  # None, or "(0, 255, 0) comes out as (27, 149, 9), ..."
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import reduce
from typing import Any

import numpy as np

from ...arrays import Levels
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...config import SCALE
from ...errors import BackendUnavailableError, MissingPackageError
from ...metrics import MOST_DB, finite_db, psnr
from ...pictures.colour_probes import (
    NAMED,
    TILE_PX,
    ProbeClip,
    flat_colours,
    flat_mosaic,
    probe_clips,
)
from ...variants import REFERENCE
from ..processing.backends import create_session
from ..processing.processor import StreamProcessor
from ..sessions.clip_session import ClipSession
from ..sessions.session import Session
from ..sessions.stream_session import StreamSession

FLAT_HEIGHT, FLAT_WIDTH = 192, 320
CLIP_HEIGHT, CLIP_WIDTH = 96, 160

MOST_PARAMETERS = 3_000_000
"""Of a network that is asked everything; larger ones take seconds a frame on a CPU."""

FLAT_FRAMES = 2
"""A still's: the second has the first as its past."""

Run = Callable[[Levels], Levels]
"""A clip (T, H, W, 3) from no past on to its pictures (T, sH, sW, 3)."""


@dataclass(frozen=True)
class ColourLimits:
    """How far colours may be off, in levels of 0 to 255."""

    flat_mean: float = 3.0
    """Of a flat colour: mean error of any of its channels."""

    flat_most: int = 6
    """Of a flat colour: any pixel and channel."""

    area: float = 20.0
    """Of the drawn clips without single-pixel edges: the mean over what one input pixel becomes. A
    range that is cut gives 80 to 115; at edges between saturated colours 8 bits give up to 15."""

    clip_psnr_db: float = 34.0
    """Least PSNR of every drawn clip."""

    def colours_json(self) -> dict[str, float]:
        """JSON-ready limits, those of colours alone where a class adds others."""
        return {field.name: getattr(self, field.name) for field in fields(ColourLimits)}


@dataclass(frozen=True)
class ColoursFound:
    """Distances of a variant's colours, in levels."""

    against: str
    """`fp32-onnx`, or `input` where flat colours are held against themselves."""

    flat_mean: float
    """Largest mean error of a flat colour's channel."""

    flat_most: int
    """Largest error of any pixel of a flat colour."""

    worst_colour: tuple[int, int, int]
    """The flat colour with the largest error, RGB."""

    expected: tuple[int, int, int]
    """What it should come out as."""

    came_out: tuple[int, int, int]
    """What it came out as."""

    colours: int
    """Flat colours looked at."""

    area: float = 0.0
    """Largest error of the mean over an input pixel's area, in clips without single-pixel edges."""

    area_clip: str = ""
    """Where that is."""

    sharp_area: float = 0.0
    """The same in thin lines and text: not limited, as clipped overshoot is most of it."""

    clip_psnr_db: float = MOST_DB
    """PSNR of the worst drawn clip."""

    worst_clip: str = ""
    """Which that is."""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def line(self) -> str:
        """One line for people."""
        return (
            f"worst of {self.colours} flat colours {self.worst_colour} comes out as "
            f"{self.came_out} ({self.against} {self.expected}): {self.flat_most} levels at most, "
            f"means within {self.flat_mean:.1f}"
            + (
                f"; drawn clips {self.clip_psnr_db:.1f} dB or more, areas within {self.area:.1f}"
                f" levels ({self.sharp_area:.1f} in text and lines)"
                if self.worst_clip
                else ""
            )
        )

    def why_beyond(self, limits: ColourLimits) -> str | None:
        """Say which limit is not held; None where all are."""
        colour = (
            f"colour {self.worst_colour} comes out as {self.came_out}, {self.against} has "
            f"{self.expected}"
        )
        if self.flat_most > limits.flat_most:
            return f"{colour}: {self.flat_most} levels off, at most {limits.flat_most} allowed"
        if self.flat_mean > limits.flat_mean:
            return (
                f"a flat colour is {self.flat_mean:.2f} levels off in the mean, at most "
                f"{limits.flat_mean:g} allowed; {colour}"
            )
        if self.area > limits.area:
            return (
                f"'{self.area_clip}' is {self.area:.1f} levels off over an input pixel, at most "
                f"{limits.area:g} allowed"
            )
        if self.clip_psnr_db < limits.clip_psnr_db:
            return (
                f"'{self.worst_clip}' has {self.clip_psnr_db:.1f} dB, at least "
                f"{limits.clip_psnr_db:g} required"
            )
        return None


@dataclass(frozen=True)
class ColourPictures:
    """What a network made of everything drawn."""

    flat: Levels
    """(N, side, side, 3): the middles of all flat colours."""

    clips: tuple[Levels, ...]
    """(T, sH, sW, 3) each; none where flat colours alone were asked for."""


@dataclass(frozen=True)
class ColourRequest:
    """What is drawn, and how large."""

    height: int = FLAT_HEIGHT
    """Of the stills with flat colours, pixels."""

    width: int = FLAT_WIDTH
    """Likewise."""

    colours: Levels | None = None
    """(N, 3); None for all of `flat_colours`."""

    clips: bool = True
    """Whether drawn clips are looked at as well."""

    scale: int = SCALE
    """Of the network."""


def colour_request(bundle: Bundle, size: tuple[int, int] | None = None) -> ColourRequest:
    """What a bundle is asked: of networks that take seconds a frame, named colours alone.

    Args:
        bundle: The network.
        size: Height and width in pixels where only one size can be run: flat colours alone then.
    """
    whole = bundle.kind == "stream" and bundle.parameters <= MOST_PARAMETERS
    kind = "stream" if whole else "clip"
    return request_for(kind, bundle.size_multiple, size, scale=bundle.scale)


def request_for(
    kind: str, multiple: int, size: tuple[int, int] | None = None, *, scale: int = SCALE
) -> ColourRequest:
    """As `colour_request`, of a network that is no bundle yet.

    Args:
        kind: `stream` or `clip`.
        multiple: What its sizes are multiples of, pixels.
        size: See `colour_request`.
        scale: Of the network.
    """
    named = np.array(list(NAMED.values()), np.uint8)
    if kind == "clip":
        height, width = size or (64, 96)
        return ColourRequest(
            _up(height, multiple), _up(width, multiple), named, clips=False, scale=scale
        )
    if size is None:
        return ColourRequest(_up(FLAT_HEIGHT, multiple), _up(FLAT_WIDTH, multiple), scale=scale)
    return ColourRequest(max(size[0], TILE_PX), max(size[1], TILE_PX), clips=False, scale=scale)


def run_colours(run: Run, request: ColourRequest) -> ColourPictures:
    """Run what is drawn.

    Args:
        run: The network.
        request: What is drawn.
    """
    mosaic = flat_mosaic(_colours(request), request.height, request.width)
    stills = [run(np.repeat(frame[None], FLAT_FRAMES, axis=0))[-1] for frame in mosaic.frames]
    flat = mosaic.centres(np.stack(stills), request.scale)
    return ColourPictures(flat, tuple(run(clip.frames) for clip in _clips(request)))


def compare_colours(
    found: ColourPictures, expected: ColourPictures | None, request: ColourRequest
) -> ColoursFound:
    """Hold pictures against the FP32 network's, or flat colours against themselves.

    Args:
        found: A variant's.
        expected: FP32's of the same request; None where there are none: clips are not looked at.
        request: What was drawn.
    """
    colours = _colours(request)
    truth = np.broadcast_to(colours[:, None, None], found.flat.shape)
    aim = truth if expected is None else expected.flat
    difference = found.flat.astype(np.int16) - aim  # (N, side, side, 3)
    means = np.abs(difference.mean((1, 2), dtype=np.float64)).max(1)
    most = np.abs(difference).max((1, 2, 3))
    worst = int(np.lexsort((means, most))[-1])
    flat = ColoursFound(
        against="input" if expected is None else REFERENCE,
        flat_mean=round(float(means.max()), 2),
        flat_most=int(most[worst]),
        worst_colour=_rgb(colours[worst]),
        expected=_rgb(aim[worst].mean((0, 1))),
        came_out=_rgb(found.flat[worst].mean((0, 1))),
        colours=len(colours),
    )
    if expected is None or not expected.clips:
        return flat
    return _with_clips(flat, found, expected, request)


def session_runner(session: Session) -> Run:
    """A session as what `run_colours` takes."""

    def run(clip: Levels) -> Levels:
        if isinstance(session, ClipSession):
            return np.stack(list(session.upscale_window(list(clip), 0, len(clip))))
        assert isinstance(session, StreamSession)
        return np.stack(list(StreamProcessor(session).clip(clip)))

    return run


def reference_pictures(bundle: Bundle, request: ColourRequest) -> ColourPictures | None:
    """FP32's pictures by ONNX Runtime on the CPU; None where it is not there."""
    try:
        session = create_session(bundle, backend="ort-cpu", variant=REFERENCE)
        with session:
            return run_colours(session_runner(session), request)
    except (BackendUnavailableError, MissingPackageError):
        return None


def colour_limits(bundle: Bundle, variant: Variant, against: str) -> ColourLimits:
    """What a variant is held to: its recipe's limits from the manifest, else the usual ones.

    Held against the input itself, what FP32 is off by comes on top: the manifest has that figure,
    for the variant where it was judged, else for FP32.

    Args:
        bundle: The variant's.
        variant: Of the bundle.
        against: `ColoursFound.against`.
    """
    colours = _manifest_colours(variant)
    limits = ColourLimits(**colours.get("limits", {}))
    if against != "input":
        return limits
    exact = bundle.variants.get(REFERENCE)
    own = colours.get("reference") or (
        _manifest_colours(exact).get("reference", {}) if exact else {}
    )
    return ColourLimits(
        flat_mean=limits.flat_mean + own.get("flat_mean", limits.flat_mean),
        flat_most=limits.flat_most + own.get("flat_most", limits.flat_most),
    )


def _manifest_colours(variant: Variant) -> dict[str, Any]:
    """What the manifest says of a variant's colours; empty where it says nothing."""
    found: dict[str, Any] = variant.facts.get("parity", {}).get("colours", {})
    return found


def _with_clips(
    flat: ColoursFound, found: ColourPictures, expected: ColourPictures, request: ColourRequest
) -> ColoursFound:
    areas: dict[bool, list[tuple[float, str]]] = {False: [(0.0, "")], True: [(0.0, "")]}
    decibels = []
    for clip, mine, its in zip(_clips(request), found.clips, expected.clips, strict=True):
        areas[clip.sharp].append((_area_error(mine, its, request.scale), clip.name))
        each = [finite_db(psnr(a, b)) for a, b in zip(mine, its, strict=True)]
        decibels.append((float(np.mean(each)), clip.name))
    (area, area_clip), (sharp, _) = max(areas[False]), max(areas[True])
    least, worst_clip = min(decibels)
    return ColoursFound(
        **{
            **asdict(flat),
            "area": round(area, 2),
            "area_clip": area_clip,
            "sharp_area": round(sharp, 2),
            "clip_psnr_db": round(least, 2),
            "worst_clip": worst_clip,
        }
    )


def _area_error(found: Levels, expected: Levels, scale: int) -> float:
    """Largest error of the mean over what one input pixel becomes."""
    difference = found.astype(np.int16) - expected
    # Sums of strided views: exact in 16 bits, and ten times as fast as a mean of a reshaped array.
    rows = reduce(np.add, (difference[:, i::scale] for i in range(scale)))
    areas = reduce(np.add, (rows[:, :, i::scale] for i in range(scale)))
    return float(np.abs(areas).max()) / scale**2


def _colours(request: ColourRequest) -> Levels:
    return flat_colours() if request.colours is None else request.colours


def _clips(request: ColourRequest) -> tuple[ProbeClip, ...]:
    return probe_clips(CLIP_HEIGHT, CLIP_WIDTH) if request.clips else ()


def _rgb(colour: Any) -> tuple[int, int, int]:
    r, g, b = (round(float(channel)) for channel in colour)
    return r, g, b


def _up(side: int, multiple: int) -> int:
    return side + -side % multiple
