"""GPUs, driver and CUDA.

The CUDA driver is asked through ctypes, for it is everywhere a GPU works; NVML adds clocks, power
and temperature through nvidia-ml-py, where that is installed and the board answers.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

from ...host.machine import Host
from ...host.nvml import nvml_state, plain_text
from ...variants import FP8_MIN_SM, sm_text
from .children import Outcome
from .findings import Finding, Mark
from .fixes import install_driver, install_for_cuda_12

DRIVER_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
"""Names of the CUDA driver's library."""

NO_GPU_CODES = (34, 100)
"""Answers of `cuInit` that settle the question: a stub without driver, a driver without GPU."""

CUDA_ERRORS = {
    34: "the CUDA library is a stub: no driver is installed",
    35: "the driver is older than the CUDA library asks for",
    46: "the GPU is busy with another process in exclusive mode",
    100: "the driver sees no GPU",
    101: "the driver names a GPU that is not there",
    802: "the GPU is not ready yet (fabric manager, or still booting)",
    803: "driver and CUDA library have different versions: reboot, or reinstall the driver",
    804: "this GPU may not be used with forward-compatible CUDA libraries",
    999: "the driver failed without a reason: look at dmesg; a reboot often helps",
}
"""What `cuInit` answers when it does not work."""

_ATTRIBUTES = {
    "multiprocessors": 16,
    "integrated": 18,
    "sm_major": 75,
    "sm_minor": 76,
}
"""Numbers of CUdevice_attribute."""

Emit = Callable[..., None]


def probe_cuda(emit: Emit, library: Any = None) -> None:
    """Print every GPU the CUDA driver shows; runs as a child."""
    cuda = library or _load_driver(emit)
    if cuda is None:
        return
    code = cuda.cuInit(0)
    if code:
        emit(error=CUDA_ERRORS.get(code, f"cuInit answered {code}"), code=code)
        return
    version, count = ctypes.c_int(), ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    cuda.cuDeviceGetCount(ctypes.byref(count))
    emit(driver_cuda=f"{version.value // 1000}.{version.value % 1000 // 10}")
    emit(gpus=[_device(cuda, index) for index in range(count.value)])


def _load_driver(emit: Emit) -> Any:
    reason = ""
    for name in DRIVER_LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            reason = reason or str(error)
    emit(error="no CUDA driver", detail=reason)
    return None


def _device(cuda: Any, index: int) -> dict[str, Any]:
    device, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    values: dict[str, Any] = {"name": name.value.decode(), "memory_bytes": memory.value}
    for key, number in _ATTRIBUTES.items():
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        values[key] = value.value
    values["sm"] = 10 * values.pop("sm_major") + values.pop("sm_minor")
    values["integrated"] = bool(values["integrated"])
    return values


def probe_nvml(emit: Emit) -> None:
    """Print driver version and the state of every GPU; runs as a child."""
    import pynvml as nvml

    nvml.nvmlInit()
    emit(driver=plain_text(nvml.nvmlSystemGetDriverVersion()))
    emit(gpus=[nvml_state(nvml, index) for index in range(nvml.nvmlDeviceGetCount())])


def merge_gpus(cuda: Outcome | None, nvml: Outcome | None) -> list[dict[str, Any]]:
    """One entry a GPU: CUDA's order, which the backends use, filled up with what NVML knows.

    CUDA sorts by speed and NVML by slot, so they are matched by name.
    """
    states = list((nvml and nvml.get("gpus")) or [])
    devices = (cuda and cuda.get("gpus")) or []
    if not devices:
        return states
    merged = []
    for device in devices:
        same = next((each for each in states if each.get("name") == device["name"]), None)
        if same is not None:
            states.remove(same)
        merged.append({**(same or {}), **device})
    return merged


def driver_failure(cuda: Outcome | None) -> str:
    """What kept the driver from telling which GPUs there are; empty where that is settled."""
    if cuda is None or cuda.get("gpus") is not None:
        return ""
    if cuda.get("error") == "no CUDA driver" or cuda.get("code") in NO_GPU_CODES:
        return ""
    if cuda.late:
        return "the CUDA driver did not answer in time; --wait 30 gives it longer"
    return f"the CUDA driver failed: {cuda.reason}"


