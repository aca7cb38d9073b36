"""`udp://HOST:PORT`: MPEG-TS over UDP, also multicast; nobody has to listen."""

from __future__ import annotations

from typing import ClassVar

import av

from .sink_encoded import EncodedSink

PACKET_BYTES = 1316
"""Seven packets of MPEG-TS: what fits into an Ethernet frame."""


class UdpSink(EncodedSink):
    """Sends MPEG-TS."""

    options: ClassVar[str] = "none of its own"

    def _open(self) -> av.container.OutputContainer:
        return av.open(
            self.address.url(pkt_size=str(PACKET_BYTES)),
            "w",
            format="mpegts",
            # With its length written a frame is complete when it is there, not when the next comes.
            options={"omit_video_pes_length": "0", "max_delay": "0", "flush_packets": "1"},
        )
