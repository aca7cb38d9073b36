"""The machine: files below a root, Python, what kind of board it is, and its processor.

Everything that is read from files goes through `Host.read`, so that a folder of files can stand for
any board.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

JETPACK_OF_L4T = {
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5.0": "6.2.2",
    "36.5.2": "6.2.3",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
}
"""JetPack of a Jetson Linux release: https://developer.nvidia.com/embedded/jetpack-archive."""

_L4T = re.compile(r"R(\d+)\s*\(release\),\s*REVISION:\s*([\d.]+)")
_READ_LIMIT_BYTES = 64 << 20  # /var/lib/dpkg/status is the largest file read, a few megabytes


@dataclass(frozen=True)
class Host:
    """The machine: by default this one.

    Args: give other values to look at a copy of another machine's files.
    """

    root: Path = Path("/")
    """Folder that holds /proc, /sys, /etc, /usr and /var."""

    machine: str = field(default_factory=platform.machine)
    """Processor architecture: `x86_64`, `aarch64`."""

    system: str = field(default_factory=platform.system)
    """`Linux`, `Darwin` or `Windows`."""

    python: tuple[int, int] = sys.version_info[:2]
    """Version of the Python adcvsr runs in."""

    libc: tuple[str, str] = field(default_factory=platform.libc_ver)
    """Name and version of the C library; empty where it is not glibc."""

    prefix: Path = Path(sys.prefix)
    """Where this Python's packages live."""

    in_venv: bool = sys.prefix != sys.base_prefix
    """Whether that is a virtual environment."""

    def path(self, path: str) -> Path:
        """Return an absolute path of the machine as a path below the root."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """Return a file's text without trailing blanks and NULs; None where it cannot be read."""
        try:
            with self.path(path).open("rb") as file:
                return file.read(_READ_LIMIT_BYTES).decode(errors="replace").strip(" \t\r\n\0")
        except OSError:  # missing, no permission, or a sensor that answers EAGAIN
            return None

    def number(self, path: str) -> int | None:
        """Return the whole number a file holds, or None."""
        text = self.read(path)
        return int(text) if text and re.fullmatch(r"-?\d+", text) else None

    def glob(self, pattern: str) -> list[str]:
        """Return the machine's paths that match a pattern, sorted."""
        try:
            found = sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []
        return [f"/{each.relative_to(self.root)}" for each in found]

    @cached_property
    def packages(self) -> dict[str, str]:
        """Version of every installed Debian package, from dpkg's own file."""
        found = {}
        for entry in (self.read("/var/lib/dpkg/status") or "").split("\n\n"):
            head = re.search(r"^Package: (\S+)", entry, re.MULTILINE)
            version = re.search(r"^Version: (\S+)", entry, re.MULTILINE)
            if head and version and re.search(r"^Status: \S+ ok installed", entry, re.MULTILINE):
                found[head[1]] = version[1]
        return found

    @cached_property
    def model(self) -> str | None:
        """Model of the board, from the device tree or the firmware."""
        for path in ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"):
            if text := self.read(path):
                return text
        return self.read("/sys/devices/virtual/dmi/id/product_name")

    @cached_property
    def module(self) -> str | None:
        """Part number of a Jetson's module, such as `p3767-0005`."""
        text = self.read("/proc/device-tree/compatible") or ""
        found = re.search(r"\+?(p3767-\d{4}|p3701-\d{4}|p3834-\d{4})", text)
        return found[1] if found else None

    @cached_property
    def l4t(self) -> str | None:
        """Jetson Linux release such as `36.4.3`; None where this is no Jetson."""
        if found := _L4T.search(self.read("/etc/nv_tegra_release") or ""):
            parts = [found[1], *found[2].split(".")]
            return ".".join([*parts, "0", "0"][:3])
        core = self.packages.get("nvidia-l4t-core", "")
        return core.split("-")[0] or None

    @cached_property
    def jetpack(self) -> str | None:
        """JetPack release; with a question mark where only the major version is certain."""
        if package := self.packages.get("nvidia-jetpack"):
            return package.split("+")[0].split("-")[0]
        if self.l4t is None:
            return None
        major = {"35": "5?", "36": "6?", "38": "7.0?", "39": "7.2?"}.get(self.l4t.split(".")[0])
        return JETPACK_OF_L4T.get(self.l4t, major or "?")

    @property
    def is_jetson(self) -> bool:
        """Whether this is a Jetson, on the board or in a container on one."""
        return self.l4t is not None or "tegra" in (self.read("/proc/device-tree/compatible") or "")

    @property
    def jetpack_major(self) -> int | None:
        """6 or 7 on a Jetson."""
        return int(self.jetpack[0]) if self.jetpack and self.jetpack[0].isdigit() else None

    @cached_property
    def processor(self) -> str | None:
        """Name of the processor, as the system has it; None where it does not tell."""
        text = self.read("/proc/cpuinfo") or ""
        found = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
        return found[1].strip() if found else platform.processor() or None

    @cached_property
    def processor_flags(self) -> frozenset[str] | None:
        """What an x86 processor can do, such as `avx512_vnni`; None where it is not told."""
        text = self.read("/proc/cpuinfo")
        if text is None:
            return None
        found = re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE)
        return frozenset(found[1].split()) if found else frozenset()

    @property
    def container(self) -> str | None:
        """Kind of container this runs in, or None."""
        for path, kind in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
            if self.path(path).exists():
                return kind
        # systemd-nspawn and podman name themselves in this variable, written small.
        return os.environ.get("container") if self.root == Path("/") else None  # noqa: SIM112


@cache
def this_host() -> Host:
    """This machine; what does not change on it is read once."""
    return Host()
