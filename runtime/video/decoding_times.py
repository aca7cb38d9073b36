"""Decoding times that readers and muxers take: behind long pauses, and of one or two frames.

No reader of mp4 and mov takes a frame shown 2^28 ticks after its decoding. With frames in another
order than shown, an encoder gives those behind a pause decoding times from before it; readers then
find the file invalid and show frames in decoding order. The frame behind a pause becomes a
keyframe, so that nothing before it waits for it, and is decoded when it is shown.

x265 takes its delay from its third frame: with fewer, its decoding times are memory that nothing
has set (`m_bframeDelayTime` in its encoder.cpp). One or two frames are decoded as they are shown.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
from av.video.frame import PictureType

LONG_TICKS = 1 << 27
"""Half of what readers take: a pause and the encoder's own delay together stay below it."""

REORDERED = 16
"""Frames an encoder may hold back, at most."""


UNORDERED = 2
"""So many frames have no other order of decoding than that of showing."""


class DecodingTimes:
    """Looks at every frame on its way into an encoder and at every packet on its way out."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._waiting: list[int] = []
        """Times of the frames behind pauses that are still in the encoder."""
        self._behind: int | None = None
        self._packets = 0
        self._frames = 0
        self._ended = False

    def frame(self, frame: Any, ticks: int) -> None:
        """Make the frame behind a long pause a keyframe.

        Args:
            frame: A video frame with its time, on its way into the encoder.
            ticks: Of the output, a second.
        """
        self._frames += 1
        last, self._last = self._last, frame.pts
        if last is not None and (frame.pts - last) * Fraction(frame.time_base) * ticks > LONG_TICKS:
            frame.pict_type = PictureType.I
            self._waiting.append(frame.pts)

    def end(self) -> None:
        """No frame follows: the next packets are what the encoder still holds."""
        self._ended = True

    def packet(self, packet: av.Packet[Any]) -> None:
        """Bring the decoding times behind a pause near to it; give one or two frames theirs."""
        if self._ended and self._frames <= UNORDERED:
            packet.dts = packet.pts
        if self._waiting and packet.is_keyframe and packet.pts == self._waiting[0]:
            self._behind, self._packets = self._waiting.pop(0), 0
        if self._behind is not None and packet.dts is not None:
            packet.dts = max(packet.dts, self._behind - REORDERED + self._packets)
            self._packets += 1
            if self._packets == REORDERED:
                self._behind = None
