"""The device table: its figures agree with each other, its sources exist, its docs say the same."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.errors import ConfigError
from adcvsr.targets import SOURCES, TARGETS, Fact, Target, target
from adcvsr.targets.text import COLUMNS, rows
from adcvsr.variants import PRECISIONS, why_not

REPOSITORY = Path(__file__).resolve().parents[3]

# Multiprocessors and boost clock (GHz) by the whitepapers, for boards whose peaks they state.
STATED_BOARDS = {
    "rtx-2080-ti": (68, 1.635),
    "rtx-3090": (82, 1.695),
    "rtx-4090": (128, 2.52),
    "rtx-5090": (170, 2.407),
}


def facts(each: Target) -> list[Fact[object]]:
    own = [getattr(each, name) for name in Target.__dataclass_fields__]
    found = [fact for fact in own if isinstance(fact, Fact)] + list(each.dense_tops.values())
    return found + ([each.dla.int8_tops] if each.dla else [])


@pytest.mark.parametrize("name", TARGETS)
def test_every_figure_has_a_source_and_a_kind(name: str) -> None:
    for fact in facts(target(name)):
        assert fact.source in SOURCES
        assert isinstance(fact.value, tuple) or fact.value > 0
        assert fact.kind != "derived" or fact.note or fact.source == "ga102"


def test_every_source_is_used_and_has_a_title() -> None:
    used = {fact.source for each in TARGETS.values() for fact in facts(each)}
    rules = {"tensorrt-dla", "tensorrt-rtx"}  # what runs where, in `why_not` and the doctor
    assert used | rules == set(SOURCES)
    for title, url in SOURCES.values():
        assert len(title) > 10
        assert url == "" or url.startswith("https://")


@pytest.mark.parametrize("name", STATED_BOARDS)
def test_rates_behind_derived_peaks_reproduce_stated_ones(name: str) -> None:
    """Small boards' peaks are computed; the same rates must give the large boards' stated ones."""
    from adcvsr.targets.catalogue import _geforce_tops

    board = target(name)
    assert board.sm is not None
    computed = _geforce_tops(board.sm, *STATED_BOARDS[name])
    assert set(computed) == set(board.dense_tops)
    for key, fact in board.dense_tops.items():
        assert computed[key].value == pytest.approx(fact.value, rel=0.006), key


def test_derived_peaks_agree_with_advertised_sparse_ones() -> None:
    """NVIDIA advertises twice the dense rate of the narrowest type."""
    assert 2 * target("rtx-40").dense_tops["int8"].value == pytest.approx(242, rel=0.01)
    assert 2 * target("rtx-50").dense_tops["fp4"].value == pytest.approx(614, rel=0.01)
    nano, nx = target("orin-nano"), target("orin-nx")
    assert 2 * nano.dense_tops["int8"].value == pytest.approx(67, rel=0.02)
    assert nx.dla is not None
    both = 2 * (nx.dense_tops["int8"].value + nx.dla.int8_tops.value)
    assert both == pytest.approx(157, rel=0.01)


def test_peaks_rise_as_types_narrow() -> None:
    for each in TARGETS.values():
        keys = [key for key in PRECISIONS if key in each.dense_tops]
        if each.kind == "geforce" and "fp8" in keys:
            keys.remove("fp8")  # into FP32 at half of INT8's rate
        peaks = [each.dense_tops[key].value for key in keys]
        assert all(0.97 * wide <= narrow for wide, narrow in pairwise(peaks)), each.name


@pytest.mark.parametrize(
    ("sm", "backend", "precision", "words"),
    [
        (86, "tensorrt", "fp8", "8.9"),
        (87, "tensorrt", "fp8", "8.7"),
        (87, "tensorrt-rtx", "fp16", "TensorRT-RTX runs on"),
        (90, "tensorrt-rtx", "fp16", "9.0"),
        (89, "tensorrt-rtx", "int8", "weights only"),
        (75, "tensorrt", "bf16", "8.0"),
        (90, "tensorrt", "fp4", "10.0"),
        (89, "ort-cuda", "int8", "TensorRT"),
        (None, "tensorrt", "fp32", "GPU"),
        (None, "ort-cpu", "fp16", "CPU"),
    ],
)
def test_what_does_not_run_says_why(
    sm: int | None, backend: str, precision: str, words: str
) -> None:
    assert words in (why_not(sm, backend, precision) or "")


@pytest.mark.parametrize(
    ("sm", "backend", "precision"),
    [
        (89, "tensorrt", "fp8"),
        (110, "tensorrt", "fp4"),
        (120, "tensorrt-rtx", "fp4"),
        (75, "tensorrt-rtx", "fp16"),
        (87, "tensorrt", "int8"),
        (None, "ort-cpu", "int8"),
    ],
)
def test_what_runs(sm: int | None, backend: str, precision: str) -> None:
    assert why_not(sm, backend, precision) is None


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'orin-nx'"):
        target("orin-xn")


def test_no_board_is_two_targets() -> None:
    names = [name for each in TARGETS.values() for name in (*each.reports_as, *each.modules)]
    assert len(names) == len(set(names))


def test_command_lists_and_describes() -> None:
    listed = CliRunner().invoke(cli, ["targets"])
    assert listed.exit_code == 0
    assert len(listed.output.splitlines()) == len(TARGETS) + 1
    one = CliRunner().invoke(cli, ["targets", "agx-orin"]).output
    assert "85 TOPS  (derived [agx-orin]; half of 170 sparse)" in one
    assert SOURCES["agx-orin"][1] in one
    entry = json.loads(CliRunner().invoke(cli, ["targets", "rtx-40", "--json"]).output)["targets"][
        0
    ]
    assert entry["dense_tops"]["fp8"]["value"] == 60.5
    assert "fp8" in entry["backends"]["tensorrt-rtx"]
    assert entry["sources"]["ada"]["url"].startswith("https://")


def test_docs_show_the_same_table() -> None:
    page = (REPOSITORY / "docs" / "targets.md").read_text()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
    assert list(COLUMNS) in table
    for row in rows(TARGETS.values()):
        assert list(row) in table, "| " + " | ".join(row) + " |"
    for title, url in SOURCES.values():
        assert title in page
        assert url in page
    assert re.search(r"^\| `fp16_acc16`", page, re.MULTILINE)
