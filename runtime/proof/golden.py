"""A bundle's golden clip: frames in, the FP32 network's pictures out, and how near a variant stays.

frames, pictures = golden_clip(bundle)
golden_limit(bundle, bundle.variant("int8-ort"), "ort-cpu").why_beyond(levels=9, psnr_db=43.1)
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from ...archives import ARCHIVE_ERRORS
from ...arrays import Frame
from ...bundle import Bundle
from ...bundle.schema import Variant
from ...errors import BundleError
from ...metrics import finite_db, psnr
from ..processing.processor import StreamProcessor
from ..sessions.clip_session import ClipSession
from ..sessions.session import Session
from ..sessions.stream_session import StreamSession

GOLDEN_LIMIT_BYTES = 1 << 30
"""Largest golden clip, unpacked; `nano`'s has 1.2 MB. It is held in memory."""

MEASURED_BY = "ort-cpu"
"""Backend whose figures the manifest of a quantized variant has."""


@dataclass(frozen=True)
class GoldenLimit:
    """How far from the golden pictures a variant may be; what is None does not count."""

    most_levels: int | None
    """Largest difference of any pixel."""

    least_psnr_db: float | None
    """Over RGB levels, the mean over frames."""

    def why_beyond(self, *, levels: int, psnr_db: float) -> str | None:
        """Say which limit is not held; None where all are."""
        if self.most_levels is not None and levels > self.most_levels:
            return f"{levels} levels off the golden clip, at most {self.most_levels} allowed"
        if self.least_psnr_db is not None and psnr_db < self.least_psnr_db:
            return (
                f"{psnr_db:.1f} dB to the golden clip, at least {self.least_psnr_db:.1f} required"
            )
        return None


def golden_limit(bundle: Bundle, variant: Variant, backend: str) -> GoldenLimit:
    """Find what a variant is held to on a backend.

    FP32 may be off by the bundle's `max_level_error`. Others carry their own figures in the
    manifest: on the backend they were measured by, what they reached there (`golden_psnr_db`) less
    `golden_tolerance_db`; never less than their recipe requires (`least_golden_psnr_db`), which
    alone holds elsewhere, where kernels differ. A variant without golden figures is held to its
    `least_psnr_db`.

    Raises:
        BundleError: The manifest has no limit for the variant.
    """
    if variant.precision == "fp32":
        return GoldenLimit(int(bundle.manifest["golden"]["max_level_error"]), None)
    parity = variant.facts.get("parity", {})
    least = parity.get("least_golden_psnr_db", parity.get("least_psnr_db"))
    if least is not None and backend == MEASURED_BY and "golden_psnr_db" in parity:
        least = max(least, parity["golden_psnr_db"] - parity.get("golden_tolerance_db", 0.0))
    if least is None:
        raise BundleError(
            f"'{bundle.path}': the manifest says no least PSNR for variant '{variant.id}'; "
            "quantize or export it again"
        )
    return GoldenLimit(None, float(least))


def golden_clip(bundle: Bundle) -> tuple[Frame, Frame]:
    """Read a bundle's golden clip.

    Returns:
        Frames (T, H, W, 3) and pictures (T, sH, sW, 3), uint8 RGB.

    Raises:
        BundleError: The file is missing, altered, no golden clip, or absurdly large.
    """
    name = bundle.manifest["golden"]["file"]
    data = bundle.read(name)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            declared = sum(entry.file_size for entry in stored.zip.infolist())
            if declared > GOLDEN_LIMIT_BYTES:
                raise ValueError(f"it declares {declared} bytes, more than {GOLDEN_LIMIT_BYTES}")
            frames, pictures = stored["frames"], stored["upscaled"]
        shape = (len(frames), frames.shape[1] * bundle.scale, frames.shape[2] * bundle.scale, 3)
        if not frames.size or frames.shape[3:] != (3,) or pictures.shape != shape:
            raise ValueError(f"frames of {frames.shape} and pictures of {pictures.shape}")
        if frames.dtype != np.uint8 or pictures.dtype != np.uint8:
            raise ValueError(f"frames of {frames.dtype} and pictures of {pictures.dtype}")
    except ARCHIVE_ERRORS as error:
        raise BundleError(
            f"'{bundle.path}': '{name}' is no golden clip: {error}; export the bundle again"
        ) from error
    return frames, pictures


def replay_golden(session: Session, frames: Frame, pictures: Frame) -> tuple[int, float]:
    """Run the golden frames, from no past on.

    Args:
        session: Opened.
        frames: See `golden_clip`.
        pictures: Likewise.

    Returns:
        Largest difference of any pixel in levels, and PSNR in dB, the mean over frames.
    """
    if isinstance(session, ClipSession):
        found = session.upscale_window(list(frames), 0, len(frames))
    else:
        assert isinstance(session, StreamSession)
        found = StreamProcessor(session).clip(frames)
    distances = [distance(each, truth) for each, truth in zip(found, pictures, strict=True)]
    return max(error for error, _ in distances), float(np.mean([db for _, db in distances]))


def distance(found: Frame, expected: Frame) -> tuple[int, float]:
    """Largest difference in levels and PSNR in dB of two uint8 pictures of one shape."""
    error = int(np.abs(found.astype(np.int16) - expected).max())
    return error, finite_db(psnr(found, expected))
