"""`-`: frames as y4m on standard output, or without headers with `--encoder rawvideo`.

Frames have a constant rate there: what was dropped is not made up for.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

import av

from ..video.encoders import EncodeOptions
from ..video.frame_writer import FrameWriter, guessed_matrix, require_raw
from .address import Address
from .depth import is_deep
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

PIXEL_FORMAT, DEEP_FORMAT = "yuv420p", "yuv420p10le"


class StdoutSink(VideoSink):
    """Writes frames to standard output; the size that the first one gets stays."""

    options: ClassVar[str] = "none of its own"
    encodes: ClassVar[bool] = True

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self.encoder = self._kind = require_raw(options)
        self._writer: FrameWriter | None = None
        self._first, self._format = FirstSize(), PIXEL_FORMAT

    def why_not_deep(self, *, hdr: bool) -> str:
        """See `VideoSink`."""
        return "y4m has no place to say that pictures are HDR" if hdr else ""

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        if self._writer is None:
            self._begin(frame)
        assert self.size is not None
        colours = replace(frame.colours, matrix=guessed_matrix(self.size[1]))
        made = self._first.frame(frame.picture, colours, self._format, self.size, self.notes)
        self.copies = self._first.copies
        return made

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`.

        Raises:
            StdoutClosedError: Nobody reads any more.
        """
        assert self._writer is not None
        made: av.VideoFrame = encoded
        self._writer.write(made)
        return True

    def close(self) -> None:
        """See `VideoSink`."""
        if self._writer is not None:
            self._writer.close()

    def _begin(self, frame: FinishedFrame) -> None:
        self.size = self._output_size(frame)
        self._first.begin(frame.picture)
        self._format = DEEP_FORMAT if is_deep(frame.picture) else PIXEL_FORMAT
        self._writer = FrameWriter(
            self._kind,
            *self.size,
            self._format,
            Fraction(frame.rate).limit_denominator(65535),
            full_range=frame.colours.full_range,
        )
