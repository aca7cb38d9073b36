"""`rtmp://HOST/APP/KEY`: pushes to an RTMP server, as streaming sites have them; `rtmps://` too."""

from __future__ import annotations

import av

from ..video.encoders import EncodeOptions
from .address import Address
from .sink_pushed import PushedSink


class RtmpSink(PushedSink):
    """Pushes H.264 in FLV; what of the address's query is not ours is sent as it was given."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        self._url = address.url()
        address.fields.clear()

    def _open(self) -> av.container.OutputContainer:
        return av.open(
            self._url,
            "w",
            format="flv",
            options={"flvflags": "no_duration_filesize", "flush_packets": "1"},
            timeout=self.timeout_s,
        )
