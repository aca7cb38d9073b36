"""How much memory there is, in folders of files that stand for machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from adcvsr.host.machine import Host
from adcvsr.host.memory import available_bytes, group_limit, memory_fields

MEMINFO = "MemTotal: 8000 kB\nMemAvailable: 5000 kB\nHugePages_Total: 0\n"


def machine(root: Path, files: dict[str, str]) -> Host:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return Host(root=root)


def test_what_the_machine_has(tmp_path: Path) -> None:
    host = machine(tmp_path, {"proc/meminfo": MEMINFO})
    assert memory_fields(host) == {"MemTotal": 8000 << 10, "MemAvailable": 5000 << 10}
    assert available_bytes(host) == 5000 << 10
    assert group_limit(host) is None
    assert available_bytes(Host(root=tmp_path / "nothing")) is None


@pytest.mark.parametrize("own", ["0::/job/step", "0::/../outside"])
def test_the_tightest_group_decides(tmp_path: Path, own: str) -> None:
    """Version 2: a limit above counts too, and pages of files make room."""
    groups = "sys/fs/cgroup"
    host = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": f"{own}\n",
            f"{groups}/memory.max": "3000",
            f"{groups}/memory.current": "1000",
            f"{groups}/memory.stat": "anon 10\ninactive_file 400\n",
            f"{groups}/job/memory.max": "max",
            f"{groups}/job/memory.current": "900",
            f"{groups}/job/step/memory.max": "2000",
            f"{groups}/job/step/memory.current": "900",
            f"{groups}/job/step/memory.stat": "inactive_file 0\n",
        },
    )
    assert available_bytes(host) == (1100 if "job" in own else 2400)
    assert group_limit(host) == (2000 if "job" in own else 3000)


def test_version_1(tmp_path: Path) -> None:
    folder = "sys/fs/cgroup/memory"
    host = machine(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            f"{folder}/memory.limit_in_bytes": "4000",
            f"{folder}/memory.usage_in_bytes": "4500",
        },
    )
    assert available_bytes(host) == 5000 << 10  # without its statistics a group tells nothing
    (tmp_path / folder / "memory.stat").write_text("inactive_file 700\n")
    assert available_bytes(host) == 200
    assert group_limit(host) == 4000
