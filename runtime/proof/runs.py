"""What a run of a variant is held to, and what it was found to be.

found = judge_run(variant_pictures, reference_pictures, scale=4)
RunLimits().faults(found)  # ("banding",)
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from ...archives import ARCHIVE_ERRORS
from ...arrays import Levels
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import BundleError
from ...metrics import finite_db, psnr_of
from ...metrics.colour_shift import ciede2000, lab_of_light, linear_light
from ...metrics.contours import climb_percent, contour_climb
from ...metrics.quantization import flicker, patch_errors, rms_error
from ..processing.processor import StreamProcessor
from ..sessions.stream_session import StreamSession

RUNS_LIMIT_BYTES = 1 << 28
"""Largest golden runs, unpacked; six of them have 1 MB."""

MOST_RUNS = 64

SHIFT_PX = 8
"""Side of the areas whose colours are compared, in input pixels."""

FAULTS = {
    "distance": "pictures too far from the reference",
    "banding": "banding",
    "colour": "colour shift",
    "flicker": "flicker",
}
"""What speaks against a run, in words."""

MEANINGS = {
    "distance": "some of its pictures look clearly different",
    "banding": "smooth slopes, such as a sky, show steps",
    "colour": (
        "areas come out tinted; under 1 CIEDE2000 few people see it even side by side, and they "
        "see it in greys first: black-and-white film, cameras at night"
    ),
    "flicker": "areas that are still change in brightness from frame to frame",
    "drift": "pictures get worse the longer a stream runs",
}
"""What a user would see of each fault, and of errors that grow with the frames."""


@dataclass(frozen=True)
class RunFound:
    """A variant's pictures of a run against the reference's."""

    rms: float
    """Error of the worst frame, levels over RGB."""

    colour: float
    """CIEDE2000 between mean colours over every second frame of the run, mean over areas."""

    flicker: float
    """Levels, see `metrics.quantization.flicker`."""

    banding: float | None
    """Percent of smooth slopes climbed in steps; None where nothing is smooth."""

    @property
    def psnr_db(self) -> float:
        """Of the worst frame."""
        return finite_db(psnr_of(self.rms**2))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values, rounded."""
        return {k: None if v is None else round(v, 4) for k, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class RunLimits:
    """The project's choice, not a law; what a run may be against the reference's."""

    least_psnr_db: float = 32.0
    """Of the worst frame, over RGB."""

    most_colour: float = 0.5
    """CIEDE2000 between mean colours: half of what one just sees side by side."""

    most_flicker: float = 0.5
    """RMS levels of patches, faster than a tenth of the frame rate."""

    most_banding: float = 10.0
    """Percent of smooth slopes climbed in steps of two levels and more. Pictures rounded to every
    second level have 24 to 59, `nano` INT8 at most 1.3."""

    def shares(self, found: RunFound) -> dict[str, float]:
        """How much of each limit is used, over 1 beyond it; by the names of `FAULTS`."""
        least_rms = 255 * 10 ** (-self.least_psnr_db / 20)
        return {
            "distance": found.rms / least_rms,
            "banding": (found.banding or 0.0) / self.most_banding,
            "colour": found.colour / self.most_colour,
            "flicker": found.flicker / self.most_flicker,
        }

    def faults(self, found: RunFound) -> tuple[str, ...]:
        """What is beyond, the worst first; names of `FAULTS`."""
        beyond = {name: share for name, share in self.shares(found).items() if share > 1}
        return tuple(sorted(beyond, key=lambda name: -beyond[name]))

    def words(self, fault: str, found: RunFound) -> str:
        """A fault with its figure and limit."""
        figures = {
            "distance": f"{found.psnr_db:.1f} dB, at least {self.least_psnr_db:g} required",
            "banding": f"{found.banding or 0:.0f} % of slopes in steps, at most "
            f"{self.most_banding:g} allowed",
            "colour": f"{found.colour:.2f} CIEDE2000, at most {self.most_colour:g} allowed",
            "flicker": f"{found.flicker:.2f} levels, at most {self.most_flicker:g} allowed",
        }
        return f"{FAULTS[fault]} ({figures[fault]})"

    def to_json(self) -> dict[str, float]:
        """JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class RunsFound:
    """What became of a variant's golden runs here."""

    runs: int
    within: int
    worst: str
    """What speaks against the worst one, in words; empty where all are within."""

    used: float
    """Largest share of any limit."""

    def why_beyond(self) -> str | None:
        """Say which limit is not held; None where all are."""
        if self.within == self.runs:
            return None
        return f"{self.runs - self.within} of {self.runs} golden runs: {self.worst}"


def stated_limits(variant: Variant) -> RunLimits | None:
    """Limits of the statement in a variant's manifest; None where there is none."""
    stated = variant.facts.get("statement")
    if stated is None:
        return None
    known = {each.name for each in fields(RunLimits)}
    return RunLimits(**{k: float(v) for k, v in stated["limits"].items() if k in known})


def unknown_limits(variant: Variant) -> list[str]:
    """Limits of a variant's statement that this version does not know, as a newer one writes."""
    stated = variant.facts.get("statement")
    known = {each.name for each in fields(RunLimits)}
    return [] if stated is None else sorted(set(stated["limits"]) - known)


def golden_runs(bundle: Bundle, variant: Variant) -> list[Levels]:
    """Read the runs that decided a variant's statement.

    Returns:
        (T, H, W, 3) uint8 RGB each.

    Raises:
        BundleError: The file is missing, altered or holds no runs.
    """
    name = variant.facts["statement"]["runs_file"]
    data = bundle.read(name)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            if sum(entry.file_size for entry in stored.zip.infolist()) > RUNS_LIMIT_BYTES:
                raise ValueError(f"it declares more than {RUNS_LIMIT_BYTES} bytes")
            runs = [stored[key] for key in sorted(stored.files)[:MOST_RUNS]]
        if not runs:
            raise ValueError("it has no runs")
        for run in runs:
            if run.dtype != np.uint8 or run.ndim != 4 or run.shape[3] != 3 or len(run) < 4:
                raise ValueError(f"a run of {run.dtype} {run.shape}")
    except ARCHIVE_ERRORS as error:
        raise BundleError(
            f"'{bundle.path}': '{name}' holds no golden runs: {error}; make the statement again"
        ) from error
    return runs


def run_stream(session: StreamSession, frames: Levels) -> list[Levels]:
    """Pictures of a run, from no past on."""
    return list(StreamProcessor(session).clip(frames))


def hold_runs(found: Sequence[RunFound], limits: RunLimits) -> RunsFound:
    """Hold golden runs against the statement's limits."""
    used = [max(limits.shares(each).values()) for each in found]
    worst = found[int(np.argmax(used))]
    faults = limits.faults(worst)
    return RunsFound(
        runs=len(found),
        within=sum(not limits.faults(each) for each in found),
        worst=limits.words(faults[0], worst) if faults else "",
        used=round(max(used), 3),
    )


def judge_run(pictures: Sequence[Levels], reference: Sequence[Levels], *, scale: int) -> RunFound:
    """Compare the pictures of a run.

    Args:
        pictures: The variant's, (sH, sW, 3) uint8 RGB each, four or more.
        reference: Likewise.
        scale: Of the network.
    """
    pairs = list(zip(pictures, reference, strict=True))
    # Banding is of a picture: one of the run tells, at a fraction of the cost.
    banding = climb_percent(*contour_climb(*pairs[-1]))
    return RunFound(
        rms=max(rms_error(*pair) for pair in pairs),
        colour=_colour_shift(pictures, reference, SHIFT_PX * scale),
        flicker=flicker([patch_errors(*pair) for pair in pairs]).rms,
        banding=banding,
    )


def _colour_shift(pictures: Sequence[Levels], reference: Sequence[Levels], side: int) -> float:
    first, second = (
        lab_of_light(np.mean([_area_light(p, side) for p in each[::2]], axis=0))
        for each in (pictures, reference)
    )
    return float(ciede2000(first, second).mean())


def _area_light(picture: Levels, side: int) -> np.ndarray[Any, Any]:
    """Mean linear light of areas of that side, smaller at the far edges."""
    light = linear_light(picture)
    rows, columns = (np.arange(0, size, side) for size in light.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(light, rows, axis=0), columns, axis=1)
    height, width = light.shape[:2]
    tall, wide = np.diff([*rows, height]), np.diff([*columns, width])
    means: np.ndarray[Any, Any] = sums / np.outer(tall, wide)[..., None]
    return means
