"""`adcvsr job` and `adcvsr upscale --resume`, as a user types them."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import av
import click
import pytest
from click.testing import CliRunner, Result

from adcvsr.cli.commands import cli, load_command
from adcvsr.errors import (
    BatchError,
    ClipNetworkError,
    ConfigError,
    JobError,
    OutOfResourcesError,
    OutputNotWritableError,
)
from adcvsr.files import file_sha256
from adcvsr.runtime.jobs import join, local_workers
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.local_workers import run_workers, share, warn_of_workers
from adcvsr.version import __version__
from video_facts import VideoMaker, video_facts


def run(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=True)


@pytest.fixture
def film(make_video: VideoMaker) -> Path:
    return make_video("film.mp4", pts=tuple(range(0, 26 * 512, 512)), audio=True)


def test_plan_work_status_join_verify(tmp_path: Path, film: Path) -> None:
    output, folder = tmp_path / "out.mkv", tmp_path / "job"
    words = (film, output, folder, "--segment-seconds", 0.5, "--variant", "fp32")
    planned = run("job", "plan", *words, "--json")
    assert planned.exit_code == 0, planned.output
    count = json.loads(planned.stdout)["segments"]
    assert count >= 2
    assert isinstance(run("job", "plan", *words).exception, JobError)
    made = run("job", "work", folder, "--index", 1, "--threads", 1, "--json")
    assert json.loads(made.stdout) == {
        "folder": str(folder),
        "made": [1],
        "open": [index for index in range(count) if index != 1],
    }
    assert json.loads(run("job", "work", folder, "--index", 1, "--json").stdout)["made"] == []
    assert "no segment 99" in str(run("job", "work", folder, "--index", 99).exception)
    assert "lacks" in str(run("job", "join", folder).exception)
    status = run("job", "status", folder)
    assert "open" in status.stdout
    assert "done" in status.stdout
    assert run("job", "work", folder, "--threads", 1).exit_code == 0
    assert json.loads(run("job", "status", folder, "--json").stdout)["counts"]["done"] == count
    joined = run("job", "join", folder, "--json")
    assert json.loads(joined.stdout)["frames"] == len(video_facts(output).times) == 26
    certificate = json.loads((folder / "certificate.json").read_text())
    assert certificate["output"]["sha256"] == file_sha256(output)
    assert certificate["plan_sha256"] == Job(folder).plan.sha256
    verified = run("job", "verify", folder, "--sample", 1, "--threads", 1)
    assert verified.exit_code == 0, verified.output
    assert "equal" in verified.stdout
    job = Job(folder)
    facts = json.loads(job.facts_of(0).read_text())
    job.facts_of(0).write_text(json.dumps({**facts, "pictures": "00000000"}))
    assert isinstance(run("job", "verify", folder, "--sample", 9).exception, JobError)


def test_resume_keeps_nothing_but_the_output(tmp_path: Path, film: Path) -> None:
    output = tmp_path / "out.mp4"
    words = ("upscale", film, output, "--segment-seconds", 0.5, "--variant", "fp32")
    done = run(*words, "--resume", "--threads", 1)
    assert done.exit_code == 0, done.output
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.mp4", "out.mp4"]
    first = file_sha256(output)
    output.unlink()
    kept = run(*words, "--job", tmp_path / "job", "--threads", 1)
    assert kept.exit_code == 0, kept.output
    assert (tmp_path / "job" / "certificate.json").is_file()
    assert file_sha256(output) == first
    assert isinstance(run(*words, "--job", tmp_path / "job").exception, JobError)
    other = run(*words, "--job", tmp_path / "job", "--resume", "--crf", 30)
    assert "crf is the default, not 30" in str(other.exception)
    assert run(*words, "--resume", "--compare", tmp_path / "c.mp4").exit_code == 2
    assert run(*words).exit_code == 2  # --segment-seconds without segments


def test_a_folder_of_files_in_segments(tmp_path: Path, film: Path) -> None:
    films, output = tmp_path / "films", tmp_path / "out"
    films.mkdir()
    film.rename(films / "good.mp4")
    (films / "bad.mp4").write_bytes(b"no video at all")
    words = ("upscale", films, output, "--segment-seconds", 0.5, "--variant", "fp32")
    found = run(*words, "--job", tmp_path / "jobs", "--threads", 1, "--json")
    assert isinstance(found.exception, BatchError), found.output
    said = json.loads(found.stdout)
    assert [Path(each["input"]).name for each in said["failed"]] == ["bad.mp4"]
    assert (output / "good.mp4").is_file()
    assert [each.name for each in (tmp_path / "jobs").iterdir()] == ["good.mp4.job"]
    (films / "bad.mp4").unlink()
    first = file_sha256(output / "good.mp4")
    (output / "good.mp4").unlink()
    again = run(*words, "--job", tmp_path / "jobs", "--resume")
    assert again.exit_code == 0, again.output
    assert "segments are there" in again.stderr
    assert file_sha256(output / "good.mp4") == first
    watched = run("job", "status", tmp_path / "jobs" / "good.mp4.job", "--watch")
    assert json.loads(watched.stdout)["segments_done"] == json.loads(watched.stdout)["segments"]


def test_what_a_job_does_not_do_is_refused(tmp_path: Path, film: Path, clip_bundle: Path) -> None:
    def refused(name: str, *options: object) -> BaseException | None:
        output = name if ":" in name else tmp_path / name
        return run("job", "plan", film, output, tmp_path / "job", *options).exception

    not_causal = refused("out.mp4", "--model", clip_bundle)
    assert isinstance(not_causal, ClipNetworkError)
    assert "not causal" in str(not_causal)
    for name, options, reason in (
        ("out.avi", (), "a job writes"),
        ("out.mp4", ("--encoder", "libvpx-vp9"), "libx264 or libx265"),
        ("out.mp4", ("--colour-match", "ema"), "averages over all"),
        ("out.mp4", ("--segment-seconds", 0.1), "expected 0.5 to 3600"),
    ):
        error = refused(name, *options)
        assert isinstance(error, ConfigError)
        assert reason in str(error)
    stored = refused("s3://bucket/out.mp4")
    assert "copy it into the store" in str(stored)
    assert not (tmp_path / "job").exists()


def test_workers_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_workers, "usable_processors", lambda: 8)
    assert [share(count) for count in (1, 2, 3, 8, 20)] == [8, 4, 2, 1, 1]
    assert warn_of_workers(8, 0) is None
    assert "wait for each other" in (warn_of_workers(9, 0) or "")
    assert "each of 2 gets 4" in (warn_of_workers(2, 6) or "")


def test_a_place_that_holds_no_job_is_refused_before_anything_is_read(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planning reads all of the input: an hour's film would be read for nothing."""
    note, lost = tmp_path / "note.txt", tmp_path / "lost"
    note.write_text("mine")
    lost.symlink_to(tmp_path / "nowhere")
    film.write_bytes(b"no video: whoever reads it says so")

    def refused(folder: Path) -> set[str]:
        out = tmp_path / "out.mp4"
        errors = {run("job", "plan", film, out, folder).exception}
        errors.add(run("upscale", film, out, "--job", folder).exception)
        errors.add(run("upscale", film, out, "--job", folder, "--resume").exception)
        assert {type(each) for each in errors} <= {JobError, OutputNotWritableError}
        return {str(each) for each in errors}

    for folder, named in ((note, note), (note / "job", note), (lost, lost)):
        assert refused(folder) == {
            f"'{named}' is no folder; a job is made in one: choose another name"
        }
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and access(path, mode))
    (message,) = refused(tmp_path / "deep" / "job")
    assert message.startswith(f"'{tmp_path}' is not writable: the job '{tmp_path}/deep/job' needs")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["film.mp4", "lost", "note.txt"]
    assert note.read_text() == "mine"


