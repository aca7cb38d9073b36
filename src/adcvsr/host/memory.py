"""How much memory there is: of the machine, and within the control groups this process is in.

available_bytes()  # what this process may still take
"""

from __future__ import annotations

from .machine import Host, this_host

GROUPS = "/sys/fs/cgroup"

FIRST_VERSION = f"{GROUPS}/memory"
"""Of control groups, inside a container."""


def memory_fields(host: Host) -> dict[str, int]:
    """The sizes in `/proc/meminfo`, in bytes: `MemTotal`, `MemAvailable`, `SwapTotal`, ..."""
    fields = {}
    for line in (host.read("/proc/meminfo") or "").splitlines():
        key, _, rest = line.partition(":")
        if rest.strip().endswith("kB"):
            fields[key] = int(rest.split()[0]) * 1024
    return fields


def group_limit(host: Host) -> int | None:
    """Least memory limit of the control groups this process is in, bytes; None without one."""
    paths = [f"{group}/memory.max" for group in _groups(host)]
    limits = [host.number(path) for path in (*paths, f"{FIRST_VERSION}/memory.limit_in_bytes")]
    return min((each for each in limits if each is not None), default=None)


def available_bytes(host: Host | None = None) -> int | None:
    """Memory this process may still take: of the machine, and within its control groups.

    Args:
        host: None for this machine.

    Returns:
        Bytes; None where neither is told.
    """
    host = host or this_host()
    known = (memory_fields(host).get("MemAvailable"), _left_in_groups(host))
    return min((each for each in known if each is not None), default=None)


def _left_in_groups(host: Host) -> int | None:
    """What the limits of control groups leave (version 2, or 1 inside a container)."""
    left = [_left_in(host, group, "memory.max", "memory.current") for group in _groups(host)]
    left.append(_left_in(host, FIRST_VERSION, "memory.limit_in_bytes", "memory.usage_in_bytes"))
    return min((each for each in left if each is not None), default=None)


def _groups(host: Host) -> list[str]:
    """Folders of the control groups (version 2) this process is in, the topmost first."""
    own = (host.read("/proc/self/cgroup") or "").rpartition("0::")[2].strip()
    parts = [part for part in own.split("/") if part not in ("", "..")]
    return ["/".join([GROUPS, *parts[:count]]) for count in range(len(parts) + 1)]


def _left_in(host: Host, group: str, limit: str, used: str) -> int | None:
    """Limit less use; cached file pages do not count, they make room."""
    most, now = host.number(f"{group}/{limit}"), host.number(f"{group}/{used}")
    text = host.read(f"{group}/memory.stat")
    if most is None or now is None or text is None:  # no such group, or "max": no limit
        return None
    facts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    return max(most - now + int(facts.get("inactive_file", 0)), 0)
