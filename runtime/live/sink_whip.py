"""`whip://HOST/PATH?token=...`: WebRTC to a WHIP server, as browsers show it within a blink.

`whip://` speaks HTTP with it, `whips://` HTTPS. GStreamer's `webrtcbin` sends; a Jetson's own
encoder is used where there is one.
"""

from __future__ import annotations

import base64
import re
from fractions import Fraction
from typing import Any, ClassVar
from urllib.parse import unquote

from ...errors import ConfigError
from ..gstreamer.jetson import h264_encoders
from ..gstreamer.process import PACKAGES
from ..video.encoders import EncodeOptions
from .address import Address
from .sink import FinishedFrame
from .sink_pipeline import START_S, PipelineSink
from .sink_pushed import ComingBack

BITS_A_PIXEL = 0.1
"""What a stream gets where the address does not say; 2.8 Mbit a second at 1280x720 and 30 fps."""

LEAST_KBIT, MOST_KBIT = 100, 200_000

SILENT_S = 15.0
"""How long a server may report nothing before it counts as lost; they report each five seconds."""

PAY = "rtph264pay config-interval=-1 aggregate-mode=zero-latency"
RTP = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000"


class WhipSink(ComingBack, PipelineSink):
    """Encodes H.264 with GStreamer and sends it over WebRTC.

    The rest of the address's query belongs to the server, and is sent as it was given.
    """

    options: ClassVar[str] = "token, bitrate, stun, timeout"
    usual_timeout_s: ClassVar[float] = 10
    packages: ClassVar[str] = f"{PACKAGES} gstreamer1.0-plugins-ugly gstreamer1.0-nice " + (
        "gir1.2-gst-plugins-bad-1.0"
    )

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        token, user, place = _credentials(address)
        self._authorization = f"Bearer {token}" if token else user
        kbit = address.take("bitrate", "")
        self._kbit = None if kbit == "" else _kbit(address, kbit)
        self._stun = address.take("stun", "")
        if self._stun and not re.fullmatch(r"[\w.-]+:\d{1,5}", self._stun):
            raise ConfigError(f"'{address.text}': stun={self._stun}; expected HOST:PORT")
        scheme = "https" if address.scheme == "whips" else "http"
        query = f"?{'&'.join(address.fields)}" if address.fields else ""
        self._url = f"{scheme}://{place}{query}"
        address.fields.clear()
        self.patience_s = self.timeout_s + 2 * START_S

    def _began(self) -> None:
        """Wait until the server takes the stream."""
        while "connected" not in self._read(self.timeout_s + START_S):
            pass

    def _job(self, frame: FinishedFrame) -> dict[str, Any]:
        assert self.size is not None
        kbit = self._kbit or _usual_kbit(self.size, frame.rate)
        stun = f" stun-server=stun://{self._stun}" if self._stun else ""
        end = f"{PAY} ! {RTP} ! webrtcbin name=adcvsr-whip bundle-policy=max-bundle{stun}"
        return {
            "encoders": [
                (element, f"{part} ! {end}")
                for element, part in h264_encoders(float(frame.rate), kbit)
            ],
            "whip": {
                "url": self._url,
                "authorization": self._authorization,
                "timeout_s": self.timeout_s,
                "silent_s": SILENT_S,
            },
        }


def _credentials(address: Address) -> tuple[str, str, str]:
    """Token, header of a user and password, and the place without them."""
    token = address.take("token", "")
    user, at, place = address.place.rpartition("@")
    if token and at:
        raise ConfigError(f"'{address.text}' has a token and a user; the server takes one of them")
    if any(not letter.isprintable() or not letter.isascii() for letter in token):
        raise ConfigError(f"'{address.text}': the token holds letters that no header may have")
    login = base64.b64encode(unquote(user).encode()).decode()
    return token, f"Basic {login}" if at else "", place


def _kbit(address: Address, text: str) -> int:
    if not text.isdecimal() or not LEAST_KBIT <= int(text) <= MOST_KBIT:
        raise ConfigError(
            f"'{address.text}': bitrate={text}; expected {LEAST_KBIT} to {MOST_KBIT}, in 1000 bits "
            "a second"
        )
    return int(text)


def _usual_kbit(size: tuple[int, int], rate: Fraction) -> int:
    wanted = round(BITS_A_PIXEL * size[0] * size[1] * float(rate) / 1000)
    return min(max(wanted, LEAST_KBIT), MOST_KBIT)
