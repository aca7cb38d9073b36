"""How a live run behaves, and what it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...pictures.crop import Crop
from ..threads.frame_queue import Policy
from ..video.hdr import HdrMode
from .resets import STALL_FRAMES


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """How a live run behaves."""

    policy: Policy = "newest"
    """`newest`: latency is bounded, frames are dropped; `every`: nothing is, the source waits."""

    max_latency_ms: float | None = None
    """Frames that cannot be out this long after capture are dropped; None for no limit."""

    duration_s: float | None = None
    """Seconds from the first frame; None until the source ends or Ctrl-C."""

    cut_reset: bool = True
    """Whether the network starts anew at scene cuts."""

    pixels: str = "auto"
    """What frames are on their way: `yuv`, 8-bit 4:2:0 as it was captured, `rgb`, or `auto`."""

    hdr: HdrMode = "keep"
    """What becomes of PQ and HLG; sinks that cannot say that pictures are HDR get SDR."""

    stall_frames: int = STALL_FRAMES
    """Frames missing in the source after which it starts anew."""

    crop: Crop | None = None
    """The part of each picture that is upscaled at first; None for all of it."""

    priority: int = 0
    """Of several streams the one of more is served first in a round of the network."""

    glass: str | None = field(default=None, repr=False)
    """Address where the output can be received again, to read the time in its pictures."""

    stats_path: Path | None = None
    """File that gets a JSON line a second, appended."""

    def __post_init__(self) -> None:
        if self.policy == "every" and self.max_latency_ms is not None:
            raise ConfigError(
                "a largest latency needs frames to be dropped: use the policy 'newest' with it"
            )


@dataclass(frozen=True)
class LiveReport:
    """What a live run did; `to_json` is what `adcvsr live --json` prints."""

    source: str
    sink: str
    """Several are joined with a comma."""
    policy: str
    max_latency_ms: float | None
    seconds: float
    """From the first frame to the last one out."""
    captured: int
    """Frames from the source."""
    presented: int
    """Frames out, at one sink at least."""
    unfinished: int
    """Frames that were on their way when an error ended the run."""
    fps: float
    """Frames out a second."""
    drops: dict[str, int]
    """Frames dropped, by reason: `newer`, `late`, `damaged`, and `sink` for those no sink sent."""
    resets: dict[str, int]
    """Times the network's past was forgotten: `cut`, `seek`, `stall`, `size`, `reconnect`,
    `model`, `crop`, `asked`."""
    reconnects: int
    damaged_packets: int
    ms: dict[str, dict[str, float | None]]
    """p50, p95, p99 and max of each stage, of `latency` and of `glass`, in milliseconds.
    Where there are several sinks, a frame's is that of the first that sent it."""
    sinks: list[dict[str, Any]]
    """Of each sink: `sink`, `presented`, `drops` by reason (`newer` where it was slower than the
    others), `ms` of `encode`, `present` and `latency`, `output_size`, `encoder`, `copies` of a
    picture until it was encoded or left this process (None where that is not known)."""
    cpu_seconds: float
    cpu_ms_per_frame: float | None
    """Of the whole process, every core, by frames out."""
    rss_bytes: int | None
    input_size: tuple[int, int] | None
    output_size: tuple[int, int] | None
    """Of the first sink, as is the encoder."""
    encoder: str | None
    pixels: str
    """What frames were on their way at the end: `yuv`, 4:2:0 as captured, or `rgb`."""
    pixels_reason: str
    """Why RGB; empty for YUV."""
    copies: int | None
    """Copies of a picture in main memory, conversions included, from capture to the network at the
    end; each of `sinks` has its own."""
    gpu_copies: tuple[int, int] | None
    """Further copies by the backend, to where the GPU reads a picture and back; None without a GPU,
    and where it is not known."""
    backend: str
    variant: str
    """At the end; `resets["model"]` says how often it was switched."""
    model: str
    device: dict[str, float]
    """Power, temperature and load at the end, where the device tells."""
    ended: str
    """`end of source`, `duration` or `interrupted`."""
    notes: list[str]
    """What was lost, scaled or odd, one line each."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def resident_bytes() -> int | None:
    """Memory of this process that is in RAM; None where the system does not tell."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in text.splitlines() if line.startswith("VmRSS:")), None)
    return int(line.split()[1]) << 10 if line else None
