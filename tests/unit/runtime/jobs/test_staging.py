"""Inputs in a store are fetched once a machine, and are what was planned."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adcvsr.errors import (
    AdcVsrError,
    ConfigError,
    InputNotFoundError,
    JobError,
    OutputNotWritableError,
)
from adcvsr.files import file_sha256
from adcvsr.runtime.jobs import staging
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.join import join
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.staging import is_stored, stage
from adcvsr.runtime.jobs.work import SegmentWorker, work_on
from video_facts import VideoMaker

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install adcvsr[stores]")

ADDRESS = "memory://films/film.mp4"


@pytest.fixture
def film(tmp_path: Path, make_video: VideoMaker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """In the store, and beside; with a cache of the test's own."""
    monkeypatch.setenv("ADCVSR_CACHE", str(tmp_path / "cache"))
    path = make_video("film.mp4", size=(32, 32), pts=range(0, 20 * 512, 512), audio=True)
    put(path.read_bytes())
    yield path
    fsspec.filesystem("memory").rm("/films", recursive=True)


def put(data: bytes) -> None:
    with fsspec.open(ADDRESS, "wb") as file:
        file.write(data)


def test_a_film_in_a_store_gives_the_bits_of_a_file(tmp_path: Path, film: Path) -> None:
    hashes = []
    for name, source in (("file", str(film)), ("store", ADDRESS)):
        settings = JobSettings(
            source=source,
            output=str(tmp_path / f"{name}.mp4"),
            variant="fp32",
            segment_seconds=0.5,
        )
        job = Job.create(tmp_path / f"{name}.job", make_plan(settings))
        with SegmentWorker(job, threads=1) as worker:
            work_on(worker, wait=False)
        join(job)
        hashes.append(file_sha256(tmp_path / f"{name}.mp4"))
    assert hashes[0] == hashes[1]
    put(b"another film")  # the copy is the plan's
    with SegmentWorker(job, threads=1):
        pass
    for copy in (tmp_path / "cache" / "staged").glob("*.mp4"):
        copy.unlink()
    with pytest.raises(JobError, match="was changed after the job was planned"):
        SegmentWorker(job)
    assert not list((tmp_path / "cache" / "staged").glob("*.mp4"))


def test_a_full_disk_is_not_taken_for_a_store_that_cannot_be_read(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (film.stat().st_size - 1, before[1]))
    try:
        with pytest.raises(OutputNotWritableError, match="cannot keep a copy of .*too large"):
            stage(ADDRESS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "cache" / "staged").glob("*.mp4"))

    def torn(self: object, count: int) -> bytes:
        raise ConnectionResetError("the store hung up")

    monkeypatch.setattr(type(fsspec.open(ADDRESS, "rb").open()), "read", torn)
    with pytest.raises(InputNotFoundError, match="cannot read .*hung up"):
        stage(ADDRESS)


def test_many_workers_of_a_machine_fetch_it_once(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, fetched = file_sha256(film), []
    fetch = staging._fetch

    def counted(*words: Any) -> Any:
        fetched.append(words)
        return fetch(*words)

    monkeypatch.setattr(staging, "_fetch", counted)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(stage(ADDRESS, wanted)[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 1
    assert set(found) == {found[0]}
    assert found[0].read_bytes() == film.read_bytes()


@pytest.mark.parametrize(
    ("address", "kind", "said"),
    [
        ("memory://films/none.mp4", InputNotFoundError, "cannot read"),
        ("nonsense://films/film.mp4", ConfigError, "nonsense"),
        ("s3://me:hunter2@bucket/film.mp4", ConfigError, "password"),
    ],
)
def test_what_cannot_be_fetched_is_said(
    film: Path, address: str, kind: type[AdcVsrError], said: str
) -> None:
    assert is_stored(address)
    with pytest.raises(kind, match=said) as error:
        stage(address)
    assert "hunter2" not in str(error.value)
