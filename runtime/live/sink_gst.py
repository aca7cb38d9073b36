"""`gst:PIPELINE`: pictures go into whatever GStreamer can encode, show or send them with.

    gst:nvvidconv ! nvv4l2h264enc ! h264parse ! rtph264pay ! udpsink host=192.168.1.2 port=5004

The pipeline's first element stays open: pictures enter there, in the first of NV12, I420, BGRx and
other RGB that it takes.
"""

from __future__ import annotations

from typing import ClassVar

import av
from av.video.reformatter import VideoReformatter

from ...errors import ConfigError, OutputNotWritableError
from ...pictures.colour import frame_from_rgb
from ..gstreamer.child import HEADER
from ..gstreamer.jetson import encoder_missing
from ..gstreamer.layout import FORMATS, WRITTEN, Layout
from ..gstreamer.process import PipelineError, PipelineProcess
from ..video.encoders import EncodeOptions
from .address import Address
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

START_S = 15.0
"""How long a pipeline may take to say what it takes."""

FINISH_S = 12.0
"""How long it may take to finish its output."""


class GstSink(VideoSink):
    """Gives pictures to the beginning of a pipeline, which runs in a process of its own.

    The first picture starts it. A size that changes later is scaled to the first one's.
    """

    options: ClassVar[str] = "none of its own"

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self.pipeline = address.place
        if not self.pipeline.strip("! "):
            raise ConfigError(
                "'gst:' names no pipeline; expected elements such as gst:videoconvert ! "
                "autovideosink"
            )
        if any((options.encoder, options.preset, options.crf is not None)):
            raise ConfigError(
                f"'{address.text}' encodes with elements of its own: leave encoder options out"
            )
        if (missing := encoder_missing(self.pipeline)) is not None:
            raise ConfigError(missing)
        self._process: PipelineProcess | None = None
        self._layout: Layout | None = None
        self._reformatter, self._first = VideoReformatter(), FirstSize()

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`: in the pipeline's format."""
        if self._process is None:
            self._begin(frame)
        assert self._layout is not None
        assert self.size is not None
        rgb = self._first.rgb(frame.picture, self.size, self.notes)
        form = FORMATS[self._layout.format]
        made = frame_from_rgb(rgb, frame.colours, form, self._reformatter, size=self.size)
        return made, max(round(frame.time * 1e9), 0)

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        assert self._process is not None
        assert self._layout is not None
        made: av.VideoFrame
        made, time_ns = encoded
        pieces = self._layout.pieces(made)
        try:
            self._process.send(HEADER.pack(time_ns, self._layout.frame_bytes), *pieces)
        except BrokenPipeError:
            raise self._why() from None
        return True

    def finish(self) -> None:
        """See `VideoSink`."""
        if self._process is None:
            return
        try:
            self._process.finish(FINISH_S)
        except PipelineError as error:
            raise self._failure(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """See `VideoSink`."""
        if self._process is not None:
            process, self._process = self._process, None
            process.close()

    def _begin(self, frame: FinishedFrame) -> None:
        self.size = self.size or self._output_size(frame)
        self._first.begin(frame.picture)
        rate = frame.rate.limit_denominator(65535)
        colours = frame.colours
        job = {
            "kind": "sink",
            "pipeline": self.pipeline,
            "formats": list(WRITTEN),
            "caps": f"width={self.size[0]},height={self.size[1]},framerate={rate.numerator}/"
            f"{rate.denominator},pixel-aspect-ratio=1/1,interlace-mode=progressive",
            "colours": {
                "full": colours.full_range,
                "matrix": colours.matrix,
                "primaries": colours.primaries,
                "transfer": colours.transfer,
            },
        }
        self._process = PipelineProcess(self.address.text, job)
        try:
            message = self._process.read(START_S, lambda: False)
            assert message is not None
            self._layout = Layout.of(message["layout"])
        except PipelineError as error:
            self.close()
            if error.stage in ("parse", "caps"):
                raise ConfigError(self._said(error)) from error
            raise self._failure(error) from error
        self.encoder = f"GStreamer, given {self._layout.format}"

    def _why(self) -> OutputNotWritableError:
        """Why the process takes nothing any more."""
        assert self._process is not None
        try:
            while self._process.read(START_S, lambda: False) is not None:
                pass
        except PipelineError as error:
            return self._failure(error)
        return self._failure(PipelineError("it ended", "run"))

    def _failure(self, error: PipelineError) -> OutputNotWritableError:
        return OutputNotWritableError(self._said(error))

    def _said(self, error: PipelineError) -> str:
        width, height = self.size or (0, 0)
        if error.stage == "caps":
            advice = (
                f", which is none of {', '.join(WRITTEN)} at {width}x{height} in main memory; "
                "begin it with 'videoconvert', on a Jetson with 'nvvidconv'"
            )
        elif error.stage == "parse":
            advice = "; gst-inspect-1.0 lists the elements that are here"
        else:
            advice = ""
        return f"'{self.address.text}' does not take the video: {error}{advice}"
