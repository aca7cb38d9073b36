"""When the network's past is forgotten, and why; and the times outputs get.

Two watches, because frames may be dropped between them: `StreamWatch` sees every captured frame and
counts streams, `ResetPolicy` sees the frames the network takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..processing.cut_reset import SceneWatch
from .source import LiveFrame

Reason: TypeAlias = Literal["cut", "seek", "stall", "size", "reconnect", "model", "crop", "asked"]

STALL_FRAMES = 8
"""Frames that may be missing in the source before the past counts as stale: a quarter of a second
at 30 fps, in which a walker moves by his own width."""

SEEK_S = 1.0
"""A jump of the source's clock against the wall, back or forward, that is no jitter."""

SHORTEST_INTERVAL_S = 1e-3


@dataclass(frozen=True)
class Placed:
    """A frame and its place in the run."""

    frame: LiveFrame
    stream: int
    """Counts up where the source was interrupted."""
    reason: Reason | None
    """Why the latest stream began; None for the first."""
    time: float
    """Seconds since the first frame; strictly increasing, also across interruptions."""


class StreamWatch:
    """Tells where the source was interrupted.

    Args:
        stall_frames: Frames that may be missing: a longer gap, by the source's clock or by the
            clock of capture, is a stall.
    """

    def __init__(self, stall_frames: int = STALL_FRAMES) -> None:
        self.stall_frames = stall_frames
        self._stream = 0
        self._reason: Reason | None = None
        self._before: LiveFrame | None = None
        self._time = 0.0

    def place(self, frame: LiveFrame, interval: float, waited: float = 0.0) -> Placed:
        """Look at the next captured frame.

        Args:
            frame: In the order of capture.
            interval: Seconds between frames of the source, nominal.
            waited: Seconds since the frame before that the source was kept waiting; no stall of
                its own.
        """
        before, self._before = self._before, frame
        if before is None:
            return Placed(frame, 0, None, 0.0)
        wall = frame.captured - before.captured - waited
        media = wall
        if frame.media_time is not None and before.media_time is not None:
            media = frame.media_time - before.media_time
            if frame.lossless and media >= 0:
                wall = media  # a slow decoder loses nothing
        reason = _interruption(before, frame, media, wall, interval, self.stall_frames)
        if reason is not None:
            self._stream += 1
            self._reason = reason
        # The source's clock is steadier, but says nothing across a seek or a new connection.
        step = wall if reason in ("reconnect", "seek") else media
        self._time += max(step, SHORTEST_INTERVAL_S)
        return Placed(frame, self._stream, self._reason, self._time)


def _interruption(
    before: LiveFrame,
    frame: LiveFrame,
    media: float,
    wall: float,
    interval: float,
    stall_frames: int,
) -> Reason | None:
    """What happened between two captured frames, `media` and `wall` seconds apart."""
    if frame.connection != before.connection:
        return "reconnect"
    if media < -interval or media - wall > SEEK_S:
        return "seek"
    # Without a gap two frames are one interval apart; half of one more is jitter.
    return "stall" if max(media, wall) > (stall_frames + 1.5) * interval else None


class ResetPolicy:
    """Tells before which frames the network's past must be forgotten.

    Args:
        cuts: Whether scene cuts are looked for.
    """

    def __init__(self, *, cuts: bool = True) -> None:
        self._watch = SceneWatch() if cuts else None
        self._stream = 0
        self._size: tuple[int, int] | None = None

    def reason(self, placed: Placed) -> Reason | None:
        """Why the past must be forgotten before this frame; None where it must not.

        Args:
            placed: The next frame the network takes; those dropped before it are not shown.
        """
        frame = placed.frame
        cut = self._watch is not None and self._watch.is_cut(frame.luma())
        size, self._size = self._size, frame.size
        stream, self._stream = self._stream, placed.stream
        if stream != placed.stream:
            return placed.reason
        if size is not None and size != frame.size:
            return "size"
        return "cut" if cut else None
