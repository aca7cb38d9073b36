"""Whether a camera still shows what the network's variant was proven on.

Once a second a frame is measured as calibration measures frames. What the median of the latest
figures says is compared with the classes in the bundle: of the variant's statement, or else of the
set it was calibrated on.

    watch = ContentWatch(notes.add)
    watch.look(low, frame.luma, session.variant, now)
    watch.outside  # {"noise": "above"}
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np

from ...bundle.schema import Variant
from ...metrics import luma
from ...metrics.planes import LUMA_BLACK, LUMA_SPAN, Plane
from ...pictures.content import Covered, covered_classes, measure_content, outside
from ...pictures.scene_cuts import Small
from ...pictures.yuv_picture import AnyPicture, YuvPicture

EVERY_S = 1.0
"""Between two looks."""

KEPT, LEAST = 10, 5
"""Looks the median is of, and fewest that say something: one odd frame is no other camera."""

WORDS = {
    ("luminance", "above"): "brighter",
    ("luminance", "below"): "darker",
    ("motion", "above"): "moving more",
    ("motion", "below"): "moving less",
    ("noise", "above"): "noisier",
    ("noise", "below"): "cleaner",
    ("compression", "above"): "more compressed",
    ("compression", "below"): "less compressed",
}


def proven_content(variant: Variant) -> tuple[Mapping[str, Any], str]:
    """Coverage that a variant was proven on and where it stands; empty where nothing is known."""
    facts = variant.facts
    if "statement" in facts:
        return facts["statement"]["content"], "its statement"
    coverage: Mapping[str, Any] = (facts.get("calibration") or {}).get("coverage") or {}
    return coverage, "its calibration set"


class ContentWatch:
    """Looks at the frames of one stream.

    Args:
        note: Called with a line the first time that a trait leaves what was proven.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self.outside: dict[str, str] = {}
        """Traits that are `above` or `below` what was proven, now."""
        self.traits: dict[str, float] = {}
        """Medians of the latest looks."""
        self._note, self._said = note, set[tuple[str, str, str]]()
        self._variant: Variant | None = None
        self._covered: dict[str, Covered] = {}
        self._where = ""
        self._due = 0.0
        self._before: Small | None = None
        self._looks: deque[dict[str, float]] = deque(maxlen=KEPT)

    def look(
        self, picture: AnyPicture, small: Callable[[], Small], variant: Variant, now: float
    ) -> None:
        """Take the next frame; most are passed over.

        Args:
            picture: What the network gets.
            small: Gives the frame as small luma.
            variant: What upscales it.
            now: Seconds.
        """
        if variant is not self._variant:
            coverage, self._where = proven_content(variant)
            self._variant, self._covered = variant, covered_classes(coverage)
            self._looks.clear()
            self.outside, self.traits = {}, {}
        if not self._covered or now < self._due:
            return
        if self._before is None:  # motion is seen between two frames
            self._before = small()
            return
        found = asdict(measure_content(_plane(picture), small(), self._before))
        self._before, self._due = None, now + EVERY_S
        self._looks.append(found)
        if len(self._looks) >= LEAST:
            self._judge(variant)

    def cut(self, variant: Variant) -> None:
        """Note that the scene was cut, which a calibration set may have been without."""
        coverage, where = proven_content(variant)
        if coverage.get("cuts") == 0:
            self.outside["cuts"] = "above"
            self._say(variant, "cuts", "above", f"it is cut, and {where} has no cut")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: medians, and what is outside."""
        return {
            "traits": {name: round(value, 3) for name, value in self.traits.items()},
            "outside": dict(self.outside),
        }

    def _judge(self, variant: Variant) -> None:
        self.traits = {name: median(look[name] for look in self._looks) for name in self._looks[0]}
        cuts = {name: side for name, side in self.outside.items() if name == "cuts"}
        self.outside = cuts | {
            name: side
            for name, covered in self._covered.items()
            if (side := outside(self.traits[name], covered)) is not None
        }
        for name, side in self.outside.items():
            covered = self._covered[name]
            limit = covered.high if side == "above" else covered.low
            figures = f"{name} {self.traits[name]:.2f}, {self._where} ends at {limit:g}"
            self._say(variant, name, side, f"it is {WORDS[name, side]}: {figures}")

    def _say(self, variant: Variant, name: str, side: str, how: str) -> None:
        """Say it the first time."""
        if (variant.id, name, side) in self._said:
            return
        self._said.add((variant.id, name, side))
        self._note(
            f"the picture is not of the kind {variant.id} was proven on: {how}; make a statement "
            "on clips of this camera (adcvsr profile --store)"
        )


def _plane(picture: AnyPicture) -> Plane:
    """Limited-range luma."""
    if not isinstance(picture, YuvPicture):
        return luma(picture)
    plane = picture.luma.astype(np.float32)
    if picture.colours.full_range:
        plane *= np.float32(LUMA_SPAN / 255)
        plane += np.float32(LUMA_BLACK)
    return plane
