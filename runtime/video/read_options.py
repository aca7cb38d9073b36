"""What of a video file is read: a stretch of time, a stream, and how its frames are decoded."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ...errors import ConfigError
from ...pictures.crop import Crop
from .hardware_decode import Decoder
from .hdr import HdrMode
from .info import VideoInfo

INTERLEAVE_SECONDS = 1
"""How far sound may lie behind its picture in a file: read on that long after the last frame."""


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What of a file is read, and how."""

    start: Fraction = Fraction(0)
    """Seconds from the video's beginning; the first frame at or after it is the first one."""

    duration: Fraction | None = None
    """Seconds to read; None reads to the end."""

    video_stream: int | None = None
    """Index of the stream in the file; None takes the first that is not a cover picture."""

    deinterlace: Literal["auto", "off"] = "auto"
    """Whether interlaced frames are deinterlaced (bwdif, a frame for two fields)."""

    decoder: Decoder = "auto"
    """`cpu`, `cuda`, or `auto`: the GPU where it works."""

    crop: Crop | None = None
    """The part of each picture, as it is shown, that is taken; None for all of it."""

    size: tuple[int, int] | None = None
    """Width and height of raw frames on standard input; None where it tells them itself."""

    pixel_format: str | None = None
    """FFmpeg's name of their format; None is `yuv420p`."""

    hdr: HdrMode = "keep"
    """`keep` gives frames of HDR as they are, `tonemap` makes SDR of them, `refuse` is an error."""

    rate: Fraction | None = None
    """Frames a second of raw frames and of numbered pictures; None is 25."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: A time is negative, or a format has no size.
        """
        if self.pixel_format is not None and self.size is None:
            raise ConfigError("--pixel-format is of raw frames, which need --size, too")
        if self.start < 0 or (self.duration is not None and self.duration <= 0):
            raise ConfigError(
                f"start {float(self.start):g} s and duration "
                f"{'to the end' if self.duration is None else f'{float(self.duration):g} s'}: "
                "expected a start of at least 0 and a duration above 0"
            )

    @property
    def raw(self) -> dict[str, str]:
        """What FFmpeg's demuxer is told of input that does not tell it."""
        told = {} if self.rate is None else {"framerate": str(self.rate)}
        if self.size is not None:
            told["video_size"] = "{}x{}".format(*self.size)
            told["pixel_format"] = self.pixel_format or "yuv420p"
            told.setdefault("framerate", "25")
        return told

    @property
    def whole(self) -> bool:
        """Whether the file is read from beginning to end."""
        return not self.start and self.duration is None

    def holds(self, seconds: Fraction) -> bool:
        """Whether a time, from `start` on, is read."""
        return (not self.start or seconds >= 0) and not self.ends_by(seconds)

    def ends_by(self, seconds: Fraction) -> bool:
        """Whether a time, from `start` on, lies behind what is read."""
        return self.duration is not None and seconds >= self.duration

    def sound_ends_by(self, seconds: Fraction) -> bool:
        """Whether sound of the last frame can no longer follow a packet of this time."""
        return self.duration is not None and seconds > self.duration + INTERLEAVE_SECONDS

    def frames_of(self, info: VideoInfo) -> int:
        """Frames to expect of a video, nominally; 0 where it does not tell."""
        if not info.frames or self.whole:
            return info.frames
        left = max(info.frames - round(self.start * info.rate), 1)
        if self.duration is None:
            return left
        return min(left, max(round(self.duration * info.rate), 1))
