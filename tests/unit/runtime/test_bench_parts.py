"""What a bench reads of the machine, and how results are compared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adcvsr.bundle import PACKAGED, open_bundle
from adcvsr.errors import BenchError, BundleError, ConfigError
from adcvsr.host.machine import Host
from adcvsr.runtime.bench import bench
from adcvsr.runtime.bench.bench import BenchOptions, run_bench
from adcvsr.runtime.bench.compare import compare, read_result
from adcvsr.runtime.bench.conditions import LoadWatch, read_conditions, warnings_for
from adcvsr.runtime.bench.sensors import Sensors, parse_tegrastats, read_nvml, read_sys
from adcvsr.runtime.processing.variant_pick import pick_variants

TEGRASTATS = (
    "11-23-2026 13:00:00 RAM 3456/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) CPU "
    "[12%@1510,off,3%@1510,5%@729] EMC_FREQ 4%@2133 GR3D_FREQ 61%@[305] NVDEC off cpu@45.5C "
    "soc2@44.9C gpu@46.1C tj@46.1C cv0@-256C VDD_IN 5123mW/4980mW VDD_CPU_GPU_CV 1234mW/1200mW"
)
"""Of an Orin Nano with JetPack 6."""


def test_tegrastats_of_orin() -> None:
    assert parse_tegrastats(TEGRASTATS) == {
        "ram_mb": 3456,
        "gpu_busy_percent": 61,
        "gpu_mhz": 305,
        "memory_mhz": 2133,
        "cpu_c": 45.5,
        "soc2_c": 44.9,
        "gpu_c": 46.1,
        "tj_c": 46.1,
        "vdd_in_w": 5.123,
        "vdd_cpu_gpu_cv_w": 1.234,
    }
    assert parse_tegrastats("no such line") == {}


class FakeNvml:
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 151_000

    def nvmlDeviceGetClockInfo(self, handle: int, kind: int) -> int:  # noqa: N802
        return 1980

    def nvmlDeviceGetTemperature(self, handle: int, kind: int) -> int:  # noqa: N802
        raise self.NVMLError("not supported")

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:  # noqa: N802
        return 0x20 | 0x1


def test_nvml_leaves_out_what_a_card_does_not_tell() -> None:
    cut: list[str] = []
    assert read_nvml(FakeNvml(), [0], cut.append) == {"gpu_w": 151.0, "gpu_mhz": 1980.0}
    assert cut == ["too hot (software limit)"]


def test_sys_of_a_board(tmp_path: Path) -> None:
    for path, text in {
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1500000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "500000",
        "sys/class/thermal/thermal_zone0/temp": "51000",
        "sys/class/thermal/thermal_zone1/temp": "-256000",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text + "\n")
    assert read_sys(Host(root=tmp_path)) == {"cpu_mhz": 1000.0, "hottest_c": 51.0}
    assert read_sys(Host(root=tmp_path / "none")) == {}


def test_sensors_sum_up_and_survive_a_source_that_fails() -> None:
    values = iter([{"gpu_w": 10.0}, {"gpu_w": 30.0}])

    def gone() -> dict[str, float]:
        raise OSError("unplugged")

    with Sensors(sources={"card": lambda: next(values), "gone": gone}) as sensors:
        assert sensors.tells_power
    assert sensors.summary() == {
        "sources": ["card", "gone"],
        "samples": 2,
        "throttling": [],
        "quantities": {"gpu_w": {"min": 10.0, "median": 20.0, "max": 30.0}},
    }


def test_others_share_of_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy time of the whole machine less this process's own, over all processors."""
    from adcvsr.runtime.bench import conditions as bench_conditions

    clock = {"wall": 0.0, "own": 0.0}
    monkeypatch.setattr(bench_conditions.time, "monotonic", lambda: clock["wall"])
    monkeypatch.setattr(bench_conditions, "_own_seconds", lambda: clock["own"])
    monkeypatch.setattr(bench_conditions.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(bench_conditions.os, "sysconf", lambda name: 100)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  1000 0 0 9999 0 0 0 0 0 0\n")
    watch = LoadWatch(Host(root=tmp_path))
    clock.update(wall=10.0, own=15.0)  # ten seconds of four processors, this process took 15
    (tmp_path / "proc/stat").write_text("cpu  3000 100 0 9999 0 0 0 100 0 0\n")  # 22 s more busy
    assert watch.others_share() == pytest.approx((22 - 15) / 40)
    (tmp_path / "proc/stat").unlink()
    assert watch.others_share() is None


def warned(**changed: Any) -> list[tuple[str, bool]]:
    values: dict[str, Any] = {"others": 0.01, "throttling": [], "frames": 1000, "spreads": {}}
    found = warnings_for({"power_warnings": []}, **{**values, **changed})
    return [(entry["text"], entry["worthless"]) for entry in found]


def test_warnings() -> None:
    assert warned() == []
    ((text, worthless),) = warned(others=0.45)
    assert "45%" in text
    assert worthless
    ((text, worthless),) = warned(throttling=["too hot (hardware limit)"])
    assert "too hot" in text
    assert worthless
    assert "p99" in warned(frames=20)[0][0]
    ((text, worthless),) = warned(spreads={"int8-ort": 0.2, "fp16-onnx": 0.05})
    assert "int8-ort" in text
    assert not worthless
    assert not warned(others=None)[0][1]


def test_conditions_of_this_machine_are_json() -> None:
    found = json.loads(json.dumps(read_conditions()))
    assert found["packages"]["numpy"]
    assert found["processors"] >= found["processors_usable"] >= 1


def test_picking_variants(tmp_path: Path) -> None:
    bundle = open_bundle("nano")
    one = bundle.variants["fp32-onnx"]
    bundle.variants = dict.fromkeys(("int8-ort", "int8-trt", "fp32-onnx", "fp16-trt"), one)
    assert pick_variants(bundle, "ort-cpu") == ["fp32-onnx", "int8-ort"]
    assert pick_variants(bundle, "tensorrt") == ["fp32-onnx", "fp16-trt", "int8-trt"]
    assert pick_variants(bundle, "ort-cpu", ["int8,fp32"]) == ["int8-ort", "fp32-onnx"]
    assert pick_variants(bundle, "tensorrt", ["int8", "int8-trt"]) == ["int8-trt"]
    assert pick_variants(bundle, "tensorrt", ["tf32,fp32"]) == ["tf32-onnx", "fp32-onnx"]
    assert pick_variants(bundle, "ort-cpu", ["int8-trt"]) == ["int8-trt"]  # by its full name
    with pytest.raises(BundleError, match=r"no variant 'fp16'.*'fp16-trt' is made for another"):
        pick_variants(bundle, "ort-cpu", ["fp16"])
    with pytest.raises(BundleError, match="did you mean 'int8-ort'"):
        pick_variants(bundle, "ort-cpu", ["int8-rot"])


def result(**changed: Any) -> dict[str, Any]:
    row = {
        "variant": "fp32-onnx",
        "backend": "ort-cpu",
        "latency_ms": {"p50": 10.0, "p90": 11.0, "p95": 12.0, "p99": 20.0},
        "cpu_ms": {"mean": 15.0},
        "fps": 100.0,
        "start": None,
    }
    return {
        "schema": 1,
        "bundle": {"name": "nano", "parameters": 5},
        "size": [320, 180],
        "conditions": {"processor": "A", "threads": 2},
        "variants": [row],
        "warnings": [],
        **changed,
    }


def test_compare_says_what_differs() -> None:
    second = result(conditions={"processor": "B", "threads": 2})
    second["variants"] = [{**second["variants"][0], "fps": 50.0}, {**result()["variants"][0]}]
    second["variants"][1]["variant"] = "int8-ort"
    found = compare(result(), second)
    assert found["rows"][0]["fps"] == {"first": 100.0, "second": 50.0, "ratio": 0.5}
    assert found["differences"] == {"conditions.processor": ["A", "B"]}
    assert found["only"] == {"first": [], "second": ["int8-ort"]}


def test_compare_refuses_what_is_not_the_same_thing() -> None:
    with pytest.raises(BenchError, match=r"size is \[320, 180\] in the first and \[640, 360\]"):
        compare(result(), result(size=[640, 360]))
    other = result()
    other["variants"] = [{**other["variants"][0], "variant": "int8-ort"}]
    with pytest.raises(BenchError, match="no variant in both"):
        compare(result(), other)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 99, "variants": [], "conditions": 1}']
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"a\.json"):
        read_result(path)
    with pytest.raises(BenchError, match="cannot read"):
        read_result(tmp_path / "none.json")


def test_bundles_of_one_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their times would else be one list, and every ratio of theirs exactly 1."""
    monkeypatch.setattr(bench, "WARM_UP_SECONDS", 0)
    options = BenchOptions(variants=("fp32-onnx",), size=(32, 32), seconds=0.1, start=False)
    other = open_bundle(shutil.copytree(PACKAGED / "nano", tmp_path / "nano"))
    result = run_bench(open_bundle("nano"), options, beside=[other])
    names = [row["name"] for row in result["variants"]]
    assert names == [f"{PACKAGED / 'nano'} fp32-onnx", f"{tmp_path / 'nano'} fp32-onnx"]
    assert result["variants"][1]["ratio_to"] == names[0]
    first, second = (row["latency_ms"]["mean"] for row in result["variants"])
    assert first != second
    with pytest.raises(ConfigError, match="nano' is given twice"):
        run_bench(other, options, beside=[other])
