"""Whether a file gave all that its container announces, or ends before."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ...counted import counted
from .places import is_pipe
from .stdin_reader import StdinReader
from .torn_end import ends_within_packet

TRACK_LENGTHS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "avi"})
"""Formats that announce each track's length."""

FILE_LENGTHS = frozenset({"matroska,webm", "flv", "live_flv", "asf", "nut", "rm"})
"""Formats that announce the length of the longest track. Of all others FFmpeg guesses a length,
from the last time in the file or from its bytes: there is nothing to compare with."""

ONE_SIZE = frozenset({"yuv4mpegpipe", "rawvideo"})
"""Formats of frames of one size, one behind the other: FFmpeg leaves a part of one out without a
word."""

LEAST_S = Fraction(1, 5)
"""Seconds that headers and last frames may differ by."""

MOST_FPS = 240
"""Frames a second, beyond which a rate is not taken for one."""

LEAST_FRAMES = 3
"""Likewise, in frames."""


@dataclass(frozen=True)
class Missing:
    """What a file does not hold although its container announces it."""

    announced_seconds: float | None
    """From the beginning; None where nothing is announced and the file shrank while it was read."""
    read_seconds: float
    """From the beginning to the end of the last packet that came."""
    announced_frames: int | None
    """Of the video; None where the container does not tell."""
    read_frames: int
    """Packets of the video that came."""
    shrunk_bytes: int
    """By how much the file became shorter while it was read."""
    within_packet: bool = False
    """Whether a stream that announces nothing (transport or program stream, y4m, raw frames) ends
    within a packet."""

    def note(self) -> str:
        """The line for people."""
        if self.shrunk_bytes:
            cause = f"it became {self.shrunk_bytes:,} bytes shorter while it was read"
        else:
            cause = "it was cut off, or its header is wrong"
        came = f"{self.read_seconds:.3f} s ({counted(self.read_frames, 'frame')})"
        if self.within_packet:
            return (
                f"the end of the file is missing: {came} came and a part of a packet; how much "
                "should follow such a file does not tell"
            )
        if self.announced_seconds is None:
            return f"the end of the file is missing: {came} came; {cause}"
        frames = f" ({counted(self.announced_frames, 'frame')})" if self.announced_frames else ""
        return (
            f"the end of the file is missing: it announces {self.announced_seconds:.3f} s{frames}, "
            f"{came} came; {cause}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


class Announced:
    """What a container announces, held against the packets that come.

    Args:
        path: The file.
        container: Opened, nothing read.
        stream: The video that is read.
        stdin: What reads standard input, where that is the file.
    """

    def __init__(
        self,
        path: Path,
        container: av.container.InputContainer,
        stream: av.VideoStream,
        stdin: StdinReader,
    ) -> None:
        self._stdin, self._reached = stdin, 0
        self._path, self._container, self._stream = path, container, stream
        self._bytes = _size_of(path)
        self._ends: dict[int, Fraction] = {}
        self._packets = 0
        self._last: int | None = None
        self._longest_step = 0

    def saw(self, packet: av.Packet[Any]) -> None:
        """Count a packet of any stream in."""
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or not packet.size or packet.time_base is None:
            return
        index = packet.stream.index
        self._reached = max(self._reached, (packet.pos or 0) + packet.size)
        end = (time + (packet.duration or 0)) * packet.time_base
        if end > self._ends.get(index, end - 1):
            self._ends[index] = end
        if index == self._stream.index:
            self._packets += 1
            if packet.dts is not None:
                if self._last is not None:
                    self._longest_step = max(self._longest_step, packet.dts - self._last)
                self._last = packet.dts

    def missing(self) -> Missing | None:
        """What has not come; ask where the file has ended."""
        shrunk = max(self._bytes - _size_of(self._path), 0)
        length, end = self._lengths()
        torn = not shrunk and self._is_torn()
        if not (shrunk or torn) and (length is None or length - end <= self._tolerance()):
            return None
        rate = self._stream.average_rate or 0
        # A variable rate is given as the clock's: that many frames nobody announces.
        told = length and 0 < rate <= MOST_FPS
        frames = self._stream.frames or (round(length * rate) if length and told else None)
        return Missing(
            None if length is None else round(float(length), 3),
            round(max(float(end), 0.0), 3),
            frames,
            self._packets,
            shrunk,
            torn,
        )

    def _is_torn(self) -> bool:
        """Whether it ends within a packet; of frames of one size, whether a part of one is left."""
        if self._container.format.name not in ONE_SIZE:
            return ends_within_packet(self._path, self._container.format.name)
        size = self._stdin.bytes_read if is_pipe(self._path) else self._bytes
        return 0 < self._reached < size

    def _lengths(self) -> tuple[Fraction | None, Fraction]:
        """Seconds announced, and seconds at which the last packet ends."""
        name, stream = self._container.format.name, self._stream
        own = self._ends.get(stream.index, Fraction(0))
        if name in TRACK_LENGTHS and stream.duration and stream.time_base:
            early = min((stream.start_time or 0) * stream.time_base, Fraction(0))
            length = stream.duration * stream.time_base
            if name == "avi" and stream.frames and stream.average_rate:
                # FFmpeg shortens the duration by what the file is too short, not the frames.
                length = max(length, stream.frames / Fraction(stream.average_rate))
            return length, own - early
        if name in FILE_LENGTHS and self._container.duration:
            early = min(Fraction(self._container.start_time or 0, av.time_base), Fraction(0))
            last = max(self._ends.values(), default=Fraction(0))
            return Fraction(self._container.duration, av.time_base), last - early
        return None, own

    def _tolerance(self) -> Fraction:
        """Frames of a variable rate may stand for seconds, the last one without a duration."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        frames = LEAST_FRAMES / Fraction(rate) if rate else Fraction(0)
        base = self._stream.time_base or Fraction(0)
        return max(LEAST_S, frames, self._longest_step * base * 3 / 2)


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 of what is none, such as a pipe."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
