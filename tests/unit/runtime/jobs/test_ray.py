"""Segments made by Ray: the same bits, workers that are killed, segments that cannot be made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adcvsr.cli.commands import cli
from adcvsr.errors import BackendUnavailableError, BatchError, MissingPackageError
from adcvsr.files import file_sha256
from adcvsr.runtime.jobs import ray_workers
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.ray_workers import _Run, _settle, run_on_ray
from adcvsr.runtime.jobs.settings import JobSettings
from video_facts import VideoMaker

CLUSTER_S = 120.0
"""How long a cluster may take to start."""

OPTIONS = ("--segment-seconds", "0.5", "--variant", "fp32")


@pytest.fixture
def film(make_video: VideoMaker) -> Path:
    return make_video(
        "film.mp4", size=(96, 64), pts=range(75), time_base=Fraction(1, 25), audio=True
    )


@pytest.fixture
def ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Ray, with a home of its own that it must leave alone."""
    found = pytest.importorskip("ray", reason="needs Ray: pip install adcvsr[ray]")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    folders: list[str] = []
    make = tempfile.mkdtemp

    def kept(**how: Any) -> str:
        folders.append(make(**how))
        return folders[-1]

    monkeypatch.setattr(ray_workers.tempfile, "mkdtemp", kept)
    yield found
    assert not (home / ".ray").exists()
    assert folders
    assert not any(Path(each).exists() for each in folders)


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


@pytest.mark.slow
def test_the_bits_of_one_process_though_a_worker_is_killed(
    ray: Any, tmp_path: Path, film: Path
) -> None:
    assert run("upscale", film, tmp_path / "one.mp4", *OPTIONS, "--resume").exit_code == 0
    killed: list[int] = []
    folder = tmp_path / "two.mp4.job"
    ended = threading.Event()
    killer = threading.Thread(target=_kill_a_worker, args=(folder, killed, ended))
    killer.start()
    words = ("--ray", "local", "--workers", 2)
    made = run("upscale", film, tmp_path / "two.mp4", *OPTIONS, *words)
    ended.set()
    killer.join()
    assert made.exit_code == 0, made.output
    assert killed
    assert killed[0] != os.getpid()
    assert file_sha256(tmp_path / "two.mp4") == file_sha256(tmp_path / "one.mp4")
    assert not folder.exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A cluster that was started by itself, of this machine: its address."""
    pytest.importorskip("ray", reason="needs Ray: pip install adcvsr[ray]")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)  # Ray sets it where it ran alone before
    for name, value in {**ray_workers.ENVIRONMENT, **ray_workers.ALONE}.items():
        monkeypatch.setenv(name, value)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # the paths of its sockets must be short
    words = ["start", "--head", "--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=2"]
    more = ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}", "--block"]
    code = "from ray.scripts.scripts import main; main()"
    log = tmp_path / "ray.log"
    with log.open("wb") as file:
        started = subprocess.Popen(
            [sys.executable, "-c", code, *words, *more], stdout=file, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + CLUSTER_S
        while "Ray runtime started" not in log.read_text():
            assert started.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield f"127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_a_cluster_by_its_address(cluster: str, tmp_path: Path, film: Path) -> None:
    """As `upscale` takes one, and as `job work` does for a job that was planned before."""
    words = ("upscale", film, tmp_path / "one.mp4", *OPTIONS, "--resume")
    assert run(*words).exit_code == 0
    made = command(
        "upscale", film, tmp_path / "ray.mp4", *OPTIONS, "--ray", cluster, "--threads", 1
    )
    assert made.returncode == 0, made.stderr
    job = tmp_path / "job"
    assert run("job", "plan", film, tmp_path / "work.mp4", job, *OPTIONS).exit_code == 0
    worked = command("job", "work", job, "--ray", cluster, "--json")
    assert worked.returncode == 0, worked.stderr
    assert json.loads(worked.stdout)["open"] == []
    assert run("job", "join", job).exit_code == 0
    hashes = {file_sha256(tmp_path / f"{name}.mp4") for name in ("one", "ray", "work")}
    assert len(hashes) == 1
    nobody = command("upscale", film, tmp_path / "x.mp4", *OPTIONS, "--ray", "127.0.0.1:1")
    assert nobody.returncode == 1
    assert "no Ray cluster at '127.0.0.1:1': [Errno 111] Connection refused" in nobody.stderr


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """As typed: Ray keeps of one cluster what it then believes of the next in the same process."""
    line = [sys.executable, "-m", "adcvsr", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def _kill_a_worker(folder: Path, killed: list[int], ended: threading.Event) -> None:
    while not killed and not ended.is_set():
        for lease in (folder / "leases").glob("0*.json"):
            try:
                pid = json.loads(lease.read_bytes())["pid"]
            except (OSError, ValueError):
                continue
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
            break
        time.sleep(0.01)


class RayError(Exception):
    """Of Ray."""


@pytest.fixture
def inline_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we use of Ray, in this process: the driver's logic without a cluster."""
    results: dict[int, Any] = {}

    def remote(function: Any) -> Any:
        def submit(*words: Any) -> int:
            results[len(results)] = function(*words)
            return len(results) - 1

        task = SimpleNamespace(remote=submit)
        task.options = lambda **options: task
        return task

    context = SimpleNamespace(get_node_id=lambda: "here")
    fake = SimpleNamespace(
        init=lambda **options: None,
        shutdown=lambda: None,
        nodes=lambda: [{"NodeID": "here", "Alive": True, "Resources": {"CPU": 2.0}}],
        remote=remote,
        wait=lambda waiting, num_returns, timeout: (waiting[:num_returns], waiting[num_returns:]),
        get=results.__getitem__,
        cancel=lambda reference, force: None,
        get_runtime_context=lambda: context,
        exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayError),
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr(ray_workers, "_kept", {})


