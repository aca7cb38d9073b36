"""Presentation times of a file's frames, repaired where it gives none or they run backwards."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av

DECODE_TIMES_ONLY = frozenset({"avi"})
"""Containers that store no presentation times; the decoder's derived ones can run backwards."""


class FrameClock:
    """Gives each frame of a stream a time later than the one before; `FileClock` mends jumps.

    Args:
        container: FFmpeg's name of the container's format.
        time_base: Seconds a tick.
        rate: Nominal frames a second.
        offset: Seconds to subtract from every time.
        note: Called with a line, once, where times run backwards.
    """

    def __init__(
        self,
        container: str,
        time_base: Fraction,
        rate: Fraction,
        offset: Fraction,
        note: Callable[[str], None],
    ) -> None:
        self.time_base = time_base
        self._decode_times = container in DECODE_TIMES_ONLY
        self._nominal = max(round(1 / (rate * time_base)), 1)
        self._offset = round(offset / time_base)
        self._note = note
        self._last: int | None = None
        self._first_dts: int | None = None
        self._frames = 0

    def time_of(self, frame: av.VideoFrame) -> int:
        """Time of the next frame in display order, in ticks."""
        pts, last = self._given(frame), self._last
        step = self._step(frame)
        if pts is None:
            pts = 0 if last is None else last + step
        else:
            pts -= self._offset
        if last is not None and pts <= last:
            self._note(f"times go backwards at frame {self._frames}: repaired")
            pts = last + step
        self._last = pts
        self._frames += 1
        return pts

    def _given(self, frame: av.VideoFrame) -> int | None:
        if not self._decode_times:
            return self._ticks(frame, frame.pts)
        # Decoding times in display order, less the decoder's delay; frames that come out of the
        # final flush have none.
        if self._first_dts is None:
            self._first_dts = frame.dts
        if frame.dts is None or self._first_dts is None:
            return None
        return frame.dts - self._first_dts

    def _ticks(self, frame: av.VideoFrame, count: int | None) -> int | None:
        """A frame's own ticks as the stream's; a filter in between has its own."""
        if count is None or not frame.time_base or frame.time_base == self.time_base:
            return count
        return round(count * frame.time_base / self.time_base)

    def _step(self, frame: av.VideoFrame) -> int:
        """Ticks to the next frame; decoders give frames that stand in for lost ones one tick."""
        given = self._ticks(frame, frame.duration) or 0
        return given if 2 * given >= self._nominal else self._nominal
