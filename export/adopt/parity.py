"""Proof that an adopted graph is the network: the original beside the bundle's graph over a clip.

What is held to is the original in ONNX Runtime, and of a network of ncnn's kind ncnn itself where
it is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...arrays import Floats, Levels
from ...errors import ParityError
from ...pictures.synthetic import draw_clip
from ..graphs.replay import replay
from ..graphs.variant_files import VariantFiles
from ..parity import FRAMES, LEVEL_TOLERANCE, GoldenClip
from .facts import Facts, whole_clip
from .original import Original
from .pixels import levels_of, planes_of

SIZES = ((48, 64), (33, 47))
"""Least height and width of the clips, made multiples of the network's."""

HEAVY_PARAMETERS = 3_000_000
"""Of a network that is run over fewer frames, as each takes seconds."""

HEAVY_FRAMES = 2

CLIP_FRAMES = 16
"""Of a network over clips of any length: for an error in a state to show."""

NCNN = "ncnn"


@dataclass(frozen=True)
class AdoptedParity:
    """Largest differences of the bundle's graph."""

    level_error: int
    """From the original in ONNX Runtime, in levels."""

    float_error: float
    """From the original before it is rounded, in levels: half a level is rounding."""

    ncnn_level_error: int | None
    """From what ncnn gives; None where it is not installed or has no part in it."""

    frames: int

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def check_adopted(
    original: Original, facts: Facts, files: VariantFiles
) -> tuple[AdoptedParity, GoldenClip]:
    """Run the original and the bundle's graphs over clips.

    Args:
        original: What is adopted.
        facts: Found of it.
        files: The bundle's.

    Returns:
        The differences, and the first clip with the original's output.

    Raises:
        ParityError: They differ by more than `LEVEL_TOLERANCE`.
    """
    others = _ncnn_runner(original, facts) if original.adopted == NCNN else None
    count = HEAVY_FRAMES if original.parameters > HEAVY_PARAMETERS else FRAMES
    multiple = facts.size_multiple
    found, floats, of_ncnn, golden, frames = 0, 0.0, 0, None, 0
    if original.recurrent is not None:
        count = max(count, CLIP_FRAMES)
    if original.framed is not None:
        fixed = original.framed.frames if original.framed.shown is None else None
        count = fixed or max(count, CLIP_FRAMES)
    if original.windowed is not None:
        count = original.windowed.window.frames
    for height, width in [original.declared] if original.clip and original.declared else SIZES:
        clip = draw_clip(count, *(side + -side % multiple for side in (height, width)))
        exact = whole_clip(original, clip, facts.range, facts.colour)
        expected = np.stack([_rounded(each) for each in exact])
        pictures = replay(files, original.states, [clip])[0].picture
        found = max(found, _difference(pictures, expected))
        floats = max(floats, *(_beyond(p, e) for p, e in zip(pictures, exact, strict=True)))
        if others is not None:
            theirs = np.stack([_rounded(others(frame)) for frame in clip])
            of_ncnn = max(of_ncnn, _difference(pictures, theirs))
        golden, frames = golden or GoldenClip(clip, expected), frames + len(clip)
    report = AdoptedParity(found, round(floats, 4), of_ncnn if others else None, frames)
    for what, error in (("the original", found), ("ncnn's own output", of_ncnn)):
        if error > LEVEL_TOLERANCE:
            raise ParityError(
                f"the adopted graph differs from {what} by {error} levels over {frames} frames, "
                f"at most {LEVEL_TOLERANCE} allowed; nothing was written"
            )
    assert golden is not None
    return report, golden


def _rounded(levels: Floats) -> Levels:
    rounded: Levels = (levels + np.float32(0.5)).clip(0, 255.5).astype(np.uint8)
    return rounded


def _difference(found: Levels, expected: Levels) -> int:
    return int(np.abs(found.astype(np.int16) - expected).max())


def _beyond(picture: Levels, exact: Floats) -> float:
    """Largest distance of a rounded picture from exact levels."""
    return float(np.abs(picture - exact.clip(0, 255)).max())


def _ncnn_runner(original: Original, facts: Facts) -> Callable[[Levels], Floats] | None:
    """Ncnn itself, on pictures of levels; None where it is not installed."""
    try:
        import ncnn
    except ImportError:
        return None
    net = ncnn.Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, 1
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    param, weights = map(str, original.files)
    if net.load_param(param) or net.load_model(weights):
        return None

    def run(frame: Levels) -> Floats:
        extractor = net.create_extractor()
        planes = planes_of(frame, facts.range, facts.colour)
        extractor.input(net.input_names()[0], ncnn.Mat(planes).clone())
        _, out = extractor.extract(net.output_names()[0])
        return levels_of(np.array(out, np.float32), facts.range, facts.colour)

    return run
