"""What upscaling a file did."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..counted import counted
from ..pictures.hdr import is_hdr
from .pipeline import PipelineResult
from .processing.processor import FrameProcessor
from .sessions.session import Session
from .video.sink import FileSink
from .video.sink_plain import PlainSink
from .video.source import FileSource


@dataclass(frozen=True)
class UpscaleReport:
    """What `Upscaler.upscale_file` did; `to_json` is what `adcvsr upscale --json` prints."""

    input: str
    output: str
    input_size: tuple[int, int]
    """Width and height in pixels."""
    output_size: tuple[int, int]
    """Width and height in pixels."""
    pixel_format: str
    """FFmpeg's, of the output: bits, colour and alpha."""
    pixels: str
    """What frames were from decoder to encoder: `yuv`, 4:2:0 as they are, or `rgb`."""
    pixels_reason: str
    """Why RGB; empty for YUV."""
    copies: dict[str, int | None]
    """Copies of a picture in main memory, conversions included: `in`, from decoder to network, and
    `out`, from network to encoder; None where it is not known."""
    gpu_copies: tuple[int, int] | None
    """Further copies by the backend, to where the GPU reads a picture and back; None without a GPU,
    and where it is not known."""
    hdr: str | None
    """`PQ` or `HLG` where it is kept, `tonemap` where SDR was made of it; None for SDR."""
    frames: int
    """Frames written."""
    seconds: float
    """Wall seconds of the pipeline."""
    fps: float
    """Frames a second of wall time."""
    backend: str
    backend_reasons: list[str]
    """Why `auto` took no better backend."""
    variant: str
    model: str
    encoder: str
    decoder: str
    """Where the input was decoded: `cpu` or `cuda`."""
    stages: dict[str, dict[str, float | None]]
    """Wall and CPU seconds of decode, infer and encode; CPU None where the system cannot tell."""
    windows: dict[str, Any] | None
    """Of a clip network: count, frames of each, overlap, the network's reach in frames, and whether
    the result is exactly that of the whole clip."""
    tiles: dict[str, Any] | None
    """Where tiles were asked for: count, width, height, overlap in input pixels, work over that of
    whole frames, and whether the result is exactly that of whole frames."""
    colour_match: dict[str, Any] | None
    """Mode and half-life in frames; None for none."""
    scene_cuts: int | None
    """Cuts at which the network started anew; None where it was not to."""
    damaged_packets: int
    """Packets of the input that could not be decoded and were skipped."""
    damaged_frames: int
    """Frames the decoder had to fill in, kept as they came."""
    missing: dict[str, Any] | None
    """What the input does not hold although its container announces it: seconds and frames
    announced and read, and bytes it lost while it was read; None where nothing is missing."""
    notes: list[str]
    """What was left out, converted or repaired, one line each."""

    @property
    def whole(self) -> bool:
        """Whether the input was neither damaged nor incomplete."""
        return not (self.missing or self.damaged_packets or self.damaged_frames)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def make_report(
    session: Session,
    reader: FileSource,
    sink: FileSink | PlainSink,
    result: PipelineResult,
    processor: FrameProcessor,
    notes: list[str],
    *,
    why_rgb: str,
) -> UpscaleReport:
    """Sum up a run.

    Args:
        session: What ran.
        reader: Its input, read to the end.
        sink: Its output.
        result: Of the pipeline.
        processor: What frames went through.
        notes: So far; more are added.
        why_rgb: Why frames were RGB, where they were.
    """
    notes += damage_notes(reader.damaged_packets, reader.damaged_frames)
    if session.variant_reason:
        notes.insert(0, f"variant {session.variant.id}: {session.variant_reason}")
    width, height = reader.info.width, reader.info.height
    return UpscaleReport(
        input=str(reader.path),
        output=str(sink.path),
        input_size=(width, height),
        output_size=(sink.width, sink.height),
        pixel_format=sink.pixel_format,
        pixels="rgb" if session.yuv is None else "yuv",
        pixels_reason=why_rgb,
        copies={"in": reader.copies, "out": sink.copies},
        gpu_copies=session.gpu_copies,
        hdr=hdr_of(reader),
        frames=result.frames,
        seconds=round(result.seconds, 3),
        fps=round(result.frames / max(result.seconds, 1e-9), 2),
        backend=session.backend,
        backend_reasons=list(session.reasons),
        variant=session.variant.id,
        model=session.bundle.path.name,
        encoder=sink.encoder,
        decoder=reader.decoder,
        stages={
            name: {
                "wall_seconds": round(times.wall, 3),
                "cpu_seconds": round(times.threads.seconds, 3) if times.threads.known else None,
            }
            for name, times in result.stages.items()
        },
        **{"scene_cuts": None, **processor.facts()},
        damaged_packets=reader.damaged_packets,
        damaged_frames=reader.damaged_frames,
        missing=reader.missing.to_json() if reader.missing is not None else None,
        notes=notes,
    )


def hdr_of(reader: FileSource) -> str | None:
    """See `UpscaleReport.hdr`."""
    if reader.hdr is None:
        return None
    return reader.hdr.name if is_hdr(reader.info.colours.transfer) else "tonemap"


def damage_notes(packets: int, frames: int) -> list[str]:
    """What was found damaged in an input, for people."""
    notes = []
    if packets:
        were = "was" if packets == 1 else "were"
        notes.append(f"{counted(packets, 'damaged packet')} {were} skipped")
    if frames:
        notes.append(
            f"{counted(frames, 'frame is', 'frames are')} damaged and "
            f"{'was' if frames == 1 else 'were'} kept as decoded"
        )
    return notes
