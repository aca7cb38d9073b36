"""Power mode, clocks and heat: the same board is three times slower in its lowest mode.

Read from nvpmodel's own files and from /sys, without root; from NVML for a card.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ...host.machine import Host
from .findings import Finding
from .fixes import JETSON_DOCS

HOT_C, NEAR_TRIP_C = 85, 5
"""A zone without a limit of its own counts as hot from here; with one, this close to it."""


@dataclass(frozen=True)
class PowerMode:
    """One mode of nvpmodel.conf."""

    number: int
    """What `nvpmodel -m` takes."""

    name: str
    """Such as MAXN_SUPER."""

    gpu_mhz: float | None
    """Limit of the GPU's clock; None for no limit."""

    memory_mhz: float | None
    """Limit of the memory's clock; None for no limit."""

    clusters: int | None
    """GPU clusters (TPCs) of eight that are on, as Orin's files say; None elsewhere."""

    cores: int
    """Processors that are on."""


def power_findings(host: Host, gpus: list[dict[str, Any]]) -> list[Finding]:
    """Lines about modes, clocks and temperatures."""
    found = [*_nvpmodel(host), *_jetson_clocks(host), *_governor(host), *_heat(host)]
    for index, gpu in enumerate(gpus):
        found += _card(index, gpu)
    return found


