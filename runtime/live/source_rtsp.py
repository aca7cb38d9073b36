"""`rtsp://HOST/PATH?transport=tcp`: a network camera; comes back by itself after a loss.

`rtsps://` goes through TLS. Certificates are not checked: cameras sign their own.
"""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import av

from ...pictures.pyav import open_input
from .address import Address
from .rtsp_target import rtsp_target
from .source import Clock
from .source_av import AvSource


class RtspSource(AvSource):
    """An RTSP stream, over one TCP connection or with RTP over UDP.

    What of the address's query is not ours belongs to the camera, and is sent as it was given.
    """

    options: ClassVar[str] = "transport, timeout"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self._url, self.transport = rtsp_target(address)
        if address.scheme == "rtsps":
            self.notes.add("the camera's certificate is not checked, as cameras sign their own")

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
