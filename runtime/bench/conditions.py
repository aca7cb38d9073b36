"""Under what conditions something was measured, and whether they make the figures worthless.

watch = LoadWatch()
...
watch.others_share()  # of the processors, taken by other processes meanwhile
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from importlib import metadata
from typing import Any

from ...host.machine import Host
from ...host.memory import memory_fields
from ...host.processors import read_processors
from ...version import __version__
from ..doctor.power import power_findings

PACKAGES = (
    "numpy",
    "av",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-rtx",
    "cuda-python",
    "nvidia-ml-py",
)
"""Whose versions are recorded where they are installed."""

OTHERS_LIMIT = 0.10
"""Share of the processors other processes may take before wall times are worthless."""

SPREAD_LIMIT = 0.10
"""Widest interval of a ratio, over the ratio, that counts as settled."""


class LoadWatch:
    """How busy the machine is with other things, from its creation on.

    Args:
        host: The machine's files.
    """

    def __init__(self, host: Host | None = None) -> None:
        self.host = host or Host()
        self.load_before = _load()
        self._began = (time.monotonic(), _busy_seconds(self.host), _own_seconds())

    def others_share(self) -> float | None:
        """Share of all processors that other processes took so far, 0 to 1; None if not told.

        The time a hypervisor took away counts as theirs.
        """
        wall, busy, own = self._began
        now, total = time.monotonic(), _busy_seconds(self.host)
        if busy is None or total is None or now <= wall:
            return None
        processors = os.cpu_count() or 1
        others = (total - busy) - (_own_seconds() - own)
        return min(max(others / ((now - wall) * processors), 0.0), 1.0)


def read_conditions(host: Host | None = None) -> dict[str, Any]:
    """What does not change while measuring: machine, versions, governor, power mode."""
    host = host or Host()
    processors = read_processors()
    findings = power_findings(host, [])
    data = {finding.name: finding.data or {} for finding in findings}
    return {
        "adcvsr": __version__,
        "python": platform.python_version(),
        "packages": _versions(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": host.machine,
        "board": host.model,
        "jetpack": host.jetpack,
        "container": host.container,
        "processor": host.processor,
        "processors": os.cpu_count(),
        "processors_usable": processors.usable,
        "processor_quota": processors.quota,
        "memory_bytes": memory_fields(host).get("MemTotal"),
        "governors": data.get("CPU governor", {}).get("governors"),
        "power_mode": data.get("power mode", {}).get("mode"),
        "gpu_driver": host.read("/proc/driver/nvidia/version"),
        "power_warnings": [
            f"{f.name}: {f.value}" for f in findings if f.mark in ("warning", "missing")
        ],
    }


def warnings_for(
    conditions: dict[str, Any],
    *,
    others: float | None,
    throttling: list[str],
    frames: int,
    spreads: dict[str, float],
) -> list[dict[str, Any]]:
    """What speaks against the figures.

    Args:
        conditions: From `read_conditions`.
        others: Share of the processors that other processes took.
        throttling: Why clocks were cut while measuring.
        frames: Measured frames of a variant.
        spreads: By variant, the width of its ratio's interval over the ratio.

    Returns:
        Entries of `text` and `worthless`: whether wall times say nothing of this machine.
    """
    found: list[tuple[str, bool]] = []
    if others is None:
        found.append(("this system does not tell how busy other processes were", False))
    elif others > OTHERS_LIMIT:
        text = f"other processes took {others:.0%} of the processors (limit {OTHERS_LIMIT:.0%})"
        found.append((f"{text}: wall times are worthless here; CPU times and ratios hold", True))
    found += [(f"clocks were cut: {reason}", True) for reason in throttling]
    found += [(text, False) for text in conditions["power_warnings"]]
    if frames < 100:
        found.append((f"{frames} frames of each variant: p99 is close to the slowest frame", False))
    for name, spread in spreads.items():
        if spread > SPREAD_LIMIT:
            text = f"{name}: the ratio is known only within {spread:.0%}; raise --duration"
            found.append((text, False))
    return [{"text": text, "worthless": worthless} for text, worthless in found]


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _busy_seconds(host: Host) -> float | None:
    """Processor seconds in which any process ran, or another machine on the same processors."""
    fields = re.search(r"^cpu +(.+)$", host.read("/proc/stat") or "", re.MULTILINE)
    if fields is None or not hasattr(os, "sysconf"):
        return None
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, fields[1].split()[:8])
    return (user + nice + system + irq + soft + steal) / float(os.sysconf("SC_CLK_TCK"))


def _own_seconds() -> float:
    """Processor seconds of this process and of children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _load() -> list[float] | None:
    if sys.platform == "win32":
        return None
    return [round(value, 2) for value in os.getloadavg()]
