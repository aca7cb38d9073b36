"""The table of builds ahead of time is what its data say, and a row of it can be made again."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from adcvsr.bundle import open_bundle
from adcvsr.runtime.engine.order import BuildOptions, SizeRange
from adcvsr.runtime.nvidia.flavour import load_flavour

FILE = Path(__file__).resolve().parents[3] / "benchmarks" / "engine_table.py"


@pytest.fixture(scope="module")
def engine_table() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engine_table", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_the_data(engine_table: ModuleType) -> None:
    rows = json.loads(engine_table.DATA.read_text())
    _, _, rest = engine_table.PAGE.read_text().partition(engine_table.BEGIN + "\n")
    shown, _, _ = rest.partition("\n" + engine_table.END)
    assert shown == engine_table.table(rows)
    assert {row["network"] for row in rows} == {"nano", "nano-camera", "small", "paper"}
    tried: dict[tuple[str, str, str], set[int]] = {}
    for row in rows:
        tried.setdefault((row["network"], row["variant"], row["graph"]), set()).add(row["sm"])
        assert ("refused" in row) != ("megabytes" in row)
    assert all(sms == set(engine_table.SMS) for sms in tried.values())


def test_what_is_refused_and_what_was_not_tried_is_said(engine_table: ModuleType) -> None:
    row = {"network": "n", "variant": "int8-trt", "graph": "stream", "size": "8x8", "sm": 86}
    lines = engine_table.table([{**row, "refused": "no kernel for 'a/Conv'"}]).splitlines()
    assert lines[-1].endswith("| refused: no kernel for 'a/Conv' | not tried | not tried |")


def test_a_row_is_made_again(engine_table: ModuleType) -> None:
    pytest.importorskip("tensorrt_rtx", reason="builds need tensorrt-rtx: pip install adcvsr[rtx]")
    arguments = SizeRange.fixed(180, 320), load_flavour("tensorrt-rtx"), BuildOptions()
    (row,) = engine_table.build_rows("nano", open_bundle("nano"), "fp32-onnx", 89, *arguments)
    (old,) = [
        each
        for each in json.loads(engine_table.DATA.read_text())
        if (each["network"], each["variant"], each["sm"]) == ("nano", "fp32-onnx", 89)
    ]
    assert ("refused" in row) == ("refused" in old)
    assert row["graph"] == old["graph"] == "stream"
