"""A calibration set as the inputs of a network's graph, its states recomputed by running it.

Every run starts without a past (cold), goes on with the state of the frame before (warm), and some
go across a cut, where the state is of another scene. That is what a stream meets. Colours that
footage hardly has come with every set: drawn clips follow its runs.

    for feed in calibration_feeds(bundle, calibration):
        ...  # {"frame": (1, H, W, 3) uint8, "state_...": (1, C, H/d, W/d) float32}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arrays import Levels
from ...bundle import Bundle
from ...errors import CalibrationError
from ...pictures.colour_probes import calibration_clips
from ...variants import REFERENCE
from .calibration_set import CalibrationSet
from .parallel import map_in_order, open_graph

Feed = dict[str, npt.NDArray[Any]]


def calibration_runs(calibration: CalibrationSet) -> list[Levels]:
    """Frames of all runs a network is calibrated on: the set's, then drawn colours.

    Returns:
        (T, H, W, 3) each, of the set's size.
    """
    return [run.frames for run in calibration.runs] + probe_runs(calibration)


def probe_runs(calibration: CalibrationSet) -> list[Levels]:
    """The drawn ones of `calibration_runs`."""
    return [clip.frames for clip in calibration_clips(calibration.height, calibration.width)]


def calibration_feeds(
    bundle: Bundle, calibration: CalibrationSet, graph: bytes | None = None
) -> list[Feed]:
    """Make the inputs of a stream graph for every frame of a set and of the drawn colours.

    Args:
        bundle: Of kind `stream`.
        calibration: Made for its network.
        graph: ONNX to run in the place of the bundle's reference variant, with the same interface:
            one whose states are scaled otherwise.

    Returns:
        One a frame, in order; held in memory, which a set's bounded size allows.

    Raises:
        CalibrationError: The set does not fit, or the network gives values that are not finite.
    """
    calibration.require_fit(bundle)
    session = open_graph(graph) if graph else _open_reference(bundle)

    def run_feeds(frames: Levels) -> list[Feed]:
        return list(_run_feeds(bundle, session, frames))

    runs = calibration_runs(calibration)
    return [feed for feeds in map_in_order(run_feeds, runs) for feed in feeds]


def graph_feeds(bundle: Bundle, calibration: CalibrationSet) -> list[list[Feed]]:
    """Make the inputs of every graph of the reference variant, whatever its kind.

    Of a clip network a run is one clip, and the decoder's inputs are the features of its frames.

    Args:
        bundle: Of either kind.
        calibration: Made for its network.

    Returns:
        Those of the stream graph; or of the clip graph, one a run, and of the decoder graph, one a
        frame.

    Raises:
        CalibrationError: See `calibration_feeds`.
    """
    if bundle.features is None:
        return [calibration_feeds(bundle, calibration)]
    calibration.require_fit(bundle)
    session, name = _open_reference(bundle), bundle.features.name
    clips: list[Feed] = [{bundle.input_name: frames} for frames in calibration_runs(calibration)]
    features: list[Feed] = []
    for found in map_in_order(lambda clip: session.run([name], clip)[0], clips):
        _require_finite(bundle, name, found)
        features += [{name: frame[None]} for frame in found]
    return [clips, features]


def _open_reference(bundle: Bundle) -> Any:
    variant = bundle.variant(REFERENCE)
    with bundle.graph(variant, variant.file) as graph:
        return open_graph(graph)


def _run_feeds(bundle: Bundle, session: Any, frames: npt.NDArray[np.uint8]) -> Iterator[Feed]:
    height, width = frames.shape[1:3]
    names = [spec.next_name for spec in bundle.state]
    state: Feed = {s.name: np.zeros(s.shape(height, width), np.float32) for s in bundle.state}
    for frame in frames:
        feed: Feed = {bundle.input_name: frame[None], **state}
        yield feed
        following = session.run(names, feed) if names else []
        state = {s.name: tensor for s, tensor in zip(bundle.state, following, strict=True)}
        for name, tensor in state.items():
            _require_finite(bundle, name, tensor)


def _require_finite(bundle: Bundle, name: str, tensor: npt.NDArray[Any]) -> None:
    if not np.isfinite(tensor).all():
        raise CalibrationError(
            f"'{bundle.name}': '{name}' is not finite on the calibration set; the network itself "
            "is at fault"
        )