@pytest.mark.parametrize(
    "kind", ["inline_ray", pytest.param("ray", marks=pytest.mark.slow)], ids=["inline", "ray"]
)
def test_a_folder_is_one_job_and_a_poisonous_segment_ends_with_its_reason(
    kind: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    film: Path,
    make_video: VideoMaker,
) -> None:
    request.getfixturevalue(kind)
    films = tmp_path / "films"
    films.mkdir()
    film.rename(films / "good.mp4")
    torn = make_video("torn.mp4", size=(96, 64), pts=range(75), time_base=Fraction(1, 25))
    torn.rename(films / "torn.mp4")
    data = bytearray((films / "torn.mp4").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(range(7, 71))
    (films / "torn.mp4").write_bytes(data)
    output, jobs = tmp_path / "out", tmp_path / "jobs"
    found = run("upscale", films, output, *OPTIONS, "--ray", "local", "--job", jobs, "--json")
    assert isinstance(found.exception, BatchError), found.output
    said = json.loads(found.stdout)
    assert [Path(each["output"]).name for each in said["files"]] == ["good.mp4"], said["failed"]
    (failed,) = said["failed"]
    assert "--scan frames" in failed["error"]
    job = Job(jobs / "torn.mp4.job")
    assert 0 < len(job.open_segments()) < len(job.plan.segments)
    assert not (output / "torn.mp4").exists()


def test_a_machine_that_may_not_work_leaves_its_segments_to_others() -> None:
    run = _Run([], {0: 2})
    machines = {"a", "b"}
    _settle(run, 0, 4, {"machine": "a", "refused": "other bits"}, machines)
    assert run.todo == [(0, 4)]
    assert run.left == {0: 2}
    _settle(run, 0, 4, {"machine": "b"}, machines)
    assert (run.left, run.failed) == ({0: 1}, {})
    _settle(run, 0, 5, {"machine": "b", "refused": "no input"}, machines)
    assert run.left == {0: 0}
    assert run.failed == {0: {5: "no input"}}


def test_without_ray_the_extra_is_named(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    settings = JobSettings(source=str(film), output=str(tmp_path / "o.mp4"), variant="fp32")
    job = Job.create(tmp_path / "job", make_plan(settings))
    with pytest.raises(MissingPackageError, match=r"adcvsr\[ray\]"):
        list(run_on_ray([job], "auto", note=lambda line: None))


def test_a_machine_too_busy_to_start_ray_is_told_in_words(
    inline_ray: None, tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray gives a node 30 s, whatever is asked, and raises a plain exception."""

    def late(**options: Any) -> None:
        raise Exception("The current node timed out during startup.\nFurther lines")

    monkeypatch.setattr(sys.modules["ray"], "init", late)
    settings = JobSettings(source=str(film), output=str(tmp_path / "o.mp4"), variant="fp32")
    job = Job.create(tmp_path / "job", make_plan(settings))
    with pytest.raises(
        BackendUnavailableError,
        match=r"did not start on this machine: The current node timed out during startup\.; where",
    ):
        list(run_on_ray([job], "local", note=lambda line: None))


def test_the_network_stays_loaded_for_the_segments_that_follow(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = JobSettings(
        source=str(film), output=str(tmp_path / "o.mp4"), variant="fp32", segment_seconds=1.0
    )
    first = Job.create(tmp_path / "one", make_plan(settings))
    second = Job.create(tmp_path / "two", first.plan)
    monkeypatch.setattr(ray_workers, "_kept", {})
    one = ray_workers._worker(str(first.folder), 1)
    assert ray_workers._worker(str(first.folder), 1) is one
    other = ray_workers._worker(str(second.folder), 1)
    assert other is not one
    assert list(ray_workers._kept) == [(str(second.folder), 1)]
    other.__exit__(None, None, None)
