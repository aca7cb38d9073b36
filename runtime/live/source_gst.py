"""`gst:PIPELINE`: whatever GStreamer can give frames from.

    gst:v4l2src device=/dev/video2 ! image/jpeg,width=1280 ! jpegdec ! videoconvert

The pipeline's last element stays open: frames leave there, in the format it gives them in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import ClassVar

from ...errors import ConfigError, UnreadableVideoError
from ...pictures.copies import copied
from ...pictures.hdr import HdrFacts, is_hdr
from ..gstreamer.layout import FORMATS, Layout
from ..gstreamer.process import PipelineError, PipelineProcess
from .address import Address
from .source import Clock, LiveFrame, VideoSource
from .source_av import AvSource

DECODERS = ("ffmpeg", "gst")
"""What receives and decodes a camera's stream."""

SILENT_S = 15.0
"""How long a pipeline may give no frame before it counts as lost."""


class GstSource(VideoSource):
    """Frames from the end of a pipeline, which runs in a process of its own.

    What is no live source (a file) comes at its own pace. A pipeline that ends has ended the
    stream; one that fails or gives nothing for `SILENT_S` ends it with an error.
    """

    options: ClassVar[str] = "none of its own"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.pipeline = address.place
        if not self.pipeline.strip("! "):
            raise ConfigError(
                "'gst:' names no pipeline; expected elements such as gst:v4l2src ! videoconvert"
            )
        self._layout: Layout | None = None
        self._facts: HdrFacts | None = None
        self.silent_s = SILENT_S
        """How long it may give nothing."""

    @property
    def rate(self) -> Fraction | None:
        """See `VideoSource`."""
        return None if self._layout is None else self._layout.rate

    def frames(self) -> Generator[LiveFrame, None, None]:
        """See `VideoSource`."""
        job = {"kind": "source", "pipeline": self.pipeline, "formats": list(FORMATS)}
        with closing(PipelineProcess(self.address.text, job)) as process:
            try:
                yield from self._frames(process)
            except PipelineError as error:
                raise self._failure(error) from error

    def _frames(self, process: PipelineProcess) -> Generator[LiveFrame, None, None]:
        seen = False
        while not self.stop.is_set():
            message = process.read(self.silent_s, self.stop.is_set)
            if message is None:
                return
            if "layout" in message:
                self._layout = layout = Layout.of(message["layout"])
                transfer = layout.colours.transfer
                self._facts = HdrFacts(transfer) if is_hdr(transfer) else None
                if self._facts is not None and self.hdr == "refuse":
                    layout.require_sdr()
                self.wants_deep(layout.bits, self._facts)
            elif "end" in message:
                if not seen:
                    raise PipelineError("it ended without a frame", "run")
                return
            elif "frame" in message:
                data = process.read_bytes(message["frame"], self.silent_s, self.stop.is_set)
                if data is None:
                    return
                seen = True
                yield self._frame(data, message["pts"])

    def _frame(self, data: bytearray, pts_ns: int | None) -> LiveFrame:
        now, layout = self.clock(), self._layout
        assert layout is not None
        if len(data) < layout.frame_bytes:
            raise PipelineError(
                f"a frame of {layout.width}x{layout.height} {layout.format} has {len(data)} bytes, "
                f"expected {layout.frame_bytes}",
                "run",
            )
        seconds = None if pts_ns is None else pts_ns / 1e9
        picture = layout.picture(data)
        copies = 1 + copied(data, picture)  # out of the pipe, and off its padding
        return LiveFrame(
            picture,
            seconds,
            now,
            colours=layout.colours,
            copies=copies,
            bits=layout.bits,
            hdr=self._facts,
        )

    def _failure(self, error: PipelineError) -> UnreadableVideoError:
        words = str(error)
        formats = ", ".join(FORMATS)
        if "not-negotiated" in words or "can't handle caps" in words or "could not link" in words:
            advice = (
                f"; its end must give video/x-raw in main memory, of {formats}: "
                "try '! videoconvert' there, on a Jetson '! nvvidconv', and no sink of its own"
            )
        elif error.stage == "parse":
            advice = "; gst-inspect-1.0 lists the elements that are here"
        elif error.stage == "silent":
            advice = "; does it run in gst-launch-1.0, with '! fakesink' at its end?"
        else:
            advice = ""
        return UnreadableVideoError(f"'{self.address.text}' gives no video: {words}{advice}")


class GstDecoded(AvSource):
    """A camera that FFmpeg reads, or GStreamer where its address says `decoder=gst`.

    Args:
        address, stop, clock: See `VideoSource`.
    """

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.decoder = address.take("decoder", DECODERS[0])
        if self.decoder not in DECODERS:
            raise ConfigError(
                f"'{address.text}': decoder={self.decoder}; expected {' or '.join(DECODERS)}"
            )

    def _through_gst(self, pipeline: str, connection: int) -> Iterator[LiveFrame]:
        """Frames of a pipeline; its losses are losses as FFmpeg's are."""
        source = GstSource(Address(self.address.text, "gst", pipeline), self.stop, self.clock)
        source.silent_s = self.timeout_s
        source.hdr, source.takes_deep, source.notes = self.hdr, self.takes_deep, self.notes
        try:
            for frame in source.frames():
                self._rate = source.rate
                yield replace(frame, connection=connection)
        except UnreadableVideoError as error:
            raise OSError(str(error)) from error
