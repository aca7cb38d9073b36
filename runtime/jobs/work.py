"""Making segments: one by its number, or those that are open, one after another."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from ...bundle import Bundle
from ...errors import AdcVsrError, JobError, OutputNotWritableError, UnsupportedVideoError
from ...graph.memory import memory_of
from ...host.processors import usable_processors
from ..deep import deep_session
from ..pipeline import Pipeline, PipelineResult
from ..processing.backends import create_processor, create_session
from ..processing.cut_reset import CutResetProcessor
from ..processing.hdr import for_transfer
from ..sessions.session import Session
from ..yuv import times_of, yuv_session
from .folder import Job, SegmentResult, sync_folder
from .identity import open_network, require_same_programs, require_source
from .plan import JobPlan
from .probe import compare_probe
from .segment_io import SegmentSink, SegmentSource
from .turns import Hold, TurnProcessor, Turns

WAIT_S = 1.0
"""Between looks at segments that others make."""


@dataclass(frozen=True)
class Progress:
    """Of one worker."""

    segment: int
    frames: int
    """Of the segment, done."""
    of: int
    """Of the segment, in all."""


class SegmentWorker:
    """A loaded network that makes a job's segments. Use it as a context manager.

    Args:
        job: Opened.
        threads: Of the network on a CPU; 0 for all processors. Bits do not depend on them.

    Raises:
        JobError: The source was changed, or this machine would make other bits than the plan's.
        AdcVsrError: The network cannot run here.
    """

    def __init__(self, job: Job, *, threads: int = 0) -> None:
        self.job = job
        self.differs = 0
        """Levels by which this worker's pictures differ from the first worker's."""
        plan = job.plan
        settings = plan.settings
        bundle = open_network(settings)
        require_same_programs(plan, bundle)
        self._source = require_source(plan)
        self._options = plan.encode_options()
        self.session = _session(plan, bundle, threads)
        self._memory = memory_of(self.session.bundle, self.session.variant.id)
        inner = create_processor(
            self.session,
            colour_match="none" if plan.network.deep or plan.network.yuv else settings.colour_match,
        )
        self._cuts = CutResetProcessor(inner) if settings.cut_reset else None
        self._processor = for_transfer(self._cuts or inner, plan.video.colours.transfer)
        self._turn = threading.Lock()
        self._threads = threads or usable_processors()
        self._open = ExitStack()

    def __enter__(self) -> SegmentWorker:
        """Load the network and make the probe."""
        with ExitStack() as opened:
            opened.enter_context(self.session)
            self._check_memory()
            self.differs = compare_probe(self.job, self._source, self._processor)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the network."""
        self._open.close()

    def has_room(self) -> bool:
        """Whether this machine has memory for a segment beside what is under way."""
        try:
            self._check_memory()
        except UnsupportedVideoError:
            return False
        return True

    def _check_memory(self) -> None:
        video, settings = self.job.plan.video, self.job.plan.settings
        self._memory.check(
            self._source, video.width, video.height, tile=settings.tile, deep=self.session.deep
        )

    def make(
        self,
        index: int,
        progress: Callable[[Progress], None] | None = None,
        hold: Hold | None = None,
    ) -> SegmentResult:
        """Make a segment, whether it is there already or not, and store it.

        Args:
            index: Its number.
            progress: Called after every frame, in another thread.
            hold: Stops it from another thread.

        Raises:
            InputError, JobError: The source is damaged or changed.
            OutputNotWritableError: The disk is full; finished segments stay.
            StoppedError: It was stopped.
        """
        result = self.make_at(index, self.job.video_of(index), progress, hold)
        sync_folder(self.job.video_of(index).parent)
        self.job.store(result)
        return result

    def make_at(
        self,
        index: int,
        path: Path,
        progress: Callable[[Progress], None] | None = None,
        hold: Hold | None = None,
    ) -> SegmentResult:
        """Make a segment as a file somewhere; the job does not come to know it."""
        plan = self.job.plan
        segment, run, hold = plan.segments[index], PipelineResult(), hold or Hold()
        notes = [self._memory.note] if self._memory.note else []
        reader = SegmentSource(self._source, plan, segment, plan.settings.read_options())
        reader.when_read = hold.read.set

        def step(done: int) -> None:
            if progress is not None:
                own = min(max(done - segment.warm_up, 0), segment.frames)
                progress(Progress(index, own, segment.frames))

        processor = TurnProcessor(self._processor, self._cuts, self._turn, segment, hold)
        with reader, ExitStack() as outputs:
            outputs.callback(processor.reset)
            sink = outputs.enter_context(SegmentSink(path, reader, self._options, notes.append))
            if plan.network.yuv:
                sink.expect_yuv()
            reader.keep(deep=self.session.deep, alpha=sink.planes.alpha, yuv=plan.network.yuv)
            sink.open_encoder()
            reader.check_size = partial(
                self._memory.check,
                self._source,
                tile=plan.settings.tile,
                output=(sink.width, sink.height),
                deep=self.session.deep,
            )
            reader.check_size(plan.video.width, plan.video.height)
            hold.run(Pipeline(reader, processor, sink, run, step, scale=self.session.bundle.scale))
            sink.finish()
        facts = processor.facts()
        return SegmentResult(
            index=index,
            frames=segment.frames,
            size_bytes=sink.bytes,
            sha256=sink.sha256,
            pictures=f"{sink.pictures:08x}",
            reorder=sink.reorder,
            scene_cuts=processor.scene_cuts,
            seconds=round(processor.held, 3),
            stages={name: round(times.wall, 3) for name, times in run.stages.items()},
            facts={name: facts.get(name) for name in ("windows", "tiles", "colour_match")},
            notes=tuple(dict.fromkeys([*reader.notes, *notes])),
            worker=self._who(),
        )

    def _who(self) -> dict[str, str]:
        return {
            "host": platform.node(),
            "process": str(os.getpid()),
            "machine": platform.machine(),
            "backend": self.session.backend,
            "threads": str(self._threads),
            "differs_by": str(self.differs),
            **self.job.plan.versions,
        }


