"""`gst:PIPELINE`: pictures go into whatever GStreamer can encode, show or send them with.

    gst:nvvidconv ! nvv4l2h264enc ! h264parse ! rtph264pay ! udpsink host=192.168.1.2 port=5004

The pipeline's first element stays open: pictures enter there, in the first of NV12, I420, BGRx and
other RGB that it takes.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...errors import ConfigError
from ..gstreamer.jetson import encoder_missing
from ..video.encoders import EncodeOptions
from .address import Address
from .sink import FinishedFrame
from .sink_pipeline import PipelineSink


class GstSink(PipelineSink):
    """Gives pictures to the beginning of a pipeline, see `PipelineSink`."""

    options: ClassVar[str] = "none of its own"

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self.pipeline = address.place
        if not self.pipeline.strip("! "):
            raise ConfigError(
                "'gst:' names no pipeline; expected elements such as gst:videoconvert ! "
                "autovideosink"
            )
        if (missing := encoder_missing(self.pipeline)) is not None:
            raise ConfigError(missing)

    def _job(self, frame: FinishedFrame) -> dict[str, Any]:
        return {"pipeline": self.pipeline}
