"""`udp://HOST:PORT`: MPEG-TS over UDP, also multicast; listens at the address."""

from __future__ import annotations

from typing import ClassVar

import av

from .source_av import AvSource

SOCKET_BYTES = 4 << 20
"""Asked of the system for the socket, and held by FFmpeg's reading thread: a keyframe comes in a
burst of several hundred packets."""

PROBE_BYTES, PROBE_US = "500000", "500000"
"""How much of a stream is looked at before the first frame."""


class UdpSource(AvSource):
    """An MPEG-TS stream sent to this machine."""

    options: ClassVar[str] = "timeout"

    def _open(self) -> av.container.InputContainer:
        query = {"buffer_size": str(SOCKET_BYTES), "overrun_nonfatal": "1"}
        return av.open(
            self.address.url(**query),
            format="mpegts",
            options={"fflags": "nobuffer", "probesize": PROBE_BYTES, "analyzeduration": PROBE_US},
            timeout=self.timeout_s,
            metadata_errors="replace",
        )
