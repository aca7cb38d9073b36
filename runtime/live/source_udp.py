"""`udp://HOST:PORT`: MPEG-TS over UDP, also multicast; listens at the address."""

from __future__ import annotations

import threading
import time
from typing import ClassVar

import av

from ...pictures.pyav import open_input
from .address import Address
from .source import Clock
from .source_av import AvSource

SOCKET_BYTES = 4 << 20
"""Asked of the system for the socket, and held by FFmpeg's reading thread: a keyframe comes in a
burst of several hundred packets."""

PROBE_BYTES, PROBE_US = "500000", "500000"
"""How much of a stream is looked at before the first frame."""


class UdpSource(AvSource):
    """An MPEG-TS stream sent to this machine.

    A frame is taken as complete when its packet (PES) is, as encoders send it. `parse=1` is for the
    few streams that spread a frame over several: FFmpeg then looks for the beginning of the next
    frame, which costs the time of one.
    """

    options: ClassVar[str] = "parse, timeout"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        parse = bool(address.number("parse", 0, low=0, high=1))
        # Not nobuffer: it throws away what was looked at first, and with it the first keyframe.
        self._flags = {} if parse else {"fflags": "noparse"}

    def _open(self) -> av.container.InputContainer:
        query = {"buffer_size": str(SOCKET_BYTES), "overrun_nonfatal": "1"}
        return open_input(
            self.address.url(**query),
            format="mpegts",
            options={
                **self._flags,
                "probesize": PROBE_BYTES,
                "analyzeduration": PROBE_US,
            },
            timeout=self.timeout_s,
        )
