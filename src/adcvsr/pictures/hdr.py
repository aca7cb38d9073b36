"""HDR: what PQ and HLG code values mean, and the fixed mapping in which a network sees them.

Networks know pictures as SDR displays show them. HLG was made to look right there, so that its code
values go through as they are. PQ spends half of its values below a few nits; it is changed into a
curve of HLG's form, stretched to 10,000 nits, and back: a square root up to `KNEE_NITS`, which is
half of the levels, and a logarithm above, in which a level is 5 % of luminance.

    levels = PQ_TO_NETWORK[frame]  # (H, W, 3) uint16, 256 a level
    frame = NETWORK_TO_PQ[levels]
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ..arrays import Doubles, Floats
from .colour import TRANSFER_HLG, TRANSFER_PQ

Table = npt.NDArray[np.uint16]
"""(65536,): a level of uint16 (see `arrays.Frame`) for each."""

PEAK_NITS = 10_000.0
"""Of PQ's largest code value."""

REFERENCE_WHITE_NITS = 203.0
"""White of a page or a wall in HDR, by ITU-R BT.2408."""

WHITE = 255 * 256
"""Of uint16 levels, see `arrays.Frame`."""

KNEE_NITS = 64.0
"""Below it the network sees a square root of luminance, above it a logarithm. HLG's own knee beside
its white of 75 % lies there where white is `REFERENCE_WHITE_NITS`."""

LOG_STEP = 0.08
"""Of the network's range a factor of e of luminance takes, far above the knee."""

_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""SMPTE ST 2084."""

_HLG_A = 0.17883277
_HLG_B = 1 - 4 * _HLG_A
_HLG_C = 0.5 - _HLG_A * float(np.log(4 * _HLG_A))
"""ITU-R BT.2100."""

CHROMATICITY_STEPS, LUMINANCE_STEPS = 50_000, 10_000
"""A mastering display's units: parts of 1 in x and y, parts of a nit."""


def pq_to_nits(code: npt.ArrayLike) -> Doubles:
    """Luminance that PQ's code values, 0 to 1, mean, in nits."""
    root = np.clip(np.asarray(code, np.float64), 0, 1) ** (1 / _M2)
    linear = (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1)
    return PEAK_NITS * linear


def nits_to_pq(nits: npt.ArrayLike) -> Doubles:
    """PQ's code values, 0 to 1, of luminances in nits."""
    power = np.clip(np.asarray(nits, np.float64) / PEAK_NITS, 0, 1) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def hlg_to_light(code: npt.ArrayLike) -> Doubles:
    """Light of the scene, 0 to 1, that HLG's code values, 0 to 1, mean."""
    values = np.clip(np.asarray(code, np.float64), 0, 1)
    above = (np.exp((np.maximum(values, 0.5) - _HLG_C) / _HLG_A) + _HLG_B) / 12
    return np.where(values <= 0.5, values**2 / 3, above)


def light_to_hlg(light: npt.ArrayLike) -> Doubles:
    """HLG's code values, 0 to 1, of light of the scene, 0 to 1."""
    values = np.clip(np.asarray(light, np.float64), 0, 1)
    above = _HLG_A * np.log(np.maximum(12 * values - _HLG_B, 1e-9)) + _HLG_C
    return np.where(values <= 1 / 12, np.sqrt(3 * values), above)


def nits_to_network(nits: npt.ArrayLike) -> Doubles:
    """Where a luminance lies in the network's range, 0 to 1."""
    ratio = np.asarray(nits, np.float64) / KNEE_NITS
    above = 0.5 + LOG_STEP * np.log1p((np.maximum(ratio, 1) - 1) / (4 * LOG_STEP))
    return np.where(ratio <= 1, 0.5 * np.sqrt(ratio), above)


def network_to_nits(value: npt.ArrayLike) -> Doubles:
    """The inverse of `nits_to_network`."""
    values = np.asarray(value, np.float64)
    above = 1 + 4 * LOG_STEP * np.expm1((np.maximum(values, 0.5) - 0.5) / LOG_STEP)
    return KNEE_NITS * np.where(values <= 0.5, 4 * values**2, above)


@cache
def pq_to_network_table() -> Table:
    """Levels that a network is given, for each of PQ's."""
    return _table(nits_to_network(pq_to_nits(_codes())))


