"""`null://`: frames are counted and thrown away, to measure what comes before."""

from __future__ import annotations

from .sink import Encoded, FinishedFrame, VideoSink


class NullSink(VideoSink):
    """Takes everything."""

    def why_not_deep(self, *, hdr: bool) -> str:
        """See `VideoSink`: it takes everything."""
        del hdr
        return ""

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        self.size = self._output_size(frame)
        return frame

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        return True
