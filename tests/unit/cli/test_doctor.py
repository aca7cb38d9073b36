"""`adcvsr doctor` as a user meets it: exit codes, one JSON object, broken packages."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from adcvsr.runtime.doctor.findings import GROUPS, SCHEMA
from board_files import write_files
from warm_program import run_program

METADATA = "Metadata-Version: 2.1\nName: {}\nVersion: {}\n"

BROKEN_ONNXRUNTIME = """
__version__ = "1.31.1"
def get_available_providers():
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]
class SessionOptions:
    def add_session_config_entry(self, key, value):
        pass
class InferenceSession:
    def __init__(self, model, options, providers):
        if providers == ["CUDAExecutionProvider"]:
            import os, signal
            os.kill(os.getpid(), signal.SIGABRT)
    def get_providers(self):
        return ["CPUExecutionProvider"]
    def run(self, names, feed):
        return [2 * feed["x"]]
"""


NVML = """
from types import SimpleNamespace
NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
class NVMLError(Exception):
    pass
def nvmlInit(): pass
def nvmlSystemGetDriverVersion(): return "580.65.06"
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(handle): return "NVIDIA GeForce RTX 4090"
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(total=25757220864, free=24000000000)
def nvmlDeviceGetCudaComputeCapability(handle): return (8, 9)
def __getattr__(name):
    raise AttributeError(name)
"""


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command without this machine's own GPU, where it has one."""
    return run_program("doctor", "--wait", 60, *arguments, CUDA_VISIBLE_DEVICES="-1", **environment)


def find(report: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [each for each in report["findings"] if each["name"] == name]


def test_text_report() -> None:
    done = doctor()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    first, *rest = done.stdout.splitlines()
    assert first.startswith("adcvsr ")
    assert any(line.split()[:2] == ["runs", "ort-cpu"] for line in rest)
    assert set(GROUPS) - {"power"} <= {line for line in rest if line and line[0] != " "}
    assert done.stdout.isascii()


def test_json_is_all_of_stdout_and_complete() -> None:
    done = doctor("--json", "--require", "ort-cpu")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == SCHEMA
    assert [each["name"] for each in report["verdict"]["backends"]] == [
        "tensorrt",
        "tensorrt-rtx",
        "ort-cuda",
        "ort-cpu",
    ]
    assert report["verdict"]["backends"][-1]["runs"] == "yes"
    assert report["verdict"]["backends"][-1]["in_this_version"] is True
    for each in report["findings"]:
        assert set(each) == {"group", "name", "mark", "value", "fix", "data"}
        assert each["group"] in GROUPS
        assert "\n" not in each["value"] + each["fix"]
    (ort,) = find(report, "ONNX Runtime")
    assert ort["mark"] == "ok"


def test_require_of_a_backend_that_does_not_run() -> None:
    done = doctor("--require", "tensorrt")
    assert done.returncode == 1
    report = json.loads(doctor("--json").stdout)
    (why,) = (e["why"] for e in report["verdict"]["backends"] if e["name"] == "tensorrt")
    assert why
    assert done.stderr.startswith(f"error: tensorrt was not seen to work here: {why}")
    assert "runs " in done.stdout
    assert doctor("--require", "nonsense").returncode == 2


def test_rtx_4090_with_both_builds_of_onnxruntime_and_a_provider_that_aborts(
    tmp_path: Path,
) -> None:
    """pip's two packages overwrite each other, and CUDA's library takes its process down."""
    write_files(
        tmp_path,
        {
            "pynvml.py": NVML,
            "onnxruntime/__init__.py": BROKEN_ONNXRUNTIME,
            "onnxruntime/capi/libonnxruntime_providers_cuda.so": "",
            "onnxruntime-1.32.0.dist-info/METADATA": METADATA.format("onnxruntime", "1.32.0"),
            "onnxruntime_gpu-1.31.1.dist-info/METADATA": METADATA.format(
                "onnxruntime-gpu", "1.31.1"
            ),
        },
    )
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["verdict"]["target"] == "rtx-4090"
    conflict, build = find(report, "ONNX Runtime")
    assert conflict["mark"] == "warning"
    assert (
        "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are installed at once" in conflict["value"]
    )
    assert conflict["fix"].startswith("pip uninstall -y onnxruntime onnxruntime-gpu, then")
    assert build["data"]["version"] == "1.31.1"
    (cuda,) = find(report, "CUDA provider")
    assert cuda["mark"] == "missing"
    assert "crashed with SIGABRT" in cuda["value"]
    assert [each["mark"] for each in find(report, "CPU provider")] == ["ok"]
    states = {each["name"]: each for each in report["verdict"]["backends"]}
    assert states["ort-cuda"]["runs"] == "no"
    assert states["ort-cpu"]["runs"] == "yes"
    assert "fp8" in states["tensorrt"]["precisions"]


@pytest.mark.parametrize("package", ["onnxruntime", "av", "numpy"])
def test_a_package_that_does_not_import_is_a_line(package: str, tmp_path: Path) -> None:
    write_files(tmp_path, {f"{package}/__init__.py": "raise ImportError('libbroken.so: gone')"})
    done = doctor("--json", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    broken = [each for each in report["findings"] if "libbroken.so: gone" in each["value"]]
    assert broken
    assert all(each["mark"] == "missing" and each["fix"] for each in broken)
    if package != "av":
        assert report["verdict"]["backends"][-1]["runs"] == "no"
