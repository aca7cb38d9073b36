"""Power, clocks, temperature and throttling while something runs, as far as the platform tells.

A thread reads every half second: NVML for cards, tegrastats on Jetson, /sys for processors and
Intel's energy counters. What cannot be read is absent, never zero.

    with Sensors() as sensors:
        ...
    sensors.summary()
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from ...host.machine import Host
from ...host.nvml import THROTTLE_REASONS
from .ratio import median

INTERVAL_SECONDS = 0.5

Sample = dict[str, float]
"""Quantity with its unit in the name (`gpu_w`, `gpu_mhz`, `gpu_c`) to value."""


class Sensors:
    """Samples every source this machine has. Use it as a context manager.

    Args:
        host: The machine's files.
        sources: Replaced in tests: each is called without arguments, returns a sample, and may
            raise `OSError` when it has nothing more to say.
    """

    def __init__(
        self, host: Host | None = None, sources: dict[str, Callable[[], Sample]] | None = None
    ) -> None:
        self.host = host or Host()
        self.throttling: set[str] = set()
        """Reasons for which clocks were cut at any time."""
        self._sources = sources
        self._close: list[Callable[[], None]] = []
        self._samples: list[Sample] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Sensors:
        """Start sampling."""
        if self._sources is None:
            self._sources = self._find_sources()
        self._read()
        self._thread = threading.Thread(target=self._run, name="adcvsr-sensors", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, with one last sample."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        self._read()
        for close in self._close:
            close()

    @property
    def tells_power(self) -> bool:
        """Whether any source has said what is drawn."""
        return any(key.endswith("_w") for sample in self._samples for key in sample)

    def summary(self) -> dict[str, Any]:
        """Least, middle and greatest value of every quantity, and where clocks were cut."""
        keys = sorted({key for sample in self._samples for key in sample})
        values = {key: [s[key] for s in self._samples if key in s] for key in keys}
        return {
            "sources": sorted(self._sources or {}),
            "samples": len(self._samples),
            "throttling": sorted(self.throttling),
            "quantities": {
                key: {
                    "min": round(min(found), 3),
                    "median": round(median(found), 3),
                    "max": round(max(found), 3),
                }
                for key, found in values.items()
            },
        }

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_SECONDS):
            self._read()

    def _read(self) -> None:
        sample: Sample = {}
        for source in (self._sources or {}).values():
            with suppress(OSError, ValueError):
                sample |= source()
        if sample:
            self._samples.append(sample)

    def _find_sources(self) -> dict[str, Callable[[], Sample]]:
        found: dict[str, Callable[[], Sample]] = {}
        for name, find in (("nvml", self._nvml), ("tegrastats", self._tegrastats)):
            if (source := find()) is not None:
                found[name] = source
        if read_sys(self.host):
            found["sys"] = lambda: read_sys(self.host)
        if (rapl := _rapl(self.host)) is not None:
            found["rapl"] = rapl
        return found

    def _nvml(self) -> Callable[[], Sample] | None:
        try:
            import pynvml as nvml

            nvml.nvmlInit()
            handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        except Exception:  # not installed, or any of NVML's own errors: no card to ask
            return None
        self._close.append(nvml.nvmlShutdown)
        return lambda: read_nvml(nvml, handles, self.throttling.add)

    def _tegrastats(self) -> Callable[[], Sample] | None:
        program = shutil.which("tegrastats")
        if program is None:
            return None
        process = subprocess.Popen(
            [program, "--interval", str(int(INTERVAL_SECONDS * 1000))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        latest: list[str] = []

        def follow() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                latest[:] = [line]

        threading.Thread(target=follow, name="adcvsr-tegrastats", daemon=True).start()

        def end() -> None:
            process.terminate()
            process.wait()

        self._close.append(end)
        return lambda: parse_tegrastats(latest[0]) if latest else {}


def read_nvml(nvml: Any, handles: list[Any], throttled: Callable[[str], None]) -> Sample:
    """Read all cards; a question one does not answer is left out.

    Args:
        nvml: The module `pynvml`.
        handles: Of its devices.
        throttled: Called with each reason for which clocks are cut now.
    """
    sample: Sample = {}
    for index, handle in enumerate(handles):
        name = f"gpu{index}" if len(handles) > 1 else "gpu"
        questions: dict[str, Callable[[], float]] = {
            "w": lambda h=handle: nvml.nvmlDeviceGetPowerUsage(h) / 1000,  # type: ignore[misc]
            "mhz": lambda h=handle: nvml.nvmlDeviceGetClockInfo(h, nvml.NVML_CLOCK_SM),  # type: ignore[misc]
            "c": lambda h=handle: nvml.nvmlDeviceGetTemperature(h, nvml.NVML_TEMPERATURE_GPU),  # type: ignore[misc]
            "busy_percent": lambda h=handle: nvml.nvmlDeviceGetUtilizationRates(h).gpu,  # type: ignore[misc]
            "used_mb": lambda h=handle: nvml.nvmlDeviceGetMemoryInfo(h).used / 1e6,  # type: ignore[misc]
        }
        for key, ask in questions.items():
            with suppress(nvml.NVMLError, AttributeError):
                sample[f"{name}_{key}"] = float(ask())
        with suppress(nvml.NVMLError, AttributeError):
            bits = nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
            for bit, reason in THROTTLE_REASONS.items():
                if bits & bit:
                    throttled(reason)
    return sample


def parse_tegrastats(line: str) -> Sample:
    """Read a line of tegrastats, of JetPack 5 to 7.

    Such as `RAM 3456/7620MB ... GR3D_FREQ 61%@[305] ... gpu@46.1C ... VDD_IN 5123mW/4980mW`.
    """
    sample: Sample = {}
    if found := re.search(r"\bRAM (\d+)/\d+MB", line):
        sample["ram_mb"] = float(found[1])
    if found := re.search(r"\bGR3D_FREQ (\d+)%(?:@\[?(\d+))?", line):
        sample["gpu_busy_percent"] = float(found[1])
        if found[2]:
            sample["gpu_mhz"] = float(found[2])
    if found := re.search(r"\bEMC_FREQ \d+%@(\d+)", line):
        sample["memory_mhz"] = float(found[1])
    for name, value in re.findall(r"\b([A-Za-z0-9_]+)@(-?[\d.]+)C\b", line):
        if float(value) > -200:  # a sensor that is off reads -256
            sample[f"{name.lower()}_c"] = float(value)
    for name, value in re.findall(r"\b([A-Z][A-Z0-9_]+) (\d+)mW/\d+mW", line):
        sample[f"{name.lower()}_w"] = float(value) / 1000
    return sample


def read_sys(host: Host) -> Sample:
    """Mean clock of the processors and the hottest zone, from /sys."""
    sample: Sample = {}
    clocks = [
        value / 1000
        for path in host.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
        if (value := host.number(path))
    ]
    if clocks:
        sample["cpu_mhz"] = sum(clocks) / len(clocks)
    zones = [
        value / 1000
        for path in host.glob("/sys/class/thermal/thermal_zone*/temp")
        if (value := host.number(path)) is not None and value > 0
    ]
    if zones:
        sample["hottest_c"] = max(zones)
    return sample


def _rapl(host: Host) -> Callable[[], Sample] | None:
    """Package power from Intel's energy counter, which only root may read on most systems."""
    path = "/sys/class/powercap/intel-rapl:0/energy_uj"
    if host.number(path) is None:
        return None
    last: list[tuple[float, int]] = []

    def read() -> Sample:
        now, energy = time.monotonic(), host.number(path)
        if energy is None:
            return {}
        before = last[0] if last else None
        last[:] = [(now, energy)]
        if before is None or energy < before[1] or now <= before[0]:  # the counter wrapped
            return {}
        return {"cpu_package_w": (energy - before[1]) / 1e6 / (now - before[0])}

    return read
