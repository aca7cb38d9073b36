"""How many processors this process may really use: every thread count starts from here.

A container started with `--cpus=1` on a large machine sees all of its processors, and may use the
time of one. Threads beyond it only wait: the kernel stops them all when the period's time is gone.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class Processors:
    """The processors there are and what this process may take of them."""

    installed: int
    """Of the machine."""

    allowed: int
    """Those the process may run on (`taskset`, cpusets)."""

    quota: float | None
    """Processors' worth of time that control groups grant; None without a limit."""

    @property
    def usable(self) -> int:
        """Threads that can run at once; at least 1. A part of a processor counts as one."""
        if self.quota is None:
            return self.allowed
        return max(1, min(self.allowed, math.ceil(self.quota)))

    @property
    def note(self) -> str | None:
        """Why fewer are used than are installed; None where all are."""
        if self.usable >= self.installed:
            return None
        why = f"{self.allowed} of {self.installed} processors are allowed"
        if self.quota is not None and self.quota < self.allowed:
            why = f"a CPU quota of {self.quota:g} processors (cgroup) on {self.allowed}" + (
                f" of {self.installed}" if self.allowed < self.installed else ""
            )
        return f"{why}: {self.usable} thread{'s' if self.usable > 1 else ''}"


def usable_processors() -> int:
    """Threads that can run at once in this process; see `Processors.usable`."""
    return read_processors().usable


def thread_limit() -> int:
    """Threads for a library that counts processors itself: 0, its own choice, without a quota.

    FFmpeg, OpenMP and ONNX Runtime respect the processors allowed, and none of them a quota.
    """
    found = read_processors()
    return found.usable if found.usable < found.allowed else 0


def limit_libraries() -> None:
    """Tell OpenMP and BLAS libraries, which this process loads later, about a CPU quota.

    What the user set in the environment stays.
    """
    if limit := thread_limit():
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ.setdefault(name, str(limit))


def read_processors(root: Path = Path("/")) -> Processors:
    """Ask the system.

    Args:
        root: Where `proc` and `sys` lie.
    """
    installed = os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else installed
    return Processors(installed, allowed, _quota(root))


def _quota(root: Path) -> float | None:
    """The tightest limit of this process's control groups and of all above them."""
    limits = [_limit(folder) for folder in _folders(root)]
    return min((limit for limit in limits if limit is not None), default=None)


def _folders(root: Path) -> list[Path]:
    """Folders of the process's groups up to the top, those of version 2 and of version 1's `cpu`.

    In a container the mount often shows the own group at the top while `/proc/self/cgroup` has the
    host's path: what is not there is passed over.
    """
    found: list[Path] = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        if number == "0" and not names:
            # Beside version 1, version 2 is mounted in a folder of its own.
            tops = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif "cpu" in names.split(","):
            tops = [root / "sys/fs/cgroup/cpu", root / "sys/fs/cgroup" / names]
        else:
            continue
        path = PurePosixPath(group.lstrip("/"))
        if ".." in path.parts:  # seen from another namespace
            path = PurePosixPath()
        found += [top / each for top in tops for each in (path, *path.parents)]
    return found


def _limit(folder: Path) -> float | None:
    if (two := _read(folder / "cpu.max")) is not None:
        quota, _, period = two.partition(" ")
    else:
        quota = _read(folder / "cpu.cfs_quota_us") or ""
        period = _read(folder / "cpu.cfs_period_us") or ""
    try:
        granted, length = int(quota), int(period or 100_000)
    except ValueError:  # "max", or nothing there
        return None
    return granted / length if granted > 0 and length > 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None
