"""Proof that exported graphs are the network: torch against ONNX Runtime over clips.

Causal networks run frame by frame with carried state, the others clip by clip. The picture is
compared twice: in levels, from the graphs as they ship, and before clamping and rounding, from the
same graphs with one more output. Graphs that fail are not written.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..arrays import Levels
from ..bundle.schema import StateSpec
from ..errors import ParityError
from ..model import AdcVsr
from ..model.decoder import unpack_frames
from ..model.temporal import StateFlow
from ..pictures.synthetic import draw_clip
from .graphs.replay import Run, replay
from .graphs.traced import FEATURES_NAME, LEVELS
from .graphs.variant_files import VariantFiles

FLOAT_TOLERANCE = 1e-4
"""Largest difference of the float picture in [-1, 1], of every state and of the features."""

LEVEL_TOLERANCE = 1
"""Largest difference of the uint8 picture, in levels: rounding may fall either way."""

FRAMES = 8
"""Frames replayed, with carried state: enough for an error in the state to show."""

SIZES = ((48, 64), (33, 47))
"""Least height and width of the clips, rounded up to the network's multiple; two, as sizes are
dynamic."""


@dataclass(frozen=True)
class ParityReport:
    """Largest differences between torch and the graphs."""

    float_error: float
    """Of the float picture in [-1, 1]."""

    level_error: int
    """Of the uint8 picture, in levels."""

    state_error: float
    """Of any state tensor; 0 where there is none."""

    features_error: float
    """Of the features between clip graph and decoder graph; 0 for a stream graph."""

    frames: int
    """Frames compared, over all sizes."""


@dataclass(frozen=True)
class GoldenClip:
    """Input and expected output of a bundle's self-test."""

    frames: Levels
    """(T, H, W, 3)."""

    upscaled: Levels
    """(T, 4H, 4W, 3), by torch."""


def check_parity(
    network: AdcVsr, files: VariantFiles, state: Sequence[StateSpec]
) -> tuple[ParityReport, GoldenClip]:
    """Run torch and the graphs over clips and compare.

    Args:
        network: The source of truth.
        files: Its FP32 graphs.
        state: Their carried state.

    Returns:
        The differences, and the first clip with torch's output as golden vectors.

    Raises:
        ParityError: A difference exceeds its tolerance; the message says which.
    """
    clips = [draw_clip(FRAMES, *size) for size in _sizes(network.config.size_multiple)]
    expected = [_run_torch(network, state, clip) for clip in clips]
    shipped = replay(files, state, clips)
    probed = replay(files, state, clips, probe=True)
    factor = network.decoder.pack_factor
    beside = {
        name: max(
            _distance(run.beside[name], graph.beside[name])
            for graphs in (shipped, probed)
            for run, graph in zip(expected, graphs, strict=True)
        )
        for name in expected[0].beside
    }
    report = ParityReport(
        float_error=max(
            _distance(run.picture, _signed_from_packed(graph.picture, factor))
            for run, graph in zip(expected, probed, strict=True)
        ),
        level_error=max(
            _levels(_distance(_levels_from_signed(run.picture), graph.picture))
            for run, graph in zip(expected, shipped, strict=True)
        ),
        state_error=max((e for name, e in beside.items() if name != FEATURES_NAME), default=0.0),
        features_error=beside.get(FEATURES_NAME, 0.0),
        frames=sum(map(len, clips)),
    )
    _require(report)
    return report, GoldenClip(clips[0], _levels_from_signed(expected[0].picture))


def _sizes(multiple: int) -> list[tuple[int, int]]:
    return [(h + -h % multiple, w + -w % multiple) for h, w in SIZES]


def _require(report: ParityReport) -> None:
    limits = (
        ("state", report.state_error, FLOAT_TOLERANCE),
        ("features", report.features_error, FLOAT_TOLERANCE),
        ("picture (float)", report.float_error, FLOAT_TOLERANCE),
        ("picture (levels)", report.level_error, LEVEL_TOLERANCE),
    )
    for what, found, limit in limits:
        if found > limit:
            raise ParityError(
                f"the exported graph differs from the network: {what} by {found:.3g} over "
                f"{report.frames} frames, at most {limit:g} is allowed; nothing was written"
            )


@torch.no_grad()
def _run_torch(network: AdcVsr, specs: Sequence[StateSpec], clip: Levels) -> Run:
    """The network itself, its picture as (T, 3, 4H, 4W) in [-1, 1] and not clamped."""
    frames = torch.from_numpy(clip).float().permute(0, 3, 1, 2) / LEVELS - 1  # (T, 3, H, W)
    if not network.config.causal:
        features = network.features(frames, StateFlow(len(frames)))
        # Frame by frame, as only the features couple frames and pictures are large.
        packed = torch.cat([network.decoder(each[None]) for each in features])
        picture = unpack_frames(packed, network.decoder.pack_factor)
        return Run(picture.numpy(), {FEATURES_NAME: list(features.numpy())})
    state, pictures = None, []
    beside: dict[str, list[npt.NDArray[Any]]] = {s.next_name: [] for s in specs}
    for frame in frames:
        upscaled, state = network(frame[None, None], state)
        pictures.append(upscaled[0].numpy())
        for spec in specs:
            beside[spec.next_name].append(state[spec.name][0].numpy())
    return Run(np.concatenate(pictures), beside)


def _levels_from_signed(picture: npt.NDArray[Any]) -> Levels:
    """(T, 3, 4H, 4W) in [-1, 1] to (T, 4H, 4W, 3) uint8, rounded to nearest."""
    levels = (picture * LEVELS + LEVELS + 0.5).clip(0, 255.5)
    return np.ascontiguousarray(levels.transpose(0, 2, 3, 1).astype(np.uint8))


def _signed_from_packed(packed: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Levels plus one half, packed, to (T, 3, 4H, 4W) in [-1, 1]."""
    unpacked = unpack_frames(torch.from_numpy(packed), factor).numpy()
    signed: npt.NDArray[Any] = (unpacked - (LEVELS + 0.5)) / LEVELS
    return signed


def _levels(difference: float) -> int:
    return math.ceil(min(difference, 255))


def _distance(expected: Iterable[npt.NDArray[Any]], found: Iterable[npt.NDArray[Any]]) -> float:
    """Largest difference over frames; infinite where anything is not finite."""
    largest = 0.0
    for truth, tensor in zip(expected, found, strict=True):
        if truth.shape != tensor.shape:
            raise ParityError(
                f"the exported graph gives shape {tensor.shape}, the network {truth.shape}"
            )
        difference = float(np.abs(truth.astype(np.float64) - tensor.astype(np.float64)).max())
        if not math.isfinite(difference):
            return math.inf
        largest = max(largest, difference)
    return largest
