"""The parity gate: how far a variant is from the FP32 one, and whether that is near enough.

Both run as the runtime would, one after the other: frame by frame with their own carried state, a
long drawn clip for drift, and the calibration set's runs for real pictures and cuts. Clip networks,
which carry nothing from window to window, run one window of the drawn clip. A mean does not see a
colour that the clips lack, so flat colours and drawn clips full of them have limits of their own.

    report = Comparison(recipe.gate, calibration).of(stage.open(), "int8-ort")
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..arrays import Levels
from ..bundle import Bundle
from ..calibration.sets.calibration_set import CalibrationSet
from ..errors import FlickerError, ParityError
from ..pictures.synthetic import draw_clip
from ..runtime.processing.backends import create_session
from ..runtime.processing.processor import StreamProcessor
from ..runtime.proof.colours import (
    ColourPictures,
    ColoursFound,
    colour_request,
    compare_colours,
    run_colours,
    session_runner,
)
from ..runtime.proof.golden import distance, golden_clip, replay_golden
from ..runtime.proof.still import StillFound, compare_still, still_clip, still_pictures
from ..runtime.proof.yuv import YuvFound, compare_yuv
from ..runtime.sessions.clip_session import ClipSession
from ..runtime.sessions.session import Session
from ..runtime.sessions.stream_session import StreamSession
from ..variants import REFERENCE
from .colour_gate import colours_entry, require_colours
from .recipes.recipe import Gate

DRAWN_FRAMES = 25
"""Frames drawn of the long clip, which walks through them to and fro: motion without a cut."""

HEIGHT, WIDTH = 64, 96
"""Of the drawn clip, made multiples of the network's."""

GOLDEN_TOLERANCE_DB = 1.0
"""By how much less than now `adcvsr verify` may find for the golden clip on the same backend: other
versions and processors round a few values otherwise."""


@dataclass(frozen=True)
class GateReport:
    """Distances from the FP32 variant. PSNR in dB over RGB levels, the mean over frames."""

    psnr_db: float
    """Over the drawn clip."""

    calibration_psnr_db: float
    """Over the calibration set's runs."""

    drift_db: float
    """PSNR of the first sixth of the drawn clip less that of the last; negative gets better. 0 of
    a clip network."""

    max_level_error: int
    """Largest difference of any pixel, in levels."""

    golden_psnr_db: float
    """Over the bundle's golden clip, against its golden output."""

    frames: int
    """Of the drawn clip."""

    colours: ColoursFound
    """Drawn colours, against FP32's."""

    reference_colours: ColoursFound
    """FP32's own flat colours, against the input's."""

    yuv: YuvFound | None
    """The variant's graph with YUV ends against that with RGB; None where files run RGB."""

    still: StillFound | None
    """Flicker where the input stands still; None of a clip network, which has no stream."""


@dataclass(frozen=True)
class _Expected:
    """What FP32 makes of everything that variants are measured on."""

    clips: list[list[Levels]]
    """Of the drawn clip, then of the calibration set's runs."""

    colours: ColourPictures
    steady: list[Levels]


