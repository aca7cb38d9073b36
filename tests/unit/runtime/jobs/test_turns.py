"""Segments overlap: a network does not wait while the segment before is encoded and stored."""

from __future__ import annotations

import errno
import gc
import itertools
import threading
from pathlib import Path
from typing import Any

import pytest

from adcvsr.errors import OutputNotWritableError
from adcvsr.runtime.jobs import segment_io
from adcvsr.runtime.jobs.folder import Job
from adcvsr.runtime.jobs.planning import make_plan
from adcvsr.runtime.jobs.segment_io import SegmentSink, SegmentSource
from adcvsr.runtime.jobs.settings import JobSettings
from adcvsr.runtime.jobs.turns import TurnProcessor
from adcvsr.runtime.jobs.work import SegmentWorker, work_on
from video_facts import VideoMaker

TICK = 512


@pytest.fixture
def job(make_video: VideoMaker, tmp_path: Path) -> Job:
    """Of four segments of half a second."""
    film = make_video("film.mp4", pts=tuple(range(0, 48 * TICK, TICK)))
    settings = JobSettings(
        source=str(film), output=str(tmp_path / "out.mp4"), variant="fp32", segment_seconds=0.5
    )
    return Job.create(tmp_path / "job", make_plan(settings))


class Watched:
    """How many segments have the network, and how many are under way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: dict[int, threading.Event] = {}
        self._turns = itertools.count()
        self.under_way = self.most = self.most_at_network = 0
        self._has, self._lock = 0, threading.Lock()
        take, reset, make = TurnProcessor._take, TurnProcessor.reset, SegmentWorker.make_at

        def took(processor: Any) -> None:
            before = processor._ours
            take(processor)
            if not before:
                with self._lock:
                    self._has += 1
                    self.most_at_network = max(self.most_at_network, self._has)
                    self.event(next(self._turns)).set()

        def gave(processor: Any) -> None:
            with self._lock:
                self._has -= processor._ours
            reset(processor)

        def made(worker: SegmentWorker, *words: Any) -> Any:
            with self._lock:
                self.under_way += 1
                self.most = max(self.most, self.under_way)
            try:
                return make(worker, *words)
            finally:
                with self._lock:
                    self.under_way -= 1

        monkeypatch.setattr(TurnProcessor, "_take", took)
        monkeypatch.setattr(TurnProcessor, "reset", gave)
        monkeypatch.setattr(SegmentWorker, "make_at", made)

    def event(self, index: int) -> threading.Event:
        """Set when a segment has the network."""
        return self.begun.setdefault(index, threading.Event())


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def assert_nothing_is_left(job: Job) -> None:
    assert not names(job.folder / "leases")
    assert not [name for name in names(job.folder / "segments") if name.startswith(".")]
    assert not [each for each in threading.enumerate() if each.name.startswith("adcvsr-segment")]


def test_the_network_goes_on_while_a_segment_is_stored(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    check, waited = SegmentSink._check_written, []

    def late(sink: SegmentSink) -> None:
        """Of a disk that takes as long as the next segment's first frames."""
        after = sink.segment.index + 1
        if after < len(job.plan.segments):
            until = watched.begun.setdefault(after, threading.Event())
            waited.append(until.wait(20))
            assert not job.is_done(sink.segment.index)
        check(sink)

    monkeypatch.setattr(SegmentSink, "_check_written", late)
    with SegmentWorker(job, threads=1) as worker:
        assert work_on(worker, wait=False) == list(range(len(job.plan.segments)))
    assert waited == [True] * (len(job.plan.segments) - 1)
    assert (watched.most, watched.most_at_network) == (2, 1)
    assert_nothing_is_left(job)


def test_where_memory_is_short_a_segment_waits_for_the_one_before(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    monkeypatch.setattr(SegmentWorker, "has_room", lambda worker: False)
    with SegmentWorker(job, threads=1) as worker:
        assert len(work_on(worker, wait=False)) == len(job.plan.segments)
    assert watched.most == 1


def test_a_disk_that_is_full_at_a_segments_end_stops_the_next_one(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(monkeypatch)
    check = SegmentSink._check_written

    def full(sink: SegmentSink) -> None:
        if sink.segment.index == 1:
            watched.event(2).wait(60)
            raise OSError(errno.ENOSPC, "No space left on device")
        check(sink)

    with SegmentWorker(job, threads=1) as worker:
        with monkeypatch.context() as patch:
            patch.setattr(SegmentSink, "_check_written", full)
            with pytest.raises(OutputNotWritableError, match="00001.mp4.*No space left"):
                work_on(worker, wait=False)
        assert not job.is_done(1)
        assert_nothing_is_left(job)
        again = work_on(worker, wait=False)
    assert {0, *again} == set(range(len(job.plan.segments)))


def test_an_interrupt_stops_both_segments(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, asked = Watched(monkeypatch), []

    def interrupt() -> bool:
        asked.append(watched.under_way)
        if len(asked) == 4:  # the first segment is read, the second not begun yet
            raise KeyboardInterrupt
        return False

    with SegmentWorker(job, threads=1) as worker:
        with pytest.raises(KeyboardInterrupt):
            work_on(worker, wait=False, stop=interrupt)
        assert_nothing_is_left(job)
        left = job.open_segments()
        assert left
        assert work_on(worker, wait=False) == left
    assert not job.open_segments()


def test_frames_that_segments_leave_are_freed_once_they_are_many(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, looks = job.plan, []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(1))

    def open_one() -> None:
        source, read = Path(plan.settings.source), plan.settings.read_options()
        SegmentSource(source, plan, plan.segments[0], read).__exit__(None, None, None)

    monkeypatch.setattr(segment_io._Left, "bytes", 0)
    open_one()
    assert not looks
    one = segment_io._Left.bytes
    monkeypatch.setattr(segment_io, "MOST_LEFT_BYTES", 2 * one)
    for _ in range(3):
        open_one()
    assert len(looks) == 2
