"""`null://`: frames are counted and thrown away, to measure what comes before."""

from __future__ import annotations

from .sink import Encoded, FinishedFrame, VideoSink


class NullSink(VideoSink):
    """Takes everything."""

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        height, width = frame.picture.shape[:2]
        self.size = (width, height)
        return frame

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        return True
