"""How far a job is, as its folder tells."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from adcvsr.cli._job_display import clock, print_lines, table, watch_job
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.lease import Lease
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.watch import JobWatch
from adcvsr.runtime.jobs.work import SegmentWorker, make_leased, work_on
from video_facts import VideoMaker


@pytest.fixture
def job(tmp_path: Path, make_video: VideoMaker) -> Job:
    film = make_video("film.mp4", size=(32, 32), pts=range(0, 40 * 512, 512))
    settings = JobSettings(
        source=str(film), output=str(tmp_path / "out.mp4"), variant="fp32", segment_seconds=0.5
    )
    return Job.create(tmp_path / "job", make_plan(settings))


def test_frames_of_all_workers_are_counted(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    watch = JobWatch(job, clock=lambda: now[0])
    first = watch.look()
    assert (first.frames_done, first.fps, first.left_seconds, first.making) == (0, None, None, ())
    count = first.segments
    with SegmentWorker(job, threads=1) as worker:
        assert make_leased(worker, 0)
        done = job.plan.segments[0].frames
        lease = Job(job.folder).lease(1)
        lease.frames = 5
        assert lease.take()
        now[0] = 4.0
        found = watch.look()
        assert (found.segments_done, found.segments) == (1, count)
        assert found.frames_done == done + 5
        assert found.fps == pytest.approx((done + 5) / 4)
        assert found.left_seconds == pytest.approx((found.frames - done - 5) / found.fps, abs=0.1)
        (making,) = found.making
        assert (making.index, making.done, making.frames) == (1, 5, job.plan.segments[1].frames)
        lease.path.unlink()
        job.video_of(0).unlink()
        job.facts_of(0).unlink()
        assert watch.look().segments_done == 0
        work_on(worker, wait=False)
    watch_job(job, every_s=0.01, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["frames_done"] == json.loads(line)["frames"] == 40


def test_the_lease_tells_the_frames_of_its_segment(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases: list[Lease] = []
    lease_of = Job.lease

    def kept(self: Job, index: int) -> Lease:
        leases.append(lease_of(self, index))
        return leases[-1]

    monkeypatch.setattr(Job, "lease", kept)
    with SegmentWorker(job, threads=1) as worker:
        assert make_leased(worker, 1)
    assert leases[0].frames == job.plan.segments[1].frames


def test_the_table_shows_what_is_made_and_nothing_that_steers_a_terminal(job: Job) -> None:
    from rich.console import Console

    lease = job.lease(0)
    lease.frames = 7
    assert lease.take()
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table([("evil\x1b[2J.mp4", JobWatch(job).look())]))
    text = console.export_text()
    assert "\x1b" not in text
    assert "0/40 frames" not in text
    assert "7/40 frames" in text
    assert f"7/{job.plan.segments[0].frames}" in text
    assert "time left: not known yet" in text
    lines: list[str] = []
    print_lines([("a", JobWatch(job).look())], lines.append)
    assert json.loads(lines[0])["making"][0]["index"] == 0
    assert clock(3725) == "1:02:05"
