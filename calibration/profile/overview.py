"""Quality against speed of all variants and of networks beside them, on the same clips.

Others share nothing with the bundle but the scale: they are compared with the truth where it is
known. Without truth only variants can be compared, with the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from ...bundle import Bundle, open_bundle
from ...errors import AdcVsrError, ConfigError
from ...runtime.processing.backends import create_session
from .quality import ClipQuality, measure_clip
from .request import Clip, ProfileRequest

NOTES = {
    True: "distance to the truth, luma",
    False: "distance to the reference over RGB, as the truth is not known",
}


def open_beside(request: ProfileRequest, note: Callable[[str], None]) -> list[Bundle]:
    """Open the networks beside, before anything is measured.

    Args:
        request: Names them.
        note: Called with a line for each that is left out.

    Raises:
        ConfigError: They are asked for without truth.
        BundleNotFoundError, BundleError: One is not there.
    """
    if request.beside and not request.truth:
        raise ConfigError(
            "networks beside are compared by their distance to the truth: give --truth, with clips "
            "that are ground truth"
        )
    opened = []
    for bundle in map(open_bundle, request.beside):
        if bundle.scale == request.bundle.scale:
            opened.append(bundle)
            continue
        note(f"{bundle.name} left out: it enlarges x{bundle.scale}, not x{request.bundle.scale}")
    return opened


def measure_beside(
    bundles: Sequence[Bundle],
    request: ProfileRequest,
    clips: Sequence[Clip],
    step: Callable[[], None],
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Run the networks beside over the clips.

    Args:
        bundles: Of `open_beside`.
        request: What to measure, and how.
        clips: With their truth.
        step: Called after every frame.
        note: Called with a line for each that does not run here.

    Returns:
        Rows as `overview` has them.
    """
    rows = []
    for bundle in bundles:
        try:
            with create_session(bundle, threads=request.threads) as session:
                found = [measure_clip(clip, [session], request.metrics, step) for clip in clips]
                label = f"{bundle.path.name} {session.variant.id}"
                rows.append(_row(label, session.variant.id, found, truth=True))
        except AdcVsrError as error:
            note(f"{bundle.name} left out: {error}")
    return rows


def overview(
    table: Sequence[dict[str, Any]],
    measured: Sequence[ClipQuality],
    beside: Sequence[dict[str, Any]],
    *,
    truth: bool,
) -> dict[str, Any]:
    """All rows: name, frames a second and a processor's second on the clips, quality in dB.

    Quality is None of the reference where the others are compared with it, and of all where PSNR
    is not among the measures.
    """
    rows = []
    for row in table:
        own = _row(row["variant"], row["variant"], measured, truth=truth)
        if not truth:
            own["quality"] = row["psnr_db"]
        rows.append(own)
    return {
        "quality": "PSNR-Y, dB" if truth else "PSNR, dB",
        "note": NOTES[truth],
        "rows": [*rows, *beside],
    }


def _row(
    name: str, variant: str, measured: Sequence[ClipQuality], *, truth: bool
) -> dict[str, Any]:
    times, worked = (
        median(ms for each in found for ms in each[variant][1:])
        for found in ([c.frame_ms for c in measured], [c.cpu_ms for c in measured])
    )
    psnr = [value for clip in measured if (value := clip.to_truth.get(variant, {}).get("psnr"))]
    return {
        "name": name,
        "fps": 1000 / times,
        "cpu_fps": 1000 / worked if worked else None,
        "quality": sum(psnr) / len(psnr) if truth and psnr else None,
    }
