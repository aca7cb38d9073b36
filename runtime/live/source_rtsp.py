"""`rtsp://HOST/PATH?transport=tcp`: a network camera; comes back by itself after a loss.

`?decoder=gst` has GStreamer receive and decode, which on a Jetson is the board's own decoder.
`rtsps://` goes through TLS. Certificates are not checked: cameras sign their own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import ClassVar

import av

from ...errors import ConfigError
from ...pictures.pyav import open_input
from ..gstreamer.jetson import rtsp_pipeline
from .address import Address
from .rtsp_target import rtsp_target
from .source import Clock, LiveFrame
from .source_gst import GstDecoded


class RtspSource(GstDecoded):
    """An RTSP stream, over one TCP connection or with RTP over UDP.

    What of the address's query is not ours belongs to the camera, and is sent as it was given.
    """

    options: ClassVar[str] = "transport, timeout, decoder"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        if self.decoder == "gst" and address.scheme == "rtsps":
            raise ConfigError(
                f"'{address.text}': decoder=gst is for rtsp://; through TLS write the pipeline: "
                "gst:rtspsrc location=rtsps://... ! decodebin"
            )
        self._url, self.transport = rtsp_target(address)
        if address.scheme == "rtsps":
            self.notes.add("the camera's certificate is not checked, as cameras sign their own")

    def _connected(self, connection: int) -> Iterator[LiveFrame]:
        """See `AvSource`; GStreamer's losses are losses as FFmpeg's are."""
        if self.decoder == "ffmpeg":
            yield from super()._connected(connection)
            return
        yield from self._through_gst(rtsp_pipeline(self._url, self.transport), connection)

    def _open(self) -> av.container.InputContainer:
        return open_input(
            self._url,
            format="rtsp",
            options={
                "rtsp_transport": self.transport,
                "allowed_media_types": "video",
                "timeout": str(int(self.timeout_s * 1e6)),
            },
            timeout=self.timeout_s,
        )