def read_power_modes(host: Host) -> list[PowerMode]:
    """The modes of /etc/nvpmodel.conf, in its order."""
    text = host.read("/etc/nvpmodel.conf") or ""
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    parts = re.split(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", text)[1:]
    modes = []
    for number, name, rest in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        body = rest.split("<")[0]
        cores = len(re.findall(r"^CPU_ONLINE\s+\S+\s+1\s*$", body, re.MULTILINE))
        mask = re.search(r"^TPC_POWER_GATING\s+TPC_PG_MASK\s+(\d+)\s*$", body, re.MULTILINE)
        clusters = 8 - bin(int(mask[1]) & 0xFF).count("1") if mask else None
        gpu, memory = _limit(body, "GPU"), _limit(body, "EMC")
        modes.append(PowerMode(int(number), name, gpu, memory, clusters, cores))
    return modes


def _limit(body: str, unit: str) -> float | None:
    """Limit in MHz of a clock; the file writes -1 for none."""
    found = re.search(rf"^{unit}\s+MAX_FREQ\s+(-?\d+)\s*$", body, re.MULTILINE)
    value = int(found[1]) if found else -1
    return value / 1e6 if value > 0 else None


def _nvpmodel(host: Host) -> list[Finding]:
    modes = read_power_modes(host)
    if not modes:
        return []
    status = re.search(r"pmode:(\d+)", host.read("/var/lib/nvpmodel/status") or "")
    default = re.search(r"<\s*PM_CONFIG\s+DEFAULT=(\d+)", host.read("/etc/nvpmodel.conf") or "")
    chosen = status or default
    number = int(chosen[1]) if chosen else -1
    mode = next((each for each in modes if each.number == number), None)
    best = max(modes, key=_rank)
    data = {"mode": mode.name if mode else None, "modes": [each.name for each in modes]}
    if mode is None:
        value = f"mode {number} is not in /etc/nvpmodel.conf" if chosen else "not stated"
        return [Finding("power", "power mode", "unknown", value, "sudo nvpmodel -q", data)]
    return [_mode_finding(mode, best, data), *_super_modes(host, modes)]


def _super_modes(host: Host, modes: list[PowerMode]) -> list[Finding]:
    """Orin Nano and NX have them from JetPack 6.2 on, flashed with the '-super' configuration."""
    if not (host.module or "").startswith("p3767") or any("SUPER" in m.name for m in modes):
        return []
    value = "not there: the GPU stays below 60 to 80 % of what the module can do"
    fix = f"flash the board's '-super' configuration, JetPack 6.2 or later ({JETSON_DOCS})"
    return [Finding("power", "Super modes", "warning", value, fix)]


def _mode_finding(mode: PowerMode, best: PowerMode, data: dict[str, Any]) -> Finding:
    value = _mode_text(mode)
    if _rank(mode) >= _rank(best):
        return Finding("power", "power mode", "ok", value, data=data)
    value += f"; {_mode_text(best)} is the fastest"
    fix = f"sudo nvpmodel -m {best.number} (more power and heat; some changes need a reboot)"
    return Finding("power", "power mode", "warning", value, fix, data)


def _rank(mode: PowerMode) -> tuple[float, float, int]:
    """What makes a mode fast: clusters times clock, the memory, processors; no limit beats any."""
    unlimited = float("inf")
    gpu = (mode.gpu_mhz or unlimited) * (mode.clusters or 1)
    return (gpu, mode.memory_mhz or unlimited, mode.cores)


def _mode_text(mode: PowerMode) -> str:
    parts = [f"GPU {mode.gpu_mhz:.0f} MHz" if mode.gpu_mhz else "no limit on the GPU"]
    parts += [f"memory {mode.memory_mhz:.0f} MHz"] if mode.memory_mhz else []
    parts += [f"{mode.cores} cores"] if mode.cores else []
    return f"{mode.name} ({', '.join(parts)})"


def _jetson_clocks(host: Host) -> list[Finding]:
    """Whether the GPU's clock is held at its maximum, as jetson_clocks does."""
    for pattern in ("/sys/class/devfreq/gpu-gpc-0", "/sys/class/devfreq/*.gpu"):
        for folder in host.glob(pattern):
            low, high = (host.number(f"{folder}/{end}_freq") for end in ("min", "max"))
            if low and high:
                return [_clock_finding(low, high, host.number(f"{folder}/cur_freq"))]
    return []


def _clock_finding(low: int, high: int, now: int | None) -> Finding:
    data = {"min_mhz": low / 1e6, "max_mhz": high / 1e6, "mhz": now / 1e6 if now else None}
    if low == high:
        return Finding("power", "GPU clock", "ok", f"held at {high / 1e6:.0f} MHz", data=data)
    value = f"{low / 1e6:.0f} to {high / 1e6:.0f} MHz, as load asks; the first frames come late"
    return Finding(
        "power", "GPU clock", "info", value, "for steady times: sudo jetson_clocks", data
    )


def _governor(host: Host) -> list[Finding]:
    governors = {
        text
        for path in host.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
        if (text := host.read(path))
    }
    if not governors:
        return []
    value, data = ", ".join(sorted(governors)), {"governors": sorted(governors)}
    driver = host.read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver") or ""
    # intel_pstate's and amd_pstate's 'powersave' scales with load like others' 'schedutil'.
    if "powersave" in governors and "pstate" not in driver:
        fix = "sudo cpupower frequency-set -g schedutil"
        value += "; the processors stay at their lowest clock"
        return [Finding("power", "CPU governor", "warning", value, fix, data)]
    return [Finding("power", "CPU governor", "info", value, data=data)]


def _heat(host: Host) -> list[Finding]:
    """The hottest zone, and whether one is at the point where clocks are cut."""
    zones = []
    for folder in host.glob("/sys/class/thermal/thermal_zone*"):
        value = host.number(f"{folder}/temp")
        if value is not None and value > 0:
            zones.append((value / 1000, host.read(f"{folder}/type") or "", _trip(host, folder)))
    if not zones:
        return []
    celsius, name, _ = max(zones)
    data = {"celsius": {zone: value for value, zone, _ in zones}}
    hot = [z for z in zones if z[0] >= ((z[2] - NEAR_TRIP_C) if z[2] else HOT_C)]
    if not hot:
        return [Finding("power", "temperature", "ok", f"{celsius:.0f} C ({name})", data=data)]
    celsius, name, trip = max(hot)
    at = f", clocks are cut at {trip:.0f}" if trip else ""
    fix = "better cooling, or a lower power mode"
    return [Finding("power", "temperature", "warning", f"{celsius:.0f} C ({name}{at})", fix, data)]


def _trip(host: Host, folder: str) -> float | None:
    """The temperature at which a zone starts to cut clocks."""
    limits = [
        value / 1000
        for path in host.glob(f"{folder}/trip_point_*_type")
        if host.read(path) == "passive"
        and (value := host.number(path.removesuffix("_type") + "_temp"))
    ]
    return min(limits, default=None)


def _card(index: int, gpu: dict[str, Any]) -> list[Finding]:
    """State of a card by NVML."""
    if "power_limit_w" not in gpu and "clock_mhz" not in gpu:
        return []
    parts = []
    if "clock_mhz" in gpu:
        parts.append(f"{gpu['clock_mhz']} of {gpu.get('max_clock_mhz', '?')} MHz")
    if "power_limit_w" in gpu:
        used = f"{gpu['power_w']:.0f} of " if "power_w" in gpu else "limit "
        parts.append(f"{used}{gpu['power_limit_w']:.0f} W")
    if "celsius" in gpu:
        parts.append(f"{gpu['celsius']} C")
    names = ("clock_mhz", "power_w", "power_limit_w", "celsius")
    data: dict[str, Any] = {key: gpu[key] for key in names if key in gpu}
    if slowed := gpu.get("throttling"):
        value = f"{', '.join(parts)}; slowed: {', '.join(slowed)}"
        fix = "cooling, power supply, or nvidia-smi -pl for a higher limit"
        return [Finding("power", f"GPU {index} state", "warning", value, fix, data)]
    return [Finding("power", f"GPU {index} state", "ok", ", ".join(parts), data=data)]
