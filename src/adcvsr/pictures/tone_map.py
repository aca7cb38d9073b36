"""HDR made SDR: for whoever wants BT.709 of it, `--hdr tonemap`.

to_sdr = ToneMap(facts, primaries=9)
rgb = to_sdr(frame)  # (H, W, 3) uint16 of PQ or HLG -> of BT.709
"""

from __future__ import annotations

from typing import cast

import numpy as np

from ..arrays import Doubles, Floats, Frame
from .colour import TRANSFER_HLG
from .hdr import (
    REFERENCE_WHITE_NITS,
    WHITE,
    HdrFacts,
    hlg_to_light,
    nits_to_pq,
    pq_to_nits,
)

XY = {
    1: ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""x and y of red, green and blue by H.273 code: BT.709, BT.2020, P3; white is D65."""

D65 = (0.3127, 0.3290)

DISPLAY_GAMMA = 2.4
"""Of SDR displays, ITU-R BT.1886."""

CURVE_STEPS = 4096
"""Of the table of the curve, in PQ."""

CHUNK_ROWS = 64
"""Rows mapped at a time, so that memory stays small."""


class ToneMap:
    """ITU-R BT.2390's curve on the largest of red, green and blue, then BT.709's colours, clipped.

    White of `REFERENCE_WHITE_NITS` and darker stays apart, what is brighter is pressed into the
    little that is left above it.

    Args:
        facts: Of the stream.
        primaries: Its H.273 code; what is not known is taken for BT.2020.
    """

    def __init__(self, facts: HdrFacts, primaries: int) -> None:
        self.facts = facts
        codes = np.arange(1 << 16) / WHITE
        light = hlg_to_light(codes) if facts.transfer == TRANSFER_HLG else pq_to_nits(codes)
        self._light = light.astype(np.float32)
        self._to_709 = matrix_between(primaries, 1).astype(np.float32)
        grid = np.linspace(0, 1, CURVE_STEPS)
        nits = pq_to_nits(grid)
        mapped = roll_off(nits, peak=facts.peak_nits, target=REFERENCE_WHITE_NITS)
        ratio = mapped / np.maximum(nits, 1e-9) / REFERENCE_WHITE_NITS
        ratio[0] = ratio[1]
        self._ratio = ratio.astype(np.float32)
        out = np.linspace(0, 1, 1 << 16) ** (1 / DISPLAY_GAMMA) * WHITE
        self._levels = np.rint(out).astype(np.uint16)

    def __call__(self, frame: Frame) -> Frame:
        """Map a frame.

        Args:
            frame: (H, W, 3) uint16 RGB in PQ or HLG, see `arrays.Frame`.

        Returns:
            (H, W, 3) uint16 RGB of SDR, BT.709.
        """
        out = np.empty(frame.shape, np.uint16)
        for top in range(0, len(frame), CHUNK_ROWS):
            out[top : top + CHUNK_ROWS] = self._mapped(frame[top : top + CHUNK_ROWS])
        return cast("Frame", out)

    def _mapped(self, frame: Frame) -> Frame:
        light: Floats = self._light[frame]
        if self.facts.transfer == TRANSFER_HLG:
            # The opto-optical transfer of a display of 1,000 nits: light of the scene to the eye's.
            luminance = light @ np.array((0.2627, 0.6780, 0.0593), np.float32)
            gain = 1000 * np.maximum(luminance, 1e-9)[..., None] ** np.float32(0.2)
            light = (light * gain).astype(np.float32, copy=False)
        brightest = light.max(axis=-1)
        place = nits_to_pq(brightest) * (CURVE_STEPS - 1)
        light = light * np.take(self._ratio, place.astype(np.int32))[..., None]
        linear = np.clip(light @ self._to_709.T, 0, 1)
        return cast("Frame", self._levels[(linear * 65535 + 0.5).astype(np.uint16)])


def roll_off(nits: Doubles, *, peak: float, target: float) -> Doubles:
    """Press luminances up to `peak` nits under `target` nits, as ITU-R BT.2390 does.

    In PQ, from a knee on along a Hermite spline; darker ones stay as they are.
    """
    top = float(nits_to_pq(peak))
    most = float(nits_to_pq(target)) / top
    if most >= 1:
        return np.minimum(nits, target)
    knee = 1.5 * most - 0.5
    value = np.minimum(nits_to_pq(nits) / top, 1)
    t = np.clip((value - knee) / (1 - knee), 0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * most
    )
    return pq_to_nits(np.where(value < knee, value, spline) * top)


def matrix_between(source: int, target: int) -> Doubles:
    """(3, 3), linear RGB of one set of primaries to another's."""
    return np.linalg.inv(_to_xyz(target)) @ _to_xyz(source)


def _to_xyz(primaries: int) -> Doubles:
    colours = np.array([_xyz(*pair) for pair in XY.get(primaries, XY[9])]).T
    return cast("Doubles", colours * np.linalg.solve(colours, _xyz(*D65)))


def _xyz(x: float, y: float) -> Doubles:
    return np.array((x / y, 1.0, (1 - x - y) / y))
