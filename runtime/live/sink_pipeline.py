"""What sinks have in common that give pictures to a pipeline of GStreamer."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import av

from ...errors import ConfigError, OutputNotWritableError
from ..gstreamer.child import HEADER
from ..gstreamer.layout import FORMATS, WRITTEN, Layout
from ..gstreamer.process import PACKAGES, PipelineError, PipelineProcess
from ..video.encoders import EncodeOptions
from .address import Address
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

START_S = 15.0
"""How long a pipeline may take to say what it takes."""

FINISH_S = 12.0
"""How long it may take to finish its output."""


class PipelineSink(VideoSink):
    """Gives pictures to the beginning of a pipeline, which runs in a process of its own.

    The first picture starts it, in the first of NV12, I420, BGRx and other RGB that it takes. A
    size that changes later is scaled to the first one's. A pipeline's own time begins with its
    first picture: one of a server that came back after an hour would hold it for an hour.
    """

    packages: ClassVar[str] = PACKAGES
    """How to install what is missing."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        if any((options.encoder, options.preset, options.crf is not None)):
            raise ConfigError(
                f"'{address.text}' encodes with elements of its own: leave encoder options out"
            )
        self._process: PipelineProcess | None = None
        self._layout: Layout | None = None
        self._first = FirstSize()
        self._given, self._begins_s = False, 0.0

    @abstractmethod
    def _job(self, frame: FinishedFrame) -> dict[str, Any]:
        """What the process is told of the pipeline, with frames like this one; see `child`."""

    def _began(self) -> None:
        """Called when the first picture was given to the process.

        Raises:
            PipelineError: It goes no further.
        """

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`: in the pipeline's format."""
        if self._process is None:
            self._begin(frame)
        assert self._layout is not None
        assert self.size is not None
        form = FORMATS[self._layout.format]
        made = self._first.frame(frame.picture, frame.colours, form, self.size, self.notes)
        self.copies = 1 + (self._first.copies or 0)  # and the pipe
        return made, max(round((frame.time - self._begins_s) * 1e9), 0)

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        assert self._process is not None
        assert self._layout is not None
        made: av.VideoFrame
        made, time_ns = encoded
        pieces = self._layout.pieces(made)
        try:
            self._process.send(HEADER.pack(time_ns, self._layout.frame_bytes), *pieces)
            if not self._given:
                self._began()
            self._given = True
        except BrokenPipeError:
            raise self._why() from None
        except PipelineError as error:
            raise self._failure(error) from error
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
        if self.size is None:
            self.size = self._output_size(frame)
            self._first.begin(frame.picture)
        rate = frame.rate.limit_denominator(65535)
        colours = frame.colours
        job = {
            "kind": "sink",
            "formats": list(WRITTEN),
            "caps": f"width={self.size[0]},height={self.size[1]},framerate={rate.numerator}/"
            f"{rate.denominator},pixel-aspect-ratio=1/1,interlace-mode=progressive",
            "colours": {
                "full": colours.full_range,
                "matrix": colours.matrix,
                "primaries": colours.primaries,
                "transfer": colours.transfer,
            },
            **self._job(frame),
        }
        self._given, self._begins_s = False, frame.time
        self._process = PipelineProcess(self.address.text, job, self.packages)
        element = "GStreamer"
        try:
            while "layout" not in (message := self._read()):
                element = f"GStreamer's {message['encoder']}"
            self._layout = Layout.of(message["layout"])
        except PipelineError as error:
            self.close()
            if error.stage in ("parse", "caps"):
                raise ConfigError(self._said(error)) from error
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise
        self.encoder = f"{element}, given {self._layout.format}"

    def _read(self, timeout_s: float = START_S) -> dict[str, Any]:
        assert self._process is not None
        message = self._process.read(timeout_s, lambda: False)
        assert message is not None
        return message

    def _why(self) -> OutputNotWritableError:
        """Why the process takes nothing any more."""
        try:
            while True:
                self._read()
        except PipelineError as error:
            return self._failure(error)

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
