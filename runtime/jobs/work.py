"""Making segments: one by its number, or those that are open, one after another."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from ...bundle import Bundle
from ...errors import AdcVsrError, JobError, OutputNotWritableError
from ...graph.memory import memory_of
from ...host.processors import usable_processors
from ...pictures.yuv_picture import AnyPicture
from ..pipeline import Pipeline, PipelineResult
from ..processing.backends import create_processor, create_session
from ..processing.cut_reset import CutResetProcessor
from ..processing.hdr import for_transfer
from ..processing.processor import FrameProcessor
from ..sessions.session import Session, StreamSession
from ..yuv import ends_of, times_of
from .folder import Job, SegmentResult, sync_folder
from .identity import open_network, require_same_programs, require_source
from .plan import JobPlan
from .probe import compare_probe
from .segment_io import SegmentSink, SegmentSource

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


class _CountedCuts(CutResetProcessor):
    """Counts the cuts of a segment without those of its warm-up."""

    def __init__(self, inner: FrameProcessor) -> None:
        super().__init__(inner)
        self.passed = 0
        """Cuts within the warm-up."""
        self._warm = 0

    def begin(self, warm_up: int) -> None:
        """Begin a segment with so many frames of warm-up."""
        self.reset()
        self.passed, self._warm = 0, warm_up

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        before = self.cuts
        yield from super().push(frame)
        if self._warm:
            self._warm -= 1
            self.passed += self.cuts - before


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
        self._cuts = _CountedCuts(inner) if settings.cut_reset else None
        self._processor = for_transfer(self._cuts or inner, plan.video.colours.transfer)
        self._threads = threads or usable_processors()
        self._open = ExitStack()

    def __enter__(self) -> SegmentWorker:
        """Load the network and make the probe."""
        with ExitStack() as opened:
            opened.enter_context(self.session)
            self._memory.check(
                self._source,
                self.job.plan.video.width,
                self.job.plan.video.height,
                tile=self.job.plan.settings.tile,
                deep=self.session.deep,
            )
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

    def make(self, index: int, progress: Callable[[Progress], None] | None = None) -> SegmentResult:
        """Make a segment, whether it is there already or not, and store it.

        Raises:
            InputError, JobError: The source is damaged or changed.
            OutputNotWritableError: The disk is full; finished segments stay.
        """
        result = self.make_at(index, self.job.video_of(index), progress)
        sync_folder(self.job.video_of(index).parent)
        self.job.store(result)
        return result

    def make_at(
        self, index: int, path: Path, progress: Callable[[Progress], None] | None = None
    ) -> SegmentResult:
        """Make a segment as a file somewhere; the job does not come to know it."""
        plan, began = self.job.plan, time.monotonic()
        segment, run = plan.segments[index], PipelineResult()
        notes: list[str] = []
        reader = SegmentSource(self._source, plan, segment, plan.settings.read_options())

        def step(done: int) -> None:
            if progress is not None:
                progress(Progress(index, max(done - segment.warm_up, 0), segment.frames))

        processor = self._processor
        with reader, ExitStack() as outputs:
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
            processor.reset()
            if self._cuts is not None:
                self._cuts.begin(segment.warm_up)
            Pipeline(reader, processor, sink, run, step, scale=self.session.bundle.scale).run()
            facts = processor.facts()
            cuts = None if self._cuts is None else self._cuts.cuts - self._cuts.passed
            processor.reset()
            sink.finish()
        return SegmentResult(
            index=index,
            frames=segment.frames,
            size_bytes=sink.bytes,
            sha256=sink.sha256,
            pictures=f"{sink.pictures:08x}",
            reorder=sink.reorder,
            scene_cuts=cuts,
            seconds=round(time.monotonic() - began, 3),
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
        from ..sessions.ort_cpu import OrtCpuSession

        variant = bundle.variant(network.variant)
        return OrtCpuSession(bundle, variant, tile=tile, threads=threads, deep=True)
    session = create_session(
        bundle, backend=network.backend, variant=network.variant, tile=tile, threads=threads
    )
    if not network.yuv:
        return session
    assert isinstance(session, StreamSession)  # as it was where the job was planned
    video, size = plan.video, plan.encode_options().size
    assert size is not None
    sized = size.of(video.width, video.height, aspect=video.sample_aspect, rotation=video.rotation)
    times = times_of(video, (sized.width, sized.height))
    return session.of_yuv(ends_of(session, video.colours, times=times))


def work_on(
    worker: SegmentWorker,
    *,
    wait: bool,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> list[int]:
    """Make open segments until none is left.

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
    todo = worker.job.open_segments()
    while todo and not stop():
        before = len(made)
        for index in todo:
            if stop():
                return made
            try:
                if make_leased(worker, index, progress):
                    made.append(index)
            except OutputNotWritableError:
                raise
            except AdcVsrError as error:
                failed[index] = str(error)
        todo = [each for each in todo if each not in failed and not worker.job.is_done(each)]
        if todo and len(made) == before:
            if not wait:
                break
            time.sleep(WAIT_S)
    if failed:
        raise not_made(worker.job, failed)
    return made


def not_made(job: Job, reasons: dict[int, str]) -> JobError:
    """The error of segments that could not be made, each with its reason."""
    index, reason = min(reasons.items())
    return JobError(
        f"{len(reasons)} of {len(job.plan.segments)} segments of '{job.folder}' are not made: "
        f"segment {index}: {reason}; the others are kept, --resume goes on"
    )


def make_leased(
    worker: SegmentWorker, index: int, progress: Callable[[Progress], None] | None = None
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
        worker.make(index, tell)
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
