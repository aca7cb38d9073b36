from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adcvsr.host import processors
from adcvsr.host.processors import Processors, read_processors, usable_processors


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


V2 = {"proc/self/cgroup": "0::/"}
V1 = {"proc/self/cgroup": "5:cpu,cpuacct:/docker/ab\n4:memory:/docker/ab\n1:name=systemd:/x"}
NESTED = {"proc/self/cgroup": "0::/system.slice/adcvsr.service"}


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({**V2, "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({**V2, "sys/fs/cgroup/cpu.max": "100000 100000"}, 1.0),  # docker run --cpus=1
        ({**V2, "sys/fs/cgroup/cpu.max": "150000"}, 1.5),
        (
            {
                **NESTED,
                "sys/fs/cgroup/system.slice/adcvsr.service/cpu.max": "max 100000",
                "sys/fs/cgroup/system.slice/cpu.max": "250000 50000",
            },
            5.0,
        ),
        # The process's path is the host's, the mount shows its own group at the top.
        ({**NESTED, "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        ({"proc/self/cgroup": "0::/../other", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/docker/ab/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                **V1,
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({**V2, "sys/fs/cgroup/cpu.max": "nonsense 0"}, None),
    ],
)
def test_quota_of_control_groups(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert read_processors(machine(tmp_path, files)).quota == quota


@pytest.mark.parametrize(
    ("found", "usable", "said"),
    [
        (Processors(16, 16, None), 16, None),
        (Processors(16, 16, 1.0), 1, "CPU quota of 1 processors (cgroup) on 16: 1 thread"),
        (Processors(16, 16, 0.25), 1, "quota of 0.25"),
        (Processors(16, 16, 2.5), 3, "quota of 2.5"),
        (Processors(16, 4, 8.0), 4, "4 of 16 processors are allowed: 4 threads"),
        (Processors(16, 4, 2.0), 2, "quota of 2 processors (cgroup) on 4 of 16: 2 threads"),
        (Processors(2, 2, 8.0), 2, None),
    ],
)
def test_usable_processors_and_their_reason(
    found: Processors, usable: int, said: str | None
) -> None:
    assert found.usable == usable
    assert (found.note is None) if said is None else (said in (found.note or ""))


def test_affinity_is_respected() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]);"
        "from adcvsr.host.processors import usable_processors; print(usable_processors())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_one_quota_is_read_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's session takes its threads from it."""
    import adcvsr

    monkeypatch.setattr(processors, "read_processors", lambda: Processors(16, 16, 3.0))
    assert usable_processors() == 3
    with adcvsr.Upscaler("nano") as upscaler:
        assert upscaler.session.threads == 3