def gpu_findings(
    host: Host, gpus: list[dict[str, Any]], cuda: Outcome | None, nvml: Outcome | None
) -> list[Finding]:
    """Lines about GPUs, driver and CUDA."""
    found = [_gpu_finding(index, gpu) for index, gpu in enumerate(gpus)]
    if not gpus:
        found.append(_no_gpu(host, cuda))
    elif not (cuda and cuda.get("gpus")):
        found.append(_no_cuda(host, cuda))
    found += _driver(host, gpus, cuda, nvml)
    if gpus and not host.is_jetson and (serves := cuda and cuda.get("driver_cuda")):
        found += _cuda_12(str(serves))
    found += _toolkit(host)
    return found


def _gpu_finding(index: int, gpu: dict[str, Any]) -> Finding:
    sm = gpu.get("sm")
    parts = [str(gpu.get("name", "unnamed"))]
    if sm is not None:
        parts.append(f"SM {sm_text(sm)}, {'has' if sm >= FP8_MIN_SM else 'no'} FP8")
    if memory := gpu.get("memory_bytes"):
        shared = " shared with the CPU" if gpu.get("integrated") else ""
        parts.append(f"{memory / 1e9:.1f} GB{shared}")
    if free := gpu.get("memory_free_bytes"):
        parts.append(f"{free / 1e9:.1f} GB free")
    return Finding("gpu", f"GPU {index}", "ok", ", ".join(parts), data=gpu)


def _no_gpu(host: Host, cuda: Outcome | None) -> Finding:
    if cuda and cuda.late:
        return Finding("gpu", "GPU", "unknown", driver_failure(cuda))
    if not host.is_jetson and cuda and cuda.get("error") == "no CUDA driver":
        return Finding("gpu", "GPU", "info", "no NVIDIA driver here; the CPU backend runs")
    reason = driver_failure(cuda) or (cuda.reason if cuda else "not looked for")
    return Finding("gpu", "GPU", "missing", reason, install_driver(host))


def _no_cuda(host: Host, cuda: Outcome | None) -> Finding:
    late = cuda is not None and cuda.late
    reason = cuda.reason if cuda else "not asked"
    return Finding(
        "gpu",
        "CUDA driver",
        "unknown" if late else "missing",
        f"NVML sees a GPU, CUDA does not: {reason}",
        "" if late else install_driver(host),
    )


def _driver(
    host: Host, gpus: list[dict[str, Any]], cuda: Outcome | None, nvml: Outcome | None
) -> list[Finding]:
    """Driver version, the CUDA version it serves, and NVML."""
    version = (nvml and nvml.get("driver")) or _version_from_proc(host)
    serves = cuda and cuda.get("driver_cuda")
    if not (version or serves):
        return []
    text = " ".join(
        part for part in (version or "", f"for CUDA up to {serves}" if serves else "") if part
    )
    found = [Finding("gpu", "driver", "ok", text, data={"version": version, "cuda": serves})]
    if gpus and nvml is None and not host.is_jetson:
        value = "nvidia-ml-py is not installed: no clocks, power or temperature"
        found.append(Finding("gpu", "NVML", "missing", value, "pip install nvidia-ml-py"))
    elif nvml is not None and nvml.get("gpus") is None and not host.is_jetson:
        mark: Mark = "unknown" if nvml.late else "warning"
        found.append(Finding("gpu", "NVML", mark, nvml.reason))
    return found


def _cuda_12(serves: str) -> list[Finding]:
    """A driver that is older than the CUDA the package index's wheels are built for."""
    major = serves.partition(".")[0]
    if major != "12":
        return []
    value = f"the driver serves CUDA {serves}; the wheels of adcvsr's GPU extras are of CUDA 13"
    return [Finding("gpu", "CUDA 12", "warning", value, install_for_cuda_12())]


def _version_from_proc(host: Host) -> str | None:
    found = re.search(r"\s(\d{3}\.\d+(?:\.\d+)?)\s", host.read("/proc/driver/nvidia/version") or "")
    return found[1] if found else None


def _toolkit(host: Host) -> list[Finding]:
    """CUDA toolkits below /usr/local; nothing here needs one, wheels bring their libraries."""
    found = []
    for path in host.glob("/usr/local/cuda-*/version.json"):
        version = re.search(
            r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', host.read(path) or ""
        )
        found.append(version[1] if version else path.split("/")[3].removeprefix("cuda-"))
    if not found:
        return []
    return [Finding("gpu", "CUDA toolkit", "info", ", ".join(found), data={"versions": found})]
