"""`rtsp://HOST/PATH?transport=tcp`: pushes to an RTSP server (ANNOUNCE and RECORD)."""

from __future__ import annotations

from typing import ClassVar

import av

from ..video.encoders import EncodeOptions
from .address import Address
from .rtsp_target import rtsp_target
from .sink_pushed import PushedSink


class RtspSink(PushedSink):
    """Pushes over one TCP connection, or with RTP over UDP."""

    options: ClassVar[str] = "transport, timeout"

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self._url, self.transport = rtsp_target(address)

    def _open(self) -> av.container.OutputContainer:
        return av.open(
            self._url,
            "w",
            format="rtsp",
            options={"rtsp_transport": self.transport},
            timeout=self.timeout_s,
        )
