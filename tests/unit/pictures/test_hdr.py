"""PQ, HLG and the mapping between them and what a network knows."""

from __future__ import annotations

import numpy as np
import pytest

from adcvsr.arrays import Frame
from adcvsr.pictures.hdr import (
    PEAK_NITS,
    WHITE,
    HdrFacts,
    hlg_to_light,
    is_dolby_alone,
    network_to_nits,
    network_to_pq_table,
    nits_to_network,
    nits_to_pq,
    pq_to_network_table,
    pq_to_nits,
)
from adcvsr.pictures.tone_map import ToneMap, matrix_between


def test_curves_are_the_standards() -> None:
    """Values of ST 2084 and BT.2408's table of signal levels."""
    assert nits_to_pq([0.1, 1, 100, 203, 1000, 10000]) == pytest.approx(
        [0.0623, 0.1499, 0.5081, 0.5807, 0.7518, 1], abs=1e-4
    )
    assert pq_to_nits(nits_to_pq([0.005, 3, 555])) == pytest.approx([0.005, 3, 555])
    assert hlg_to_light([0, 0.5, 0.75, 1]) == pytest.approx([0, 1 / 12, 0.26496, 1], abs=1e-4)


def test_every_code_comes_back_and_light_keeps_to_a_percent() -> None:
    """Of ten bits in limited range all codes are exact, so luminance is; finer ones keep to 1 %."""
    codes = np.arange(877) / 876
    levels = np.rint(codes * WHITE).astype(np.uint16)
    back = network_to_pq_table()[pq_to_network_table()[levels]]
    assert (np.rint(back / WHITE * 876) == np.arange(877)).all()
    fine = np.arange(WHITE + 1, dtype=np.uint16)
    nits = pq_to_nits(fine / WHITE)
    error = np.abs(pq_to_nits(network_to_pq_table()[pq_to_network_table()[fine]] / WHITE) - nits)
    shown = nits >= 0.001
    assert (error[shown] / nits[shown]).max() < 0.01


def test_mapping_is_what_the_docs_say() -> None:
    nits = np.geomspace(1e-4, PEAK_NITS, 500)
    assert network_to_nits(nits_to_network(nits)) == pytest.approx(nits)
    assert (np.diff(nits_to_network(nits)) > 0).all()
    assert nits_to_network([1, 36.5, 64, 203, 1000, 10000]) == pytest.approx(
        [0.0625, 0.378, 0.5, 0.664, 0.808, 0.995], abs=1e-3
    )
    step = nits_to_network([63.99, 64, 64.01])
    assert step[2] - step[1] == pytest.approx(step[1] - step[0], rel=1e-2)  # no kink


def test_dolby_without_a_picture_of_its_own() -> None:
    def header(profile: int) -> bytes:
        return (48).to_bytes(8, "little") + bytes(40) + bytes([2, 0, 18, 0, profile, 0])

    assert is_dolby_alone({"DOVI_METADATA": header(0)})
    assert not is_dolby_alone({"DOVI_METADATA": header(1)})
    assert not is_dolby_alone({"DOVI_METADATA": b""})
    assert not is_dolby_alone({})


class TestToneMap:
    def gray(self, nits: float) -> Frame:
        return np.full((2, 2, 3), round(float(nits_to_pq(nits)) * WHITE), np.uint16)

    def test_dark_and_middle_keep_their_light_and_highlights_stay_apart(self) -> None:
        to_sdr = ToneMap(HdrFacts(16, light=(1000, 200)), primaries=9)
        light = [
            float(to_sdr(self.gray(nits))[0, 0, 1] / WHITE) ** 2.4 * 203
            for nits in (1, 20, 60, 300, 1000)
        ]
        assert light[:3] == pytest.approx([1, 20, 60], rel=0.02)
        assert 90 < light[3] < light[4] <= 203.5
        assert light[4] == pytest.approx(203, rel=0.01)

    def test_gray_stays_gray_and_colours_get_bt709s(self) -> None:
        to_sdr = ToneMap(HdrFacts(16), primaries=9)
        gray = to_sdr(self.gray(50)).astype(int)
        assert np.ptp(gray) <= 8  # a 32nd of a level
        red = (matrix_between(1, 9) @ [40.0, 0, 0]).clip(0)
        frame = np.rint(nits_to_pq(red) * WHITE).astype(np.uint16).reshape(1, 1, 3)
        r, g, b = (to_sdr(frame)[0, 0] / WHITE) ** 2.4 * 203
        assert r == pytest.approx(40, rel=0.02)
        assert max(g, b) < 0.2

    def test_hlg_white_of_75_percent_is_203_nits(self) -> None:
        frame = np.full((1, 1, 3), round(0.75 * WHITE), np.uint16)
        to_sdr = ToneMap(HdrFacts(18), primaries=9)
        pq = ToneMap(HdrFacts(16), primaries=9)
        assert int(to_sdr(frame)[0, 0, 0]) == pytest.approx(
            int(pq(self.gray(203))[0, 0, 0]), abs=99
        )
