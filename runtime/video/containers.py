"""What containers can carry, and the times frames get in them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av

from ...counted import counted
from .info import VideoInfo
from .source import FileSource

ROTATION_TAGGED = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Containers that can carry a rotation; elsewhere the picture itself is turned."""

CONSTANT_RATE = frozenset({".avi"})
"""Containers that hold a frame rate instead of times."""

CODING_ORDER = frozenset({".avi", ".ts"})
"""Containers that get no B-frames: avi cannot order them, ts would delay every time by them."""

MILLISECONDS = frozenset({".mkv", ".webm"})
"""Containers whose times are whole milliseconds."""

NEGATIVE_TIMES = frozenset({".mp4", ".m4v", ".mov"})
"""Containers whose times may be negative, as an AAC track's first packet is; others shift all."""

MAX_TIMESCALE = 1 << 31
"""Ticks a second an mp4 file can count."""


class OutputTimes:
    """Times of the source's frames in an output's ticks, and how far they had to move.

    Args:
        suffix: The output's ending, in lower case; it says which container it is.
        info: Of the video that is written.
        rate: Nominal frames a second of the output.
    """

    def __init__(self, suffix: str, info: VideoInfo, rate: Fraction) -> None:
        self.suffix = suffix
        self.time_base = 1 / rate if suffix in CONSTANT_RATE else info.time_base
        self._source_base = info.time_base
        self._last_tick: int | None = None
        self._moved_ms = 0.0
        self._merged = 0

    def tick(self, pts: int) -> int:
        """Source time in the encoder's ticks; only a constant-rate container changes it."""
        if self.time_base == self._source_base:
            if self.suffix in MILLISECONDS:
                self._count_merged(pts)
            return pts
        exact = pts * self._source_base / self.time_base
        tick = round(exact)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = tick
        self._moved_ms = max(self._moved_ms, float(abs(tick - exact) * self.time_base) * 1000)
        return tick

    def notes(self) -> Iterator[str]:
        """What was lost, a line each."""
        if self._merged:
            come = counted(self._merged, "frame comes", "frames come")
            yield (
                f"{come} less than a millisecond after the one before, at its time: "
                f"{self.suffix} counts milliseconds, mp4 keeps them apart"
            )
        if self._moved_ms >= 1:
            yield (
                f"{self.suffix} holds a constant frame rate: "
                f"times moved by up to {self._moved_ms:.0f} ms"
            )

    def _count_merged(self, pts: int) -> None:
        """Count frames that share their millisecond with the one before."""
        tick = round(pts * self.time_base * 1000)
        self._merged += tick == self._last_tick
        self._last_tick = tick


def container_options(path: Path, source: FileSource) -> dict[str, str]:
    """What the container's muxer is told.

    mp4 counts a stream's late beginning in the file's ticks, milliseconds by default; mov has no
    place for a description but among tags of any name.
    """
    if path.suffix.lower() not in NEGATIVE_TIMES:
        return {}
    ticks = source.info.time_base.denominator
    sounds = [s.rate for s in source.carried if isinstance(s, av.AudioStream) and s.codec_context]
    exact = math.lcm(ticks, *(rate for rate in sounds if rate))
    options = {"movie_timescale": str(exact if exact < MAX_TIMESCALE else ticks)}
    if path.suffix.lower() == ".mov":
        options["movflags"] = "+use_metadata_tags"
    return options
