"""Frames of one transfer characteristic as they look in another of HDR: SDR, PQ, HLG in PQ or HLG.

For streams that change on the way, such as an SDR film in an HDR programme: the output has one.

    to_pq = Relight(SDR, TRANSFER_PQ, primaries=(1, 9))
    frame = to_pq(frame)  # (H, W, 3) uint16
"""

from __future__ import annotations

from typing import cast

import numpy as np

from ..arrays import Doubles, Floats, Frame
from .colour import TRANSFER_HLG, TRANSFER_PQ
from .hdr import (
    PEAK_NITS,
    REFERENCE_WHITE_NITS,
    WHITE,
    hlg_to_light,
    light_to_hlg,
    nits_to_pq,
    pq_to_nits,
)
from .tone_map import CHUNK_ROWS, DISPLAY_GAMMA, matrix_between

SDR = 0
"""In the place of a transfer characteristic: whatever is none of HDR."""

NAMES = {SDR: "SDR", TRANSFER_PQ: "PQ", TRANSFER_HLG: "HLG"}

HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2
"""Of the display for which HLG is made brighter or darker, ITU-R BT.2100."""

HLG_LUMINANCE = np.array((0.2627, 0.6780, 0.0593), np.float32)


class Relight:
    """Changes frames: white of SDR is 203 nits (ITU-R BT.2408), light of HDR stays what it is.

    What is brighter than HLG's 1,000 nits is clipped there.

    Args:
        source: `SDR`, or the transfer characteristic of PQ or HLG.
        target: PQ's or HLG's.
        primaries: H.273 codes of both, the source's first.
    """

    def __init__(self, source: int, target: int, primaries: tuple[int, int]) -> None:
        self._source, self._target = source, target
        codes = np.arange(1 << 16) / WHITE
        self._light = _light_of(codes, source).astype(np.float32)
        self._between = matrix_between(*primaries).astype(np.float32)
        # By the fourth root of light, near to how codes lie: even steps of light would be bands.
        grid = np.linspace(0, 1, 1 << 16) ** 4
        made = light_to_hlg(grid) if target == TRANSFER_HLG else nits_to_pq(PEAK_NITS * grid)
        self._codes = np.rint(made * WHITE).astype(np.uint16)

    def __call__(self, frame: Frame) -> Frame:
        """Change a frame.

        Args:
            frame: (H, W, 3) uint16 RGB, see `arrays.Frame`.

        Returns:
            (H, W, 3) uint16 RGB of the other.
        """
        out = np.empty(frame.shape, np.uint16)
        for top in range(0, len(frame), CHUNK_ROWS):
            out[top : top + CHUNK_ROWS] = self._changed(frame[top : top + CHUNK_ROWS])
        return cast("Frame", out)

    def _changed(self, frame: Frame) -> Frame:
        light: Floats = self._light[frame]
        if self._source == TRANSFER_HLG:
            seen = np.maximum(light @ HLG_LUMINANCE, 1e-9)[..., None]
            light = HLG_PEAK_NITS * light * seen ** np.float32(HLG_GAMMA - 1)
        nits = np.maximum(light @ self._between.T, 0)
        if self._target == TRANSFER_HLG:
            shown = nits / np.float32(HLG_PEAK_NITS)
            seen = np.maximum(shown @ HLG_LUMINANCE, 1e-9)[..., None]
            part = shown * seen ** np.float32(1 / HLG_GAMMA - 1)
        else:
            part = nits / np.float32(PEAK_NITS)
        root = np.sqrt(np.sqrt(np.clip(part, 0, 1)))
        return cast("Frame", self._codes[(root * 65535 + 0.5).astype(np.uint16)])


def _light_of(codes: Doubles, transfer: int) -> Doubles:
    """Nits that code values, 0 to 1, mean; of HLG light of the scene, 0 to 1."""
    if transfer == TRANSFER_HLG:
        return hlg_to_light(codes)
    if transfer == TRANSFER_PQ:
        return pq_to_nits(codes)
    return REFERENCE_WHITE_NITS * np.clip(codes, 0, 1) ** DISPLAY_GAMMA
