"""`auto` takes the faster variant, measures once, and says so."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adcvsr.files import CACHE_VARIABLE
from adcvsr.host.machine import Host
from adcvsr.runtime.processing import backends
from adcvsr.runtime.processing import fastest_variant as variant_choice
from adcvsr.runtime.processing.fastest_variant import Measured, choose_variant, measure
from adcvsr.runtime.sessions import ort_precision

IDS = ("fp32-onnx", "int8-ort")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, float]]:
    """Milliseconds to report, one dict a measurement; nothing is timed."""
    times: list[dict[str, float]] = []
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(
        variant_choice, "measure", lambda present, open_variant: Measured(times.pop(0), calm=True)
    )
    return times


def fake_bundle(sha256: str = "a", ids: tuple[str, ...] = IDS) -> Any:
    variants = {name: SimpleNamespace(file=f"{name}.onnx") for name in ids}
    files = {f"{name}.onnx": {"sha256": sha256} for name in ids}
    return SimpleNamespace(name="fake", variants=variants, manifest={"files": files})


def choose(bundle: Any, threads: int = 2) -> variant_choice.VariantChoice:
    def never(name: str) -> Any:
        raise AssertionError(name)

    return choose_variant(
        bundle, list(bundle.variants), engine="ort 1", threads=threads, open_variant=never
    )


def test_the_faster_one_is_taken_and_remembered(measured: list[dict[str, float]]) -> None:
    measured.append({"fp32-onnx": 30.0, "int8-ort": 20.0})
    first = choose(fake_bundle())
    assert first.variant == "int8-ort"
    assert first.reason == "1.50x the speed of fp32-onnx (measured now)"
    # Nothing is left to measure with: the second answer is remembered.
    assert choose(fake_bundle()).reason == "1.50x the speed of fp32-onnx (measured before)"
    # Other threads and another graph are measured anew.
    measured.append({"fp32-onnx": 20.0, "int8-ort": 19.0})
    other = choose(fake_bundle(), threads=1)
    assert other.variant == "fp32-onnx"
    assert "none is 1.1 times as fast: int8-ort 1.05x" in other.reason
    measured.append({"fp32-onnx": 20.0, "int8-ort": 40.0})
    assert choose(fake_bundle("b")).variant == "fp32-onnx"
    assert not measured


def test_one_variant_needs_no_choice(measured: list[dict[str, float]]) -> None:
    choice = choose(fake_bundle(ids=("fp32-onnx",)))
    assert (choice.variant, choice.reason) == ("fp32-onnx", "")


def test_damaged_and_unwritable_memory(
    measured: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured += [{"fp32-onnx": 30.0, "int8-ort": 20.0}] * 3
    choose(fake_bundle())
    (file,) = (tmp_path / "cache" / "variants").iterdir()
    file.write_text("{")
    assert "measured again, as the stored result was damaged" in choose(fake_bundle()).reason
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    blocked = choose(fake_bundle())
    assert blocked.variant == "int8-ort"
    assert "again next time" in blocked.reason


def test_variants_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def open_variant(name: str) -> Any:
        def infer(frame: np.ndarray) -> np.ndarray:
            calls.append(name)
            return frame

        return nullcontext(SimpleNamespace(infer=infer))

    speeds, _ = measure(IDS, open_variant)
    assert set(speeds) == set(IDS)
    warm = variant_choice.WARM_UP_RUNS
    assert calls[2 * warm : 2 * warm + 4] == [*IDS, *IDS]
    assert len(calls) == 2 * (warm + variant_choice.ROUNDS)


@pytest.mark.parametrize(
    ("processors_ms", "expected"),
    [(2.0, (2.0, True)), (3.9, (2.0, True)), (1.7, (1.7, True)), (1.2, (1.2, False))],
)
def test_what_disturbs_a_measurement_does_not_count(
    processors_ms: float, expected: tuple[float, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run of 2 ms by the clock, others longer; one or two processors, or less than one."""
    now, work = [0.0], [0.0]
    runs = iter([0.5] * variant_choice.WARM_UP_RUNS + [0.03, 0.002, 0.02] * 10)

    def infer(frame: np.ndarray) -> np.ndarray:
        now[0] += next(runs)
        work[0] += processors_ms / 1000
        return frame

    clocks = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: work[0])
    monkeypatch.setattr(variant_choice, "time", clocks)
    speeds, calm = measure(IDS[:1], lambda _: nullcontext(SimpleNamespace(infer=infer)))
    assert (speeds[IDS[0]], calm) == expected


def test_a_disturbed_measurement_is_not_remembered(
    measured: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        busy = Measured({"fp32-onnx": 30.0, "int8-ort": 20.0}, calm=False)
        patch.setattr(variant_choice, "measure", lambda present, open_variant: busy)
        assert choose(fake_bundle()).reason == (
            "1.50x the speed of fp32-onnx (measured now, and again next time: other programs had "
            "the processors)"
        )
    measured.append({"fp32-onnx": 20.0, "int8-ort": 40.0})
    assert choose(fake_bundle()).variant == "fp32-onnx"
    assert choose(fake_bundle()).reason.endswith("(measured before)")


def test_a_session_says_why(
    measured: list[dict[str, float]], tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adcvsr.bundle import Bundle

    bundle = Bundle(tiny_bundle)
    bundle.variants["int8-ort"] = replace(bundle.variants["fp32-onnx"], id="int8-ort")
    measured.append({"fp32-onnx": 20.0, "int8-ort": 10.0})
    session = backends.create_session(bundle)
    assert session.variant_reason == "2.00x the speed of fp32-onnx (measured now)"
    assert backends.create_session(bundle, variant="fp32-onnx").variant_reason == ""


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", "fpu avx2 avx512_vnni", False),
        ("x86_64", "fpu avx2 avx_vnni", False),
        ("x86_64", "fpu avx2", True),
        ("aarch64", "", False),
    ],
)
def test_where_products_saturate(
    machine: str, flags: str, saturates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(f"flags\t\t: {flags}\n")
    host = Host(root=tmp_path, machine=machine)
    monkeypatch.setattr(ort_precision, "this_host", lambda: host)
    assert ort_precision.products_saturate() is saturates
