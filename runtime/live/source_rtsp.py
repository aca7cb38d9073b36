"""`rtsp://HOST/PATH?transport=tcp`: a network camera; comes back by itself after a loss."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import av

from ...errors import ConfigError
from ...pyav import open_input
from .address import Address
from .source import Clock
from .source_av import AvSource

TRANSPORTS = ("tcp", "udp")


class RtspSource(AvSource):
    """An RTSP stream, over one TCP connection or with RTP over UDP.

    Options that are not its own belong to the camera's address and are sent to it.
    """

    options: ClassVar[str] = "transport, timeout"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.transport = address.take("transport", "tcp")
        if self.transport not in TRANSPORTS:
            raise ConfigError(
                f"'{address.text}': transport={self.transport}; expected {' or '.join(TRANSPORTS)}"
            )
        self._url = address.url(**address.options)
        address.options.clear()

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
