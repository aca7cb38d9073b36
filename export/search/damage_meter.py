"""How far a graph's pictures are from FP32's over streams with carried state, for a search.

meter = DamageMeter(bundle, calibration, ["psnr", "warp"])
meter.measure(model)  # {"snr": 31.2, "psnr": 44.1, "warp": 0.31, "warp_fp32": 0.30}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx

from ...arrays import Levels
from ...bundle import Bundle
from ...calibration.sets.calibration_set import CalibrationSet
from ...metrics import METRICS, MOST_DB, StreamMeter, TruthStream, finite_db, require_opencv
from ...metrics.stream import Moment
from ...variants import REFERENCE
from ..graphs.replay import open_session, run_stream
from .budget import REFERENCE_SUFFIX

STREAMS = 4
"""Runs of the set that are taken, spread over it."""

FRAMES = 16
"""Frames of each stream: the run's own, to and fro, so that what state gathers has time to show."""


class DamageMeter:
    """Runs graphs over the same streams and compares with FP32.

    Args:
        bundle: Of kind `stream`.
        calibration: Where the streams are from.
        measures: Names of `adcvsr.metrics.METRICS`; VMAF is not among them.

    Raises:
        CalibrationError: The set does not fit.
        MissingPackageError: A measure needs OpenCV, which is not there.
    """

    def __init__(
        self, bundle: Bundle, calibration: CalibrationSet, measures: Sequence[str]
    ) -> None:
        calibration.require_fit(bundle)
        self.measures = [METRICS[name] for name in measures]
        if any(metric.needs == "opencv" for metric in self.measures):
            require_opencv()
        self._state = bundle.state
        step = -(-len(calibration.runs) // STREAMS)
        self.streams = [_to_and_fro(run.frames, FRAMES) for run in calibration.runs[::step]]
        reference = bundle.read(bundle.variant(REFERENCE).file)
        self._truths = list(self._pictures(reference))
        self._moments = [_moments(truth) for truth in self._truths]
        self._own = {
            f"{name}{REFERENCE_SUFFIX}": value
            for name, value in self._figures(self._truths).items()
            if METRICS[name].temporal
        }

    @property
    def frames(self) -> int:
        """Of all streams."""
        return sum(map(len, self.streams))

    def measure(self, model: onnx.ModelProto) -> dict[str, float]:
        """Figures of a graph, means over all frames.

        Args:
            model: With the interface of the FP32 graph; state may be float16.

        Returns:
            By measure; `snr` in dB beside them, and with `_fp32` what FP32's own pictures have of
            measures that follow a stream. What cannot be measured on these streams is left out.
        """
        pictures = list(self._pictures(model.SerializeToString()))
        return {"snr": self._snr(pictures), **self._figures(pictures), **self._own}

    def _pictures(self, graph: bytes) -> Iterator[Levels]:
        session = open_session(graph)
        for stream in self.streams:
            yield run_stream(session, stream, self._state).picture

    def _snr(self, pictures: Sequence[Levels]) -> float:
        """Power of FP32's pictures about their mean over that of the difference, dB."""
        pairs = list(zip(self._truths, pictures, strict=True))
        power = sum(float(np.square(t - t.mean(dtype=np.float64)).sum()) for t, _ in pairs)
        noise = sum(float(np.square(t.astype(np.float64) - p).sum()) for t, p in pairs)
        return MOST_DB if not noise else finite_db(10 * float(np.log10(power / noise)))

    def _figures(self, pictures: Sequence[Levels]) -> dict[str, float]:
        values: dict[str, list[float]] = {metric.name: [] for metric in self.measures}
        for clip, moments in zip(pictures, self._moments, strict=True):
            meter = StreamMeter(self.measures)
            for picture, moment in zip(clip, moments, strict=True):
                meter.add(picture, moment)
            for name, found in meter.values.items():
                values[name] += map(METRICS[name].finite, found)
        return {name: float(np.mean(found)) for name, found in values.items() if found}


def _moments(truth: Levels) -> list[Moment]:
    stream = TruthStream()
    return [stream.step(picture) for picture in truth]


def _to_and_fro(frames: Levels, count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Walk through a run forwards and backwards until there are enough frames."""
    period = max(1, 2 * (len(frames) - 1))
    at = np.arange(count) % period
    walked: Levels = frames[np.minimum(at, period - at)]
    return walked
