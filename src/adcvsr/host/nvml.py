"""The state of NVIDIA GPUs as NVML tells it: clocks, power, temperature, and what slows them.

nvml_state(pynvml, 0)["celsius"]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

THROTTLE_REASONS = {
    0x4: "power cap set by software",
    0x8: "slowed by the hardware (power or heat)",
    0x20: "too hot (software limit)",
    0x40: "too hot (hardware limit)",
    0x80: "power brake",
}
"""Bits of NVML's clock event reasons that cost speed; idle and user settings are left out."""


def nvml_state(nvml: Any, index: int) -> dict[str, Any]:
    """What NVML tells of a GPU; a Jetson answers 'not supported' to most questions."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    questions: dict[str, Callable[[], Any]] = {
        "name": lambda: plain_text(nvml.nvmlDeviceGetName(handle)),
        "memory_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "memory_free_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).free,
        "sm": lambda: _sm(*nvml.nvmlDeviceGetCudaComputeCapability(handle)),
        "clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM),
        "max_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000,
        "celsius": lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        "throttling": lambda: _throttling(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
    }
    found = {}
    for key, ask in questions.items():
        try:
            found[key] = ask()
        except (nvml.NVMLError, AttributeError):
            continue
    return found


def _sm(major: int, minor: int) -> int:
    return 10 * major + minor


def _throttling(bits: int) -> list[str]:
    return [text for bit, text in THROTTLE_REASONS.items() if bits & bit]


def plain_text(text: str | bytes) -> str:
    """NVML's older bindings answer in bytes."""
    return text.decode() if isinstance(text, bytes) else text
