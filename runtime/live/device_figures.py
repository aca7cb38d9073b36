"""Power, temperature and load of the device, where it tells: NVML for cards, /sys for boards.

A Jetson's rails and zones are read where tegrastats reads them, without running it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from ...host.machine import Host
from ...host.nvml import nvml_state

RAILS = "/sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
ZONES = "/sys/class/thermal/thermal_zone*"
GPU_LOADS = ("/sys/devices/platform/gpu.0/load", "/sys/devices/platform/bus@0/*.gpu/load")
"""Tenths of a percent."""

NVML_FIGURES = ("power_w", "celsius", "clock_mhz")


class DeviceFigures:
    """Reads the figures; close it at the end.

    Args:
        host: The machine.
    """

    def __init__(self, host: Host | None = None) -> None:
        self._host = host or Host()
        self._closing = ExitStack()
        self._cards = self._open_nvml() if host is None else None

    def read(self) -> dict[str, float]:
        """All figures there are now, such as `gpu0_power_w`, `VDD_IN_power_w`, `gpu_celsius`."""
        found = {**_rails(self._host), **_zones(self._host), **_load(self._host)}
        return found | (self._cards() if self._cards else {})

    def close(self) -> None:
        """Let go of NVML."""
        self._closing.close()

    def _open_nvml(self) -> Callable[[], dict[str, float]] | None:
        try:
            import pynvml as nvml

            nvml.nvmlInit()
        except Exception:  # not installed, no driver, or one that is broken: no figures from it
            return None
        self._closing.callback(lambda: _quietly(nvml.nvmlShutdown))
        count = nvml.nvmlDeviceGetCount()
        return lambda: _card_figures(nvml, count)


def _quietly(step: Callable[[], Any]) -> None:
    with suppress(Exception):
        step()


def _card_figures(nvml: Any, count: int) -> dict[str, float]:
    found: dict[str, float] = {}
    for index in range(count):
        with suppress(nvml.NVMLError):
            state = nvml_state(nvml, index)
            found |= {f"gpu{index}_{name}": state[name] for name in NVML_FIGURES if name in state}
    return found


def _rails(host: Host) -> dict[str, float]:
    """Watts of each rail of the INA3221 monitors: millivolts times milliamperes."""
    found = {}
    for path in host.glob(f"{RAILS}/in*_label"):
        channel = path.removesuffix("_label")
        name, millivolts = host.read(path), host.number(f"{channel}_input")
        folder, _, number = channel.rpartition("/in")
        milliamperes = host.number(f"{folder}/curr{number}_input")
        if name and millivolts is not None and milliamperes is not None:
            found[f"{name}_power_w"] = millivolts * milliamperes / 1e6
    return found


def _zones(host: Host) -> dict[str, float]:
    found = {}
    for folder in host.glob(ZONES):
        name, value = host.read(f"{folder}/type"), host.number(f"{folder}/temp")
        if name and value is not None and value > 0:
            found[f"{name.removesuffix('-thermal')}_celsius"] = value / 1000
    return found


def _load(host: Host) -> dict[str, float]:
    for pattern in GPU_LOADS:
        for path in host.glob(pattern):
            if (value := host.number(path)) is not None:
                return {"gpu_load_percent": value / 10}
    return {}
