"""Leases: one owner at a time, free when it dies, on no clock but the watcher's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adcvsr.runtime.jobs import lease as leases
from adcvsr.runtime.jobs.lease import Lease, LeaseWatch


def taken_by(path: Path, process: str, beat: int = 0) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"process": process, "host": "far", "pid": 1, "beat": beat}))


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "leases" / "0.json"
    first = Lease(path, LeaseWatch())
    assert first.take()
    assert not Lease(path, LeaseWatch()).take()
    with first:
        owner = Lease(path, LeaseWatch()).owner()
        assert owner is not None
        assert owner["pid"] == os.getpid()
    assert Lease(path, LeaseWatch()).owner() is None
    assert Lease(path, LeaseWatch()).take()


def test_that_of_a_dead_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    code = f"""
from pathlib import Path
from adcvsr.runtime.jobs.lease import Lease, LeaseWatch
assert Lease(Path({str(path)!r}), LeaseWatch()).take()
import os
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert path.exists()
    assert Lease(path, LeaseWatch()).owner() is None
    assert Lease(path, LeaseWatch()).take()


def test_that_of_another_machine_is_free_when_it_stops_beating(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, watch = tmp_path / "0.json", LeaseWatch()
    now = [1000.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    for beat in range(5):
        taken_by(path, "ffffffff-00000000-1-1", beat)
        assert not Lease(path, watch).take()
        now[0] += leases.STALE_S - 1
    assert not Lease(path, watch).take()
    # The wall clock jumps by a year: nothing of it is read.
    monkeypatch.setattr(leases.time, "time", lambda: time.time() + 3e7, raising=False)
    os.utime(path, (1, 1))
    assert not Lease(path, watch).take()
    now[0] += 2
    assert Lease(path, watch).take()


def test_an_owner_that_was_passed_over_leaves_the_other_one_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    path = tmp_path / "0.json"
    slow = Lease(path, LeaseWatch())
    assert slow.take()
    with slow:
        taken_by(path, "ffffffff-00000000-1-1")
        time.sleep(0.1)
    assert json.loads(path.read_text())["host"] == "far"


def test_a_lease_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    lease = Lease(tmp_path / "0.json", LeaseWatch())
    assert lease.take()
    with lease:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if json.loads(lease.path.read_text())["beat"] > 1:
                break
            time.sleep(0.01)
        else:
            pytest.fail("it never changed")


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b'{"process": 3}'])
def test_a_damaged_lease_counts_as_one_that_does_not_change(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0.json"
    path.write_bytes(content)
    assert not Lease(path, LeaseWatch()).take()