@cache
def network_to_pq_table() -> Table:
    """PQ's levels, for each that a network gives."""
    return _table(nits_to_pq(network_to_nits(_codes())))


def as_network_sees(levels: Floats, transfer: int) -> Floats:
    """Levels of 8 bits, 0 to 255, of PQ in the network's range; of HLG as they are."""
    if transfer != TRANSFER_PQ:
        return levels
    seen = nits_to_network(pq_to_nits(np.arange(256) / 255)) * 255
    return np.interp(levels, np.arange(256), seen).astype(np.float32)


def _codes() -> Doubles:
    return np.arange(1 << 16) / WHITE


def _table(codes: Doubles) -> Table:
    table: Table = np.rint(np.clip(codes, 0, 1) * WHITE).astype(np.uint16)
    table.flags.writeable = False
    return table


@dataclass(frozen=True)
class MasteringDisplay:
    """The display on which a picture was graded (SMPTE ST 2086)."""

    primaries: tuple[tuple[int, int], ...] | None
    """x and y of red, green, blue and white, in 1/`CHROMATICITY_STEPS`; None where unknown."""

    luminance: tuple[int, int] | None
    """Least and most, in 1/`LUMINANCE_STEPS` nits; None where unknown."""


@dataclass(frozen=True)
class HdrFacts:
    """What a stream of HDR says of itself beside its colours."""

    transfer: int
    """`TRANSFER_PQ` or `TRANSFER_HLG`."""

    display: MasteringDisplay | None = None
    """On which it was graded; None where it does not say."""

    light: tuple[int, int] | None = None
    """Brightest pixel and brightest frame's mean, nits (CTA-861.3); None where it does not say."""

    @property
    def peak_nits(self) -> float:
        """The brightest light to expect: of the content, else of its display, else 1,000."""
        if self.transfer == TRANSFER_HLG:
            return 1000.0
        if self.light is not None and self.light[0]:
            return float(self.light[0])
        if self.display is not None and self.display.luminance and self.display.luminance[1]:
            return self.display.luminance[1] / LUMINANCE_STEPS
        return 1000.0

    @property
    def name(self) -> str:
        """`PQ` or `HLG`."""
        return {TRANSFER_PQ: "PQ", TRANSFER_HLG: "HLG"}[self.transfer]


def is_hdr(transfer: int) -> bool:
    """Whether a transfer characteristic (H.273) is one of HDR."""
    return transfer in (TRANSFER_PQ, TRANSFER_HLG)


def read_facts(transfer: int, side_data: dict[str, bytes]) -> HdrFacts:
    """Read what accompanies a decoded frame.

    Args:
        transfer: Of its colours.
        side_data: By FFmpeg's names, as `pyav` reads them; structures of 32-bit integers.
    """
    display, light = None, None
    if len(data := side_data.get("MASTERING_DISPLAY_METADATA", b"")) >= 88:
        numbers = struct.unpack("=22i", data[:88])
        ratios = [
            _ratio(*numbers[index : index + 2], steps=CHROMATICITY_STEPS)
            for index in range(0, 16, 2)
        ]
        pairs = tuple((ratios[index], ratios[index + 1]) for index in range(0, 8, 2))
        lights = [_ratio(*numbers[index : index + 2], steps=LUMINANCE_STEPS) for index in (16, 18)]
        display = MasteringDisplay(
            pairs if numbers[20] else None, (lights[0], lights[1]) if numbers[21] else None
        )
    if len(data := side_data.get("CONTENT_LIGHT_LEVEL", b"")) >= 8:
        most, mean = struct.unpack("=2I", data[:8])
        light = (most, mean)
    return HdrFacts(transfer, display, light)


def _ratio(numerator: int, denominator: int, *, steps: int) -> int:
    return round(numerator * steps / denominator) if denominator else 0


def is_dolby_alone(side_data: dict[str, bytes]) -> bool:
    """Whether a Dolby Vision frame means nothing without Dolby's metadata (profile 5).

    FFmpeg gives the metadata's header as a structure: its place first, then type, format and
    profile. Profiles 7 and 8, whose base layer is a picture by itself, are 1 there, 5 is 0.
    """
    data = side_data.get("DOVI_METADATA", b"")
    if len(data) < 8:
        return False
    at = int.from_bytes(data[:8], sys.byteorder)
    return len(data) > at + 4 and data[at + 4] == 0