def test_names_have_whatever_characters_they_like(tmp_path: Path, film: Path) -> None:
    """A recording of a Mac has a narrow space in its name, which is not printable to Python."""
    odd = film.rename(tmp_path / "Recording at 9.41\u202fAM\nwith 'quotes'.mp4")
    words = ("upscale", odd, tmp_path / "its\u202foutput\n.mp4", "--job", tmp_path / "a job\n")
    options = ("--variant", "fp32", "--segment-seconds", 0.5)
    assert run(*words, *options).exit_code == 0
    (tmp_path / "its\u202foutput\n.mp4").unlink()
    again = run(*words, *options, "--resume")
    assert again.exit_code == 0, again.output
    assert run("job", "status", tmp_path / "a job\n").output.endswith("2 done, joined\n")


def test_a_disk_that_is_full_when_planned_keeps_no_half_a_job(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    error = run("job", "plan", film, tmp_path / "out.mp4", tmp_path / "job").exception
    assert isinstance(error, OutputNotWritableError)
    assert "No space left" in str(error)
    assert [each.name for each in tmp_path.iterdir()] == ["film.mp4"]


def test_a_folder_that_cannot_be_locked_is_an_error_in_words(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mount that is read-only, or one without locks."""
    assert run("job", "plan", film, tmp_path / "out.mp4", tmp_path / "job").exit_code == 0
    for cause in (OSError(errno.EROFS, "Read-only file system"), NotImplementedError("no flock")):

        def acquire(lock: Any, cause: Exception = cause) -> None:
            raise cause

        monkeypatch.setattr(join.FileLock, "acquire", acquire)
        error = run("job", "join", tmp_path / "job").exception
        assert isinstance(error, OutputNotWritableError)
        assert re.search(r"cannot lock '.*join.lock': (Read-only|no flock)", str(error))


def test_workers_end_where_a_further_one_does_not_start(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_folder, started = tmp_path / "job", []
    words = ("job", "plan", film, tmp_path / "out.mp4", job_folder, "--segment-seconds", 0.5)
    assert run(*words).exit_code == 0
    start = subprocess.Popen

    def few(*command: Any, **options: Any) -> Any:
        if started:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        started.append(start(["sleep", "60"]))
        return started[0]

    monkeypatch.setattr(local_workers.subprocess, "Popen", few)
    job = Job(job_folder)
    with pytest.raises(OutOfResourcesError, match="worker 1 of .* cannot be started: Resource"):
        run_workers(job, 2)
    assert started[0].poll() is not None
    assert not list(job_folder.glob("*.log"))
    opened = Path.open
    monkeypatch.setattr(Path, "open", _read_only(opened))
    with pytest.raises(OutputNotWritableError, match=r"worker-.*\.log': Read-only file system"):
        run_workers(job, 2)


def _read_only(opened: Any) -> Any:
    def read(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if "w" in mode:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, mode, *more, **named)

    return read


def test_slurm_goes_on_and_takes_any_name(tmp_path: Path) -> None:
    """With a Slurm that notes down its lines, and a shell that reads them."""
    folder, log = tmp_path / "a film's job", tmp_path / "log"
    for name, does in {
        "adcvsr": f'printf "<%s>" "$@" >> "{log}"; echo >> "{log}"',
        "sbatch": 'while [[ $1 != --wrap ]]; do shift; done; bash -c "$2"; echo 7',
    }.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{does}\n")
        (tmp_path / name).chmod(0o755)
    script = Path(__file__).parents[3] / "packaging" / "cluster" / "slurm.sh"
    command = ["bash", str(script), "in.mkv", "out.mkv", str(folder), "3", "--model", "nano"]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    made = [f"<job><work><{folder}><--threads><4><--quiet>", f"<job><join><{folder}>"]
    planned = f"<job><plan><in.mkv><out.mkv><{folder}><--model><nano>"
    assert log.read_text().splitlines() == [planned, *made]
    folder.mkdir()
    (folder / "plan.json").touch()
    again = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert "holds a job: its plan says what is made" in again.stderr
    assert log.read_text().splitlines() == [planned, *made, *made]


def test_manifests_name_this_version() -> None:
    folder = Path(__file__).parents[3] / "packaging" / "cluster"
    named = {
        version
        for path in folder.iterdir()
        for version in re.findall(r"adcvsr:(\d[\w.]*)", path.read_text())
    }
    assert named == {__version__}


def test_manifests_use_options_that_there_are() -> None:
    form = re.compile(r"adcvsr[\" ,]+(?:(job)[\" ,]+(\w+)|(upscale))(?=[\" ])([^\n]*)")
    seen = set()
    for path in (Path(__file__).parents[3] / "packaging" / "cluster").iterdir():
        for group, part, plain, rest in form.findall(path.read_text()):
            command = load_command(plain or group)
            if isinstance(command, click.Group):
                command = command.commands[part]
            known = {option for each in command.params for option in each.opts}
            used = set(re.findall(r"--[a-z-]+", rest))
            assert used <= known, path
            seen |= {(path.name, option) for option in used}
    assert {
        ("slurm.sh", "--threads"),
        ("indexed-job.yaml", "--index"),
        ("kuberay.yaml", "--ray"),
    } <= seen


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(tmp_path: Path, film: Path) -> None:
    words = ("upscale", film, "--segment-seconds", 0.5, "--variant", "fp32")
    for name, options in (("one.mp4", ("--resume",)), ("two.mp4", ("--workers", 2))):
        done = run(*words[:2], tmp_path / name, *words[2:], *options)
        assert done.exit_code == 0, done.output
    assert file_sha256(tmp_path / "one.mp4") == file_sha256(tmp_path / "two.mp4")
    assert not list(tmp_path.glob("*.job"))


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_one_segment_is_coded_as_without_a_job(
    tmp_path: Path, make_video: VideoMaker, encoder: str
) -> None:
    film = make_video(size=(32, 96))  # so high that the encoder may cut it into slices
    plain, output = tmp_path / "plain.mp4", tmp_path / "out.mp4"
    words = ("--encoder", encoder, "--variant", "fp32", "-q")
    assert run("upscale", film, plain, *words).exit_code == 0
    assert run("upscale", film, output, *words, "--resume").exit_code == 0
    # The same slices, threads and options: a job costs what `upscale` does, and is as good.
    assert coded_video(output) == coded_video(plain)


def test_a_resumed_job_keeps_the_model_that_auto_was(tmp_path: Path, film: Path) -> None:
    output, folder = tmp_path / "out.mp4", tmp_path / "job"
    words = (film, output, "--variant", "fp32", "--job", folder, "--resume")
    planned = run("job", "plan", film, output, folder, "--variant", "fp32", "--model", "nano")
    assert planned.exit_code == 0, planned.output
    other = run("upscale", *words, "--model", "nano-camera")
    assert isinstance(other.exception, JobError)
    gone_on = run("upscale", *words, "--model", "auto")
    assert gone_on.exit_code == 0, gone_on.output
    assert "was planned with the model nano, which goes on" in gone_on.stderr
    assert Job(folder).plan.settings.model == "nano"


def coded_video(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]
