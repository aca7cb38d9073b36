"""Measured speeds that correct predictions: small JSON files in one folder.

`$ADCVSR_CACHE/measured/*.json`, one object or a list of them:

    {"target": "orin-nano", "backend": "tensorrt", "bundle": "nano", "variant": "fp16-trt",
     "width": 640, "height": 360, "ms": 9.1, "device": "...", "versions": {...}, "date": "..."}

`ms` is the median time of one frame (of a window's run divided by its new frames), without decoding
and encoding. `adcvsr deploy` writes one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import AdcVsrError
from ..reading import Item, read_json

FOLDER = "measured"


@dataclass(frozen=True)
class Measurement:
    """One measured speed."""

    target: str
    backend: str
    bundle: str
    variant: str
    width: int
    height: int
    ms: float
    file: str
    """Where it was read."""


def read_measurements(folder: Path, report: Callable[[str], None]) -> list[Measurement]:
    """Read every measurement of a folder.

    Args:
        folder: Which may be missing.
        report: Called with a line for each file that cannot be used.
    """
    found: list[Measurement] = []
    for path in sorted(folder.glob("*.json")):
        try:
            values = read_json(path, error=AdcVsrError)
            listed = values.items() if isinstance(values.value, list) else [values]
            found.extend([_measurement(each, path.name) for each in listed])
        except AdcVsrError as error:
            report(f"a measurement is left out: {error}")
    return found


def correction(
    measurements: Iterable[Measurement],
    predicted_ms: Callable[[Measurement], float | None],
    *,
    target: str,
    backend: str,
    bundle: str,
    variant: str,
) -> tuple[float, str]:
    """Find the factor between prediction and measurement.

    Measurements of the same bundle and variant count alone where there are any; else all of the
    same target and backend do. The factor is their geometric mean.

    Args:
        measurements: From `read_measurements`.
        predicted_ms: What would be predicted for a measurement; None where that is not known.
        target: The target's name.
        backend: What runs it.
        bundle: The bundle's name.
        variant: The variant's id.

    Returns:
        The factor, and where it comes from; 1 and an empty text without measurements.
    """
    here = [m for m in measurements if (m.target, m.backend) == (target, backend)]
    same = [m for m in here if (m.bundle, m.variant) == (bundle, variant)]
    ratios = []
    for each in same or here:
        expected = predicted_ms(each)
        if expected:
            ratios.append((each.ms / expected, each.file))
    if not ratios:
        return 1.0, ""
    factor = math.exp(sum(math.log(ratio) for ratio, _ in ratios) / len(ratios))
    files = ", ".join(dict.fromkeys(file for _, file in ratios))
    return factor, f"{len(ratios)} measurement{'s' if len(ratios) > 1 else ''} ({files})"


def _measurement(each: Item, file: str) -> Measurement:
    ms = each["ms"].number(0)
    if not ms > 0:
        each["ms"].expected("a number of more than 0")
    return Measurement(
        target=each["target"].text(),
        backend=each["backend"].text(),
        bundle=each["bundle"].text(),
        variant=each["variant"].text(),
        width=each["width"].integer(1, 1 << 20),
        height=each["height"].integer(1, 1 << 20),
        ms=ms,
        file=file,
    )
