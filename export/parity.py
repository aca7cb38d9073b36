"""Proof that an exported graph is the network: torch against ONNX Runtime over a clip with state.

The picture's float path is checked on a temporary graph with float output; the shipped graph on its
uint8 output. A graph that fails is not written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from ..errors import ParityError, missing_package
from ..model import AdcVsr
from ..synthetic import draw_clip
from .graph import INPUT_NAME, OUTPUT_NAME, StreamGraph

FLOAT_TOLERANCE = 1e-4
"""Largest difference of the float picture in [-1, 1] and of every state."""

LEVEL_TOLERANCE = 1
"""Largest difference of the uint8 picture, in levels: rounding may fall either way."""

FRAMES = 8
"""Frames replayed, with carried state: enough for an error in the state to show."""

SIZES = ((48, 64), (40, 56))
"""Height and width of the clips, in multiples of the network's; two, as sizes are dynamic."""

Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ParityReport:
    """Largest differences between torch and the graph."""

    float_error: float
    """Of the float picture in [-1, 1]."""

    state_error: float
    """Of any state tensor."""

    level_error: int
    """Of the uint8 picture, in levels."""

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
    network: AdcVsr, graph: onnx.ModelProto, float_graph: onnx.ModelProto
) -> tuple[ParityReport, GoldenClip]:
    """Run torch and both graphs over clips with carried state and compare.

    Args:
        network: The source of truth.
        graph: The stream graph to ship.
        float_graph: The same with float output.

    Returns:
        The differences, and the first clip with torch's output as golden vectors.

    Raises:
        ParityError: A difference exceeds its tolerance; the message says which and where.
    """
    float_error = state_error = 0.0
    level_error = count = 0
    golden: GoldenClip | None = None
    multiple = network.config.size_multiple
    for height, width in SIZES:
        clip = draw_clip(FRAMES, height * multiple, width * multiple)
        expected = _run_torch(network, clip, float_output=False)
        expected_float = _run_torch(network, clip, float_output=True)
        found = _run_onnx(network, graph, clip)
        found_float = _run_onnx(network, float_graph, clip)
        for name in expected[0]:
            wide, narrow = name == OUTPUT_NAME, name != OUTPUT_NAME
            for step in range(FRAMES):
                difference = _distance(expected[step][name], found[step][name])
                difference_float = _distance(expected_float[step][name], found_float[step][name])
                if wide:
                    level_error = max(level_error, math.ceil(min(difference, 255)))
                    float_error = max(float_error, difference_float)
                if narrow:
                    state_error = max(state_error, difference, difference_float)
        count += FRAMES
        if golden is None:
            pictures = np.concatenate([step[OUTPUT_NAME] for step in expected])
            golden = GoldenClip(clip, pictures)
    assert golden is not None
    report = ParityReport(float_error, state_error, level_error, count)
    _require(report)
    return report, golden


def _require(report: ParityReport) -> None:
    limits = (
        ("picture (float)", report.float_error, FLOAT_TOLERANCE),
        ("state", report.state_error, FLOAT_TOLERANCE),
        ("picture (levels)", report.level_error, LEVEL_TOLERANCE),
    )
    for what, found, limit in limits:
        if found > limit:
            raise ParityError(
                f"the exported graph differs from the network: {what} by {found:.3g} over "
                f"{report.frames} frames, at most {limit:g} is allowed; nothing was written"
            )


def _run_torch(
    network: AdcVsr, clip: Levels, *, float_output: bool
) -> list[dict[str, npt.NDArray[Any]]]:
    module = StreamGraph(network, float_output=float_output).eval()
    shapes = network.state_shapes(clip.shape[1], clip.shape[2])
    state = [torch.zeros(1, *shapes[name]) for name in module.state_names]
    steps = []
    with torch.no_grad():
        for frame in clip:
            picture, *state = module(torch.from_numpy(frame)[None], *state)
            step = {OUTPUT_NAME: picture.numpy()}
            for name, tensor in zip(module.state_names, state, strict=True):
                step[f"{name}_next"] = tensor.numpy()
            steps.append(step)
    return steps


def _run_onnx(
    network: AdcVsr, graph: onnx.ModelProto, clip: Levels
) -> list[dict[str, npt.NDArray[Any]]]:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_package("onnxruntime", "export", "the parity check of an export") from error
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    shapes = network.state_shapes(clip.shape[1], clip.shape[2])
    feeds: dict[str, npt.NDArray[Any]] = {
        name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()
    }
    steps = []
    for frame in clip:
        feeds[INPUT_NAME] = frame[None]
        step = dict(zip(outputs, session.run(outputs, feeds), strict=True))
        feeds = {name.removesuffix("_next"): step[name] for name in outputs if name != OUTPUT_NAME}
        steps.append(step)
    return steps


def _distance(expected: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    if expected.shape != found.shape:
        raise ParityError(
            f"the exported graph gives shape {found.shape}, the network {expected.shape}"
        )
    difference = np.abs(expected.astype(np.float64) - found.astype(np.float64))
    largest = float(difference.max())
    return largest if math.isfinite(largest) else math.inf
