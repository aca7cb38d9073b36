"""One video file through a loaded network: what reads, writes and compares is opened and closed.

network = FileNetwork(session, clips, matched="none")
report = FileRun(network, source, output, options).run(StageThreads())
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ConfigError
from ..graph.memory import memory_of
from ..host.processors import read_processors
from ..pictures.hdr import is_hdr
from .deep import is_deep, open_deep
from .nvidia.gpu import looks_like_gpu
from .pipeline import Pipeline, PipelineResult
from .processing.backends import create_processor
from .processing.cut_reset import CutResetProcessor
from .processing.hdr import for_transfer
from .processing.processor import FrameProcessor
from .sessions.session import Session
from .sessions.stream_session import StreamSession
from .threads.stage_threads import StageThreads
from .trace import Trace
from .upscale_report import UpscaleReport, make_report
from .video.compare import CompareSink
from .video.encoders import EncodeOptions
from .video.hdr import SDR_ADVICE
from .video.output_file import check_output
from .video.read_options import ReadOptions
from .video.sink import FileSink
from .video.sink_plain import PlainSink, is_plain, open_plain
from .video.source import FileSource
from .yuv import open_yuv, times_of


@dataclass(frozen=True)
class FileNetwork:
    """A loaded network, and how it was loaded."""

    session: Session
    """Of 8-bit RGB; opened."""
    clips: FrameProcessor
    """What frames go through on their way to it and from it."""
    matched: str
    """How colours are matched to the input."""
    asked_variant: bool = False
    """Whether its variant was asked for."""
    tile: int | None = None
    """See `Session`."""
    threads: int = 0
    """Of a CPU backend; 0 for all processors."""
    trace: Trace | None = None
    """Collects what ran when."""


@dataclass(frozen=True)
class FileRun:
    """A file, and what is to become of it."""

    network: FileNetwork
    source: Path
    output: Path
    options: EncodeOptions
    read: ReadOptions = field(default_factory=ReadOptions)
    compare: Path | None = None
    """A further output, bicubic and the network side by side."""
    cut_reset: bool = True
    """Whether a causal network starts anew at scene cuts."""
    pixels: str = "auto"
    """See `Upscaler.upscale_file`."""
    progress: Callable[[int, int], None] | None = None
    """See `Upscaler.upscale_file`."""

    def run(self, threads: StageThreads) -> UpscaleReport:
        """Upscale it; see `Upscaler.upscale_file` for the errors.

        Args:
            threads: Of the network.
        """
        if self.compare is not None and self.compare.absolute() == self.output.absolute():
            raise ConfigError(f"'{self.output}' cannot be the output and the comparison at once")
        result = PipelineResult()
        result.stages["infer"].threads = threads.restarted()
        for name, times in result.stages.items():
            if self.network.trace is not None:
                times.watch = partial(self.network.trace.span, name, name)
        with result.stages["decode"].threads.claim():
            reader = FileSource(self.source, self.read)
        with reader, ExitStack() as outputs:
            return self._run(reader, outputs, result)

    def _run(self, reader: FileSource, outputs: ExitStack, result: PipelineResult) -> UpscaleReport:
        check_output(self.output, self.options, self.source)
        transfer = reader.info.colours.transfer
        if self.compare is not None and is_hdr(transfer):
            raise ConfigError(f"'{self.compare}' would show HDR in 8 bits; {SDR_ADVICE}")
        notes: list[str] = []
        infer, encode = (result.stages[name].threads for name in ("infer", "encode"))
        with infer.claim():
            session, why_shallow = self._open_deep(reader, outputs, notes.append)
        sink = self._open_sink(reader, why_shallow, notes.append)
        outputs.enter_context(sink)
        with infer.claim():
            session, why_rgb = self._open_yuv(session, reader, sink, outputs)
        reader.keep(deep=session.deep, alpha=sink.planes.alpha, yuv=session.yuv is not None)
        beside = None
        with encode.claim():
            sink.open_encoder()
            if self.compare is not None:
                beside = CompareSink(self.compare, reader, self.options, notes.append)
                outputs.enter_context(beside)
        self._limit(reader, session, sink)
        self._warm_up(reader.info.width, reader.info.height)
        self.network.clips.reset()
        processor = for_transfer(self._processor_of(session), transfer)
        try:
            step, scale = self._step_of(reader), session.scale
            Pipeline(reader, processor, sink, result, step, scale=scale, compare=beside).run()
        finally:
            self.network.clips.reset()
        sink.finish()
        if beside is not None:
            beside.finish()
        notes = [*reader.notes, *notes, *backend_notes(self.network.session), *processor.notes()]
        return make_report(session, reader, sink, result, processor, notes, why_rgb=why_rgb)

    def _open_deep(
        self, reader: FileSource, opened: ExitStack, note: Callable[[str], None]
    ) -> tuple[Session, str]:
        """The session for the file's bits, and why it is of 8 where more would come."""
        network = self.network
        if not is_deep(self.output, reader.info, self.options):
            return network.session, ""
        return open_deep(
            network.session,
            opened,
            matched=network.matched,
            asked=network.asked_variant,
            tile=network.tile,
            threads=network.threads,
            note=note,
            trace=network.trace,
            hdr=is_hdr(reader.info.colours.transfer),
        )

    def _open_sink(
        self, reader: FileSource, why_not_deep: str, note: Callable[[str], None]
    ) -> FileSink | PlainSink:
        if is_plain(self.output):
            return open_plain(self.output, reader, self.options, note, why_not_deep=why_not_deep)
        return FileSink(self.output, reader, self.options, note, why_not_deep=why_not_deep)

    def _open_yuv(
        self, session: Session, reader: FileSource, sink: FileSink | PlainSink, opened: ExitStack
    ) -> tuple[Session, str]:
        """The session for the file's pixels, and why it is of RGB where it is."""
        session, why_rgb = open_yuv(
            session,
            opened,
            reader.stream_colours,
            sink.why_not_yuv() or reader.why_not_yuv() or "",
            pixels=self.pixels,
            matched=self.network.matched,
            tile=self.network.tile,
            times=0 if self.compare else times_of(reader.info, (sink.width, sink.height)),
            trace=self.network.trace,
        )
        if session.yuv is not None:
            sink.expect_yuv()
        return session, why_rgb

    def _processor_of(self, session: Session) -> FrameProcessor:
        """What the frames go through."""
        processor = self.network.clips
        if session is not self.network.session:
            processor = create_processor(session, colour_match="none")
        if self.cut_reset and session.bundle.kind == "stream" and session.bundle.state:
            processor = CutResetProcessor(processor)
        return processor

    def _limit(self, reader: FileSource, session: Session, sink: FileSink | PlainSink) -> None:
        """Refuse frames beyond the limits or this machine's memory, now and as they come."""
        reader.check_size = partial(
            memory_of(session.bundle, session.variant.id).check,
            self.source,
            tile=self.network.tile,
            output=(sink.width, sink.height),
            deep=session.deep,
        )
        reader.check_size(reader.info.width, reader.info.height)

    def _warm_up(self, width: int, height: int) -> None:
        """Record CUDA graphs before a decoder allocates on the GPU, which would break a capture.

        TensorRT's capture keeps to its thread; ONNX Runtime's does not.
        """
        session = self.network.session
        if session.backend == "ort-cuda" and isinstance(session, StreamSession):
            session.infer(np.zeros((height, width, 3), np.uint8))

    def _step_of(self, reader: FileSource) -> Callable[[int], None]:
        progress, expected = self.progress, reader.info.frames
        return (lambda done: None) if progress is None else lambda done: progress(done, expected)


def backend_notes(session: Session) -> list[str]:
    """Why `auto` took no better backend than it did; few threads; memory that was not counted."""
    told = read_processors().note, memory_of(session.bundle, session.variant.id).note
    notes = [note for note in told if note]
    if looks_like_gpu():
        notes += [f"not on {reason}" for reason in session.reasons]
    return notes