def _session(plan: JobPlan, bundle: Bundle, threads: int) -> Session:
    network, tile = plan.network, plan.settings.tile
    if network.deep:
        return deep_session(bundle, network.variant, tile=tile, threads=threads)
    session = create_session(
        bundle, backend=network.backend, variant=network.variant, tile=tile, threads=threads
    )
    if not network.yuv:
        return session
    video, size = plan.video, plan.encode_options().size
    assert size is not None
    sized = size.of(video.width, video.height, aspect=video.sample_aspect, rotation=video.rotation)
    times = times_of(video, (sized.width, sized.height))
    return yuv_session(session, video.colours, times=times)


def work_on(
    worker: SegmentWorker,
    *,
    wait: bool,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[int]:
    """Make open segments until none is left, each beginning while the one before is encoded.

    Args:
        worker: Opened.
        wait: Whether those that others make are waited for, and made here where they die.
        progress: Called after every frame, in another thread.
        stop: Asked before each segment whether to end.

    Returns:
        The segments made here.

    Raises:
        OutputNotWritableError: The disk is full or gone; finished segments stay.
        JobError: Some cannot be made, with the reason; all others are.
    """
    made: list[int] = []
    failed: dict[int, str] = {}

    def settle(index: int, error: BaseException | None) -> None:
        if isinstance(error, AdcVsrError) and not isinstance(error, OutputNotWritableError):
            failed[index] = str(error)
        elif error is not None:
            raise error

    def make(index: int, hold: Hold) -> None:
        if make_leased(worker, index, progress, hold):
            made.append(index)

    todo = worker.job.open_segments()
    with Turns(settle) as turns:
        while todo and not stop():
            before = len(made)
            for index in todo:
                turns.ready()
                if not worker.has_room():
                    turns.ready(alone=True)
                if stop():
                    break
                turns.start(index, partial(make, index))
            turns.ready(alone=True)
            todo = [each for each in todo if each not in failed and not worker.job.is_done(each)]
            if todo and len(made) == before:
                if not wait:
                    break
                time.sleep(WAIT_S)
    if failed:
        raise not_made(worker.job, failed)
    return sorted(made)


def not_made(job: Job, reasons: dict[int, str]) -> JobError:
    """The error of segments that could not be made, each with its reason."""
    index, reason = min(reasons.items())
    return JobError(
        f"{len(reasons)} of {len(job.plan.segments)} segments of '{job.folder}' are not made: "
        f"segment {index}: {reason}; the others are kept, --resume goes on"
    )


def make_leased(
    worker: SegmentWorker,
    index: int,
    progress: Callable[[Progress], None] | None = None,
    hold: Hold | None = None,
) -> bool:
    """Make a segment under its lease, unless it is finished or somebody else makes it."""
    job = worker.job
    if job.is_done(index):
        return False
    lease = job.lease(index)

    def tell(one: Progress) -> None:
        lease.frames = one.frames
        if progress is not None:
            progress(one)

    try:
        if not lease.take():
            return False
    except OSError as error:
        job.require_there()
        raise OutputNotWritableError(
            f"cannot write '{lease.path}': {error.strerror}; finished segments stay"
        ) from error
    with lease:
        if job.is_done(index):
            return False
        worker.make(index, tell, hold)
    return True


def make_one(
    worker: SegmentWorker, index: int, progress: Callable[[Progress], None] | None = None
) -> bool:
    """Make one segment, and wait while somebody else does.

    Returns:
        Whether it was made here; it is finished in any case.

    Raises:
        JobError: There is no such segment.
        AdcVsrError: It cannot be made.
    """
    check_index(worker.job, index)
    while not worker.job.is_done(index):
        if make_leased(worker, index, progress):
            return True
        if not worker.job.is_done(index):
            time.sleep(WAIT_S)
    return False


def check_index(job: Job, index: int) -> None:
    """Refuse the number of a segment that there is not.

    Raises:
        JobError: With those there are.
    """
    count = len(job.plan.segments)
    if not 0 <= index < count:
        raise JobError(f"no segment {index}: '{job.folder}' has 0 to {count - 1}")