class Comparison:
    """Measures variants of one network; FP32's part is run once, for the first of them.

    Args:
        gate: For the number of frames.
        calibration: The set the variants were made with.
    """

    def __init__(self, gate: Gate, calibration: CalibrationSet) -> None:
        self._frames, self._calibration = gate.frames, calibration
        self._expected: _Expected | None = None

    def of(self, bundle: Bundle, variant: str) -> GateReport:
        """Measure a variant.

        Args:
            bundle: With the variant and `fp32-onnx`, which is the same every time.
            variant: Its id.

        Raises:
            BackendUnavailableError: The variant does not load here.
        """
        count = self._frames
        if bundle.window is not None:
            count = min(count, bundle.window.frames)
        clips = [list(long_clip(bundle, count))]
        clips += [list(run.frames) for run in self._calibration.runs]
        request, still = colour_request(bundle), still_clip(*_size(bundle))
        if self._expected is None:
            with _open(bundle, REFERENCE) as reference:
                self._expected = _Expected(
                    [_upscale(reference, clip) for clip in clips],
                    run_colours(session_runner(reference), request),
                    _still(reference, still),
                )
        expected = self._expected
        with _open(bundle, variant) as session:
            distances = [
                [distance(*pair) for pair in zip(_upscale(session, clip), pictures, strict=True)]
                for clip, pictures in zip(clips, expected.clips, strict=True)
            ]
            _, golden_psnr_db = replay_golden(session, *golden_clip(bundle))
            coloured = run_colours(session_runner(session), request)
            yuv = compare_yuv(session, golden_clip(bundle)[0])
            pictures = _still(session, still)
        drawn, real = distances[0], [each for clip in distances[1:] for each in clip]
        sixth = max(1, len(drawn) // 6)
        first, last = (_mean(part) for part in (drawn[:sixth], drawn[-sixth:]))
        steady = expected.steady
        return GateReport(
            psnr_db=_mean(drawn),
            calibration_psnr_db=_mean(real),
            drift_db=round(first - last, 2) if bundle.window is None else 0.0,
            max_level_error=max(error for error, _ in [*drawn, *real]),
            golden_psnr_db=round(golden_psnr_db, 2),
            frames=len(drawn),
            colours=compare_colours(coloured, expected.colours, request),
            reference_colours=compare_colours(expected.colours, None, request),
            yuv=yuv,
            still=compare_still(pictures, steady, still) if pictures and steady else None,
        )


def require_within(report: GateReport, gate: Gate, variant: str) -> None:
    """Hold figures against limits.

    Raises:
        ParityError: One is beyond; the message has it and its limit.
    """
    limits = (
        ("PSNR", report.psnr_db, gate.psnr_db),
        ("PSNR on the calibration set", report.calibration_psnr_db, gate.psnr_db),
        ("PSNR on the golden clip", report.golden_psnr_db, gate.golden_psnr_db),
    )
    for what, found, least in limits:
        if found < least:
            raise ParityError(
                f"{variant} is too far from {REFERENCE}: {what} {found:.1f} dB, at least "
                f"{least:g} is required; nothing was written. Calibrate on clips nearer to what "
                "it will meet, or keep nodes float in the recipe"
            )
    advice = (
        "Calibrate on more clips, or on others ('adcvsr calibrate'), and try again; in a recipe of "
        "your own, nodes can be kept float (docs/quantization.md)"
    )
    require_colours(report.colours, gate, variant, advice)
    if report.yuv is not None and (why := report.yuv.why_beyond(gate.golden_psnr_db)):
        raise ParityError(
            f"{variant} is another network between YUV ends: {why}; nothing was written"
        )
    if report.still is not None and report.still.added > gate.flicker:
        raise FlickerError(
            f"{variant} flickers: parts that stand still change by {report.still.levels:.2f} "
            f"levels from frame to frame, {report.still.reference_levels:.2f} in {REFERENCE}, at "
            f"most {gate.flicker:g} more is allowed; nothing was written. "
            "In a recipe of your own, keep nodes float (docs/quantization.md)"
        )
    if report.drift_db > gate.drift_db:
        raise ParityError(
            f"{variant} drifts from {REFERENCE}: {report.drift_db:.2f} dB lost over "
            f"{report.frames} frames, at most {gate.drift_db:g} is allowed; nothing was written"
        )


def to_json(report: GateReport, gate: Gate) -> dict[str, Any]:
    """Figures and the limits they were held to, for the manifest."""
    figures = asdict(report)
    del figures["colours"], figures["reference_colours"]
    return {
        "judged": True,
        **figures,
        "against": REFERENCE,
        "colours": colours_entry(report.colours, report.reference_colours, gate),
        **limits_json(gate),
        "golden_tolerance_db": GOLDEN_TOLERANCE_DB,
    }


def limits_json(gate: Gate) -> dict[str, float]:
    """A gate's limits, for the manifest."""
    return {
        "least_psnr_db": gate.psnr_db,
        "least_golden_psnr_db": gate.golden_psnr_db,
        "most_drift_db": gate.drift_db,
        "most_flicker_added": gate.flicker,
    }


def long_clip(bundle: Bundle, frames: int) -> Iterator[Levels]:
    """Yield a drawn clip that goes to and fro, (H, W, 3) uint8 a frame."""
    height, width = _size(bundle)
    drawn = draw_clip(min(DRAWN_FRAMES, frames), height, width)
    period = max(1, 2 * (len(drawn) - 1))
    for index in range(frames):
        at = index % period
        yield drawn[min(at, period - at)]


def _size(bundle: Bundle) -> tuple[int, int]:
    """Height and width of drawn clips."""
    multiple = bundle.size_multiple
    return HEIGHT + -HEIGHT % multiple, WIDTH + -WIDTH % multiple


def _still(session: Session, clip: Levels) -> list[Levels]:
    """Pictures of a still clip; none of a clip network."""
    return still_pictures(session, clip) if isinstance(session, StreamSession) else []


def _upscale(session: Session, frames: Sequence[Levels]) -> list[Levels]:
    """Pictures of one stream or clip."""
    if isinstance(session, ClipSession):
        return list(session.upscale_window(frames, 0, len(frames)))
    assert isinstance(session, StreamSession)
    return list(StreamProcessor(session).clip(frames))


def _open(bundle: Bundle, variant: str) -> Session:
    return create_session(bundle, backend="ort-cpu", variant=variant)


def _mean(values: list[tuple[int, float]]) -> float:
    return round(float(np.mean([value for _, value in values])), 2)
