"""Joining: the segments' packets copied, every time from the plan, the rest once from the source.

Nothing is encoded anew, but sound that the container cannot hold.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
from filelock import FileLock

from ...errors import JobError, OutputNotWritableError
from ...files import file_sha256, json_bytes, replace_file
from ...pictures.clips import media_url
from ...pictures.pyav import open_input
from ...reading import read_json
from ..upscale_report import UpscaleReport, damage_notes, hdr_of
from ..video.containers import MILLISECONDS, OutputTimes
from ..video.encoders import EncodeOptions
from ..video.info import VideoInfo
from ..video.sink import FileSink
from ..video.source import FileSource
from .folder import CERTIFICATE, Job, SegmentResult, sync_file
from .identity import require_source
from .timeline import Timeline

LOCK = "join.lock"


@dataclass(frozen=True)
class Joined:
    """What a join made."""

    report: UpscaleReport
    certificate: dict[str, Any]


class JoinSink(FileSink):
    """An output whose video is copied.

    Args:
        path: See `FileSink`.
        source: Opened; gives the streams to carry.
        template: A segment's video stream, as which all of them are written.
        options: See `FileSink`.
        note: Likewise.
        info: Of the video, in input pixels.
        encoder: What made the segments.
        certify: Called with SHA-256 and bytes of the finished file before it has its name, so that
            no join that was killed leaves an output that nobody knows to be the job's.
    """

    def __init__(
        self,
        path: Path,
        source: FileSource,
        template: Any,
        options: EncodeOptions,
        note: Callable[[str], None],
        *,
        info: VideoInfo,
        encoder: str,
        certify: Callable[[str, int], None],
    ) -> None:
        self._template = template
        self.encoder = encoder
        self._certify = certify
        super().__init__(path, source, options, note, info=info)

    def _container_options(self, source: FileSource) -> dict[str, str]:
        # Matroska's identifiers are drawn at random otherwise.
        exact = {"fflags": "+bitexact"} if self.path.suffix.lower() in MILLISECONDS else {}
        return {**super()._container_options(source), **exact}

    def _add_video(self, info: VideoInfo, options: EncodeOptions) -> None:
        stream: Any = self._container.add_stream_from_template(self._template)
        stream.time_base = info.time_base
        stream.codec_context.framerate = info.rate.limit_denominator(65535)
        self.width, self.height = self._template.width, self._template.height
        self.pixel_format = self._template.pix_fmt
        self._times = OutputTimes(self.path.suffix.lower(), info, info.rate)
        if info.rotation:
            stream.set_display_rotation(info.rotation)
        self._stream = stream

    @property
    def denominator(self) -> int:
        """Ticks a second of the output; known once its header is written."""
        return int(self._stream.time_base.denominator)

    def copy(self, packet: av.Packet[Any]) -> None:
        """Write a packet of a segment, its times those of the output."""
        packet.stream = self._stream
        self._written += 1
        self._mux(packet)

    def count_times(self, times: list[int]) -> None:
        """Look at all frames' times, for a note where the container cannot hold them."""
        for time in times:
            self._times.tick(time)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert frame is None  # pictures were encoded before

    def _check_written(self) -> None:
        super()._check_written()
        sync_file(self._part)
        self._certify(file_sha256(self._part), self._part.stat().st_size)


def join(
    job: Job, *, overwrite: bool = False, progress: Callable[[int, int], None] | None = None
) -> Joined:
    """Join a finished job into its output, and certify it.

    Args:
        job: Opened.
        overwrite: Whether an existing output may be replaced that is not this job's.
        progress: Called with frames written and frames in all.

    Raises:
        JobError: Segments are missing or damaged, were made by another encoder, or the source was
            changed.
        OutputExistsError, OutputNotWritableError: The output, or the job's folder.
    """
    job.require_there()
    with _alone(job):
        try:
            results = _finished(job)
        except JobError:
            job.require_there()
            raise
        source = require_source(job.plan, thorough=True)
        notes: list[str] = []
        overwrite = overwrite or is_joined(job, thorough=True)
        options = job.plan.settings.encode_options(None, overwrite=overwrite)
        began = datetime.now(timezone.utc)
        certificate: dict[str, Any] = {}

        def certify(sha256: str, size: int) -> None:
            certificate.update(_certificate(job, results, sha256, size, began))
            replace_file(
                job.folder / CERTIFICATE, lambda part: part.write_bytes(json_bytes(certificate))
            )

        with (
            FileSource(
                source, job.plan.settings.read_options(), steady=job.plan.is_steady
            ) as reader,
            open_input(media_url(job.video_of(0))) as first,
            JoinSink(
                Path(job.plan.settings.output),
                reader,
                first.streams.video[0],
                options,
                notes.append,
                info=job.plan.video,
                encoder=job.plan.encoder,
                certify=certify,
            ) as sink,
        ):
            sink.open_encoder()
            _write(job, results, reader, sink, progress)
            sink.flush()
            sink.finish()
            report = _report(job, results, reader, sink, notes)
    return Joined(report, certificate)


