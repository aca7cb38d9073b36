"""The system below Python: kernel, C library, JetPack, container, memory, and Python's wheels."""

from __future__ import annotations

import os
import platform
import sys

from ...host.machine import Host
from ...host.memory import available_bytes, group_limit, memory_fields
from ...host.processors import read_processors
from .findings import Finding
from .fixes import JETSON_DOCS, JETSON_PYTHON

NEWEST = {
    "av": {(3, 10): "17.1", (3, 11): "18.1", (3, 12): "19.0"},
    "numpy": {(3, 10): "2.2.6", (3, 11): "2.4.6", (3, 12): "2.5"},
    "onnxruntime": {(3, 10): "1.23.2", (3, 11): "1.32", (3, 12): "1.32"},
}
"""Newest release with wheels by Python, x86-64 and aarch64 alike, as of 2026-11; later Pythons have
what 3.12 has."""

WHEEL_GLIBC = (2, 28)
"""Oldest glibc onnxruntime's wheels load on (manylinux_2_28); av and numpy ask for less."""

FEW_BYTES = 1 << 30
"""Below this much free memory a compile or a large frame is likely to be killed."""


def platform_findings(host: Host) -> list[Finding]:
    """Lines about the system and the board."""
    return [
        _system(host),
        *_libc(host),
        *_jetson(host),
        *_container(host),
        *_processors(host),
        *_memory(host),
    ]


def _system(host: Host) -> Finding:
    names = dict(
        line.split("=", 1)
        for line in (host.read("/etc/os-release") or "").splitlines()
        if "=" in line
    )
    name = names.get("PRETTY_NAME", host.system).strip('"')
    kernel = host.read("/proc/sys/kernel/osrelease") or platform.release()
    cores = os.cpu_count() or 1
    data = {"system": name, "kernel": kernel, "machine": host.machine, "processors": cores}
    text = f"{name}, kernel {kernel}, {host.machine}, {cores} processors"
    if host.model:
        text += f", {host.model}"
        data["model"] = host.model
    return Finding("platform", "system", "ok", text, data=data)


def _libc(host: Host) -> list[Finding]:
    """The C library decides which wheels load."""
    name, version = host.libc
    if host.system != "Linux":
        return []
    if name != "glibc":
        value = f"not glibc ({name or 'musl?'}): onnxruntime has no musllinux wheels"
        fix = "use a glibc system, such as Debian or Ubuntu"
        return [Finding("platform", "C library", "warning", value, fix)]
    numbers = tuple(int(part) for part in version.split(".")[:2])
    tag = f"manylinux_{numbers[0]}_{numbers[1]}_{host.machine}"
    data = {"glibc": version, "newest_wheel_tag": tag}
    if numbers < WHEEL_GLIBC:
        value = (
            f"glibc {version} is older than {'.'.join(map(str, WHEEL_GLIBC))}, which wheels need"
        )
        fix = "a newer system, or a container with one"
        return [Finding("platform", "C library", "warning", value, fix, data)]
    value = f"glibc {version}: wheels up to {tag}"
    return [Finding("platform", "C library", "ok", value, data=data)]


def _jetson(host: Host) -> list[Finding]:
    if not host.is_jetson:
        return []
    data = {"l4t": host.l4t, "jetpack": host.jetpack, "module": host.module}
    if host.l4t is None:
        value = "a Tegra board without Jetson Linux's files; inside a container that hides them"
        return [Finding("platform", "JetPack", "unknown", value, data=data)]
    value = f"JetPack {host.jetpack}, Jetson Linux {host.l4t}"
    value += f", module {host.module}" if host.module else ""
    if host.jetpack_major not in JETSON_PYTHON:
        fix = f"flash JetPack 6.2 or 7.2 ({JETSON_DOCS})"
        return [Finding("platform", "JetPack", "warning", f"{value}: not supported", fix, data)]
    found = [Finding("platform", "JetPack", "ok", value, data=data)]
    if "nvidia-jetpack" not in host.packages and host.container is None:
        value = "nvidia-jetpack is not installed: CUDA, cuDNN and TensorRT may be missing"
        fix = "sudo apt-get update && sudo apt-get install nvidia-jetpack"
        found.append(Finding("platform", "JetPack components", "warning", value, fix))
    return found


def _container(host: Host) -> list[Finding]:
    if host.container is None:
        return []
    value = f"inside {host.container}; limits and devices are the container's"
    return [Finding("platform", "container", "info", value, data={"container": host.container})]


def _processors(host: Host) -> list[Finding]:
    """Fewer processors than the machine has, and why."""
    found = read_processors(host.path("/"))
    if found.note is None:
        return []
    data = {"usable": found.usable, "allowed": found.allowed, "quota": found.quota}
    return [Finding("platform", "processors", "info", found.note, data=data)]


def _memory(host: Host) -> list[Finding]:
    values = memory_fields(host)
    if "MemTotal" not in values:
        return []
    total, free = values["MemTotal"], available_bytes(host) or 0
    limit = group_limit(host)
    if limit and limit < total:
        total, free = limit, min(free, limit)
    swap = values.get("SwapTotal", 0)
    zram = any("zram" in line for line in (host.read("/proc/swaps") or "").splitlines())
    text = f"{total / 1e9:.1f} GB, {free / 1e9:.1f} free, swap {swap / 1e9:.1f} GB"
    text += " (zram)" if zram else ""
    text += ", limited by the container" if limit and limit == total else ""
    data = {"total_bytes": total, "free_bytes": free, "swap_bytes": swap, "zram": zram}
    if free < FEW_BYTES:
        fix = "end other programs; a board with a desktop saves about 1 GB without it"
        if host.is_jetson:
            fix += ": sudo systemctl set-default multi-user.target"
        return [Finding("platform", "memory", "warning", text, fix, data)]
    return [Finding("platform", "memory", "ok", text, data=data)]


def python_findings(host: Host) -> list[Finding]:
    """Lines about Python and what it can install."""
    version = "{}.{}".format(*host.python)
    where = "virtual environment" if host.in_venv else "system Python"
    data = {"python": platform.python_version(), "executable": sys.executable, "venv": host.in_venv}
    found = [Finding("python", "Python", "ok", f"{version}, {where} {host.prefix}", data=data)]
    known = min(host.python, max(NEWEST["av"]))
    newest = {name: table[known] for name, table in NEWEST.items() if known in table}
    if newest:
        text = ", ".join(f"{name} {release}" for name, release in newest.items())
        value = f"newest wheels for Python {version}: {text}"
        found.append(Finding("python", "wheels", "info", value, data={"newest": newest}))
    return found