@contextmanager
def _alone(job: Job) -> Iterator[None]:
    """Keep other joins of a job waiting.

    Raises:
        OutputNotWritableError: The job's folder cannot be written, or its disk knows no locks.
    """
    path = job.folder / LOCK
    lock = FileLock(path)
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as error:
        job.require_there()
        raise OutputNotWritableError(
            f"cannot lock '{path}': {getattr(error, 'strerror', None) or error}; join where the "
            "job's folder can be written, or copy the folder to such a disk"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_joined(job: Job, *, thorough: bool) -> bool:
    """Whether the output is there and is this job's.

    Args:
        job: Opened.
        thorough: To the last bit; else by its size.

    Raises:
        JobError: The certificate is damaged.
    """
    certificate, output = job.folder / CERTIFICATE, Path(job.plan.settings.output)
    if not certificate.is_file() or not output.is_file():
        return False
    found = read_json(certificate, error=JobError, advice="remove it and join again")["output"]
    if output.stat().st_size != found["bytes"].integer(0):
        return False
    return not thorough or found["sha256"].text() == file_sha256(output)


def _finished(job: Job) -> list[SegmentResult]:
    """All segments' results, every byte checked."""
    found, missing, damaged = [], [], []
    for segment in job.plan.segments:
        try:
            result = job.verified(segment.index)
        except JobError as error:
            damaged.append(str(error))
            continue
        if result is None:
            missing.append(segment.index)
        else:
            found.append(result)
    if damaged:
        raise JobError(f"{len(damaged)} segments are damaged: {damaged[0]}")
    if missing:
        shown = ", ".join(map(str, missing[:8])) + (", …" if len(missing) > 8 else "")
        raise JobError(
            f"'{job.folder}' lacks {len(missing)} of {len(job.plan.segments)} segments: {shown}; "
            "'adcvsr job work' makes them"
        )
    return found


def _write(
    job: Job,
    results: list[SegmentResult],
    reader: FileSource,
    sink: JoinSink,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Write all packets, the streams beside each other by time."""
    base, times = job.plan.video.time_base, job.plan.times()
    sink.count_times(times)
    nominal = max(round(1 / (job.plan.video.rate * base)), 1)
    reorder = max(result.reorder for result in results)
    timeline = Timeline(times, reorder, base, nominal, sink.denominator)
    done = 0

    def copy(packet: av.Packet[Any]) -> None:
        nonlocal done
        sink.copy(packet)
        done += 1
        if progress is not None:
            progress(done, len(times))

    video = _packets(job, timeline)
    following = next(video, None)
    for packet in reader.without_pictures():
        time = packet.dts if packet.dts is not None else packet.pts
        if time is not None and packet.time_base is not None:
            seconds = time * packet.time_base - reader.time_offset
            while following is not None and (following.dts or 0) * base <= seconds:
                copy(following)
                following = next(video, None)
        sink.carry(packet)
    while following is not None:
        copy(following)
        following = next(video, None)


def _packets(job: Job, timeline: Timeline) -> Iterator[av.Packet[Any]]:
    """All segments' packets in coded order, with the plan's times."""
    header: bytes | None = None
    begin = 0
    for segment in job.plan.segments:
        with open_input(media_url(job.video_of(segment.index))) as container:
            stream = container.streams.video[0]
            own = bytes(stream.codec_context.extradata or b"")
            if header is not None and own != header:
                raise JobError(
                    f"segment {segment.index} was encoded with another header than those before: "
                    "its worker's encoder is another one; remove "
                    f"'{job.facts_of(segment.index)}' and make it again"
                )
            header = own
            packets = [packet for packet in container.demux(stream) if packet.size]
            shown = {pts: at for at, pts in enumerate(sorted(_pts(each) for each in packets))}
            if len(shown) != segment.frames or len(packets) != segment.frames:
                raise JobError(
                    f"'{job.video_of(segment.index)}' holds {len(packets)} pictures, "
                    f"{segment.frames} in the plan; remove it and make it again"
                )
            for coded, packet in enumerate(packets):
                at = begin + shown[_pts(packet)]
                packet.pts, packet.dts = timeline.times[at], timeline.decoding(begin + coded)
                packet.duration = timeline.duration(at)
                packet.time_base = job.plan.video.time_base
                yield packet
        begin += segment.frames


def _pts(packet: av.Packet[Any]) -> int:
    if packet.pts is None:
        raise JobError("a segment has packets without a time; make it again")
    return packet.pts


def _report(
    job: Job,
    results: list[SegmentResult],
    reader: FileSource,
    sink: JoinSink,
    notes: list[str],
) -> UpscaleReport:
    plan = job.plan
    seconds = sum(result.seconds for result in results)
    cuts = [result.scene_cuts for result in results if result.scene_cuts is not None]
    own = [note for result in results for note in result.notes]
    collected = [*plan.notes, *reader.notes, *own, *notes]
    collected += damage_notes(plan.damaged_packets, plan.damaged_frames)
    stages: dict[str, dict[str, float | None]] = {
        name: {
            "wall_seconds": round(sum(result.stages.get(name, 0.0) for result in results), 3),
            "cpu_seconds": None,
        }
        for name in ("decode", "infer", "encode")
    }
    return UpscaleReport(
        input=plan.settings.source,
        output=plan.settings.output,
        input_size=(plan.video.width, plan.video.height),
        output_size=(sink.width, sink.height),
        pixel_format=sink.pixel_format,
        pixels="yuv" if plan.network.yuv else "rgb",
        pixels_reason=plan.network.why_not_yuv,
        copies={"in": None, "out": None},  # segments may differ
        gpu_copies=None,
        hdr=hdr_of(reader),
        frames=plan.frames,
        seconds=round(seconds, 3),
        fps=round(plan.frames / max(seconds, 1e-9), 2),
        backend=plan.network.backend,
        backend_reasons=[],
        variant=plan.network.variant,
        model=plan.network.name,
        encoder=plan.encoder,
        decoder=reader.decoder,
        stages=stages,
        windows=None,
        tiles=results[0].facts.get("tiles"),
        colour_match=results[0].facts.get("colour_match"),
        scene_cuts=sum(cuts) if cuts else None,
        damaged_packets=plan.damaged_packets,
        damaged_frames=plan.damaged_frames,
        missing=reader.missing.to_json() if reader.missing is not None else None,
        notes=list(dict.fromkeys(collected)),
    )


def _certificate(
    job: Job, results: list[SegmentResult], sha256: str, size: int, began: datetime
) -> dict[str, Any]:
    """What was made where, with every hash."""
    differs = max(int(result.worker.get("differs_by", "0")) for result in results)
    return {
        "plan_sha256": job.plan_sha256,
        "equal": "bit for bit" if not differs else f"within {differs} levels",
        "source": {"path": job.plan.settings.source, "sha256": job.plan.source.sha256},
        "output": {
            "path": job.plan.settings.output,
            "sha256": sha256,
            "bytes": size,
            "frames": job.plan.frames,
        },
        "network": {
            "name": job.plan.network.name,
            "variant": job.plan.network.variant,
            "sha256": job.plan.network.sha256,
        },
        "versions": job.plan.versions,
        "joined": {"host": platform.node(), "at": began.isoformat(timespec="seconds")},
        "segments": [
            {
                "index": result.index,
                "frames": result.frames,
                "sha256": result.sha256,
                "pictures": result.pictures,
                "seconds": result.seconds,
                "worker": result.worker,
            }
            for result in results
        ],
    }
