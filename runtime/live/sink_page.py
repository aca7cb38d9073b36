"""`http://127.0.0.1:8080`: a page that shows input and output with a slider, and the figures.

Every viewer gets the newest pair of pictures his connection can take; nothing is encoded while
nobody looks. Pairs travel as one record, so that both sides of the slider are of the same moment.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar
from urllib.parse import urlsplit

import av
from av.video.reformatter import VideoReformatter

from ...errors import ConfigError
from ...pictures.colour import Colours, frame_from_rgb
from ...pictures.yuv_picture import AnyPicture, rgb_of
from ...redaction import learn_piece
from ..video.encoders import EncodeOptions
from .address import Address
from .depth import ToSdr
from .model_switch import ModelSwitch
from .page_server import PageServer
from .page_state import PageState
from .sink import Encoded, FinishedFrame, VideoSink
from .zoom import Zoom

TOKEN_VARIABLE = "ADCVSR_PAGE_TOKEN"
"""Where the token is looked for; in the address it would show in the list of processes."""

MIN_TOKEN_LENGTH = 16

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

QUALITY = "3"
"""Quantizer of the pictures, 1 (best) to 31."""

_JPEG_COLOURS = Colours(matrix=5, full_range=True)


class PageSink(VideoSink):
    """Serves the page, its pictures, `/stats` (JSON), `/metrics` (Prometheus), `/models`, `/crop`.

    Loopback needs no token. Any other address needs one of at least 16 characters, in the
    environment variable ADCVSR_PAGE_TOKEN or as `?token=`.
    """

    options: ClassVar[str] = "token, viewers"
    switches_models: ClassVar[bool] = True
    reduces: ClassVar[bool] = True

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        if any((options.encoder, options.preset, options.crf is not None)):
            raise ConfigError(f"'{address.text}' sends JPEG pictures: leave encoder options out")
        server = self._server = PageServer(*page_place(address))
        self._begin(server)
        self._closing = threading.Lock()
        self.notes.add(f"the page: {server.url}" + ("?token=..." if server.token else ""))

    def _begin(self, page: PageState) -> None:
        """Show what is encoded from now on.

        Args:
            page: Where.
        """
        self._page = page
        self.encoder = "mjpeg"
        self._small, self._big = JpegEncoder(), JpegEncoder()
        self._to_sdr = ToSdr()

    @property
    def port(self) -> int:
        """The port that is listened at."""
        return self._server.port

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        self.size = self._output_size(frame)
        if not self._page.viewers:
            return b""
        frame = self._to_sdr.frame(frame)
        source, picture = (
            self._small.encode(frame.source),
            self._big.encode(frame.picture, self.size),
        )
        head = json.dumps(
            {
                "time": round(frame.time, 3),
                "age_ms": round(1000 * (time.monotonic() - frame.captured), 1),
                "size": list(self.size),
            }
        ).encode()
        lengths = (len(part).to_bytes(4, "big") for part in (head, source, picture))
        return b"".join([*lengths, head, source, picture])

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`; viewers take it from there at their own pace."""
        if encoded:
            self._page.show(encoded)
        return True

    def publish(self, record: Mapping[str, Any], metrics: str) -> None:
        """See `VideoSink`."""
        text = json.dumps({**record, "viewers": self._page.viewers})
        self._page.tell(text.encode(), metrics.encode())

    def offer(self, switch: ModelSwitch, zoom: Zoom) -> None:
        """See `VideoSink`."""
        self._page.switch, self._page.zoom = switch, zoom

    def close(self) -> None:
        """See `VideoSink`."""
        with self._closing:
            self._server.close()


def page_place(address: Address) -> tuple[str, int, str, int]:
    """Host, port, token and the most viewers of a page's address; its options are taken out.

    Raises:
        ConfigError: It is no address of a page, or can be reached from elsewhere without a token.
    """
    try:
        place = urlsplit(f"//{address.place}")
        host, port = place.hostname or "127.0.0.1", place.port
    except ValueError as error:
        raise ConfigError(f"'{address.text}': {error}; expected http://HOST:PORT") from error
    if place.username is not None or place.path.strip("/"):
        raise ConfigError(
            f"'{address.text}': the page has neither users nor folders; expected "
            "http://HOST:PORT, with ?token=... where others are to be kept out"
        )
    token = address.take("token", "") or os.environ.get(TOKEN_VARIABLE, "")
    learn_piece(token)
    if host not in LOOPBACK and len(token) < MIN_TOKEN_LENGTH:
        raise ConfigError(
            f"'{address.text}' can be reached from elsewhere: set a token of at least "
            f"{MIN_TOKEN_LENGTH} characters, export {TOKEN_VARIABLE}=$(openssl rand -hex 16)"
        )
    viewers = int(address.number("viewers", 4, low=1, high=64))
    return host, port or 8080, token, viewers


class JpegEncoder:
    """Pictures to JPEG, with FFmpeg's own encoder."""

    def __init__(self) -> None:
        self._context: Any = None
        self._reformatter, self._reader = VideoReformatter(), VideoReformatter()

    def encode(self, picture: AnyPicture, size: tuple[int, int] | None = None) -> bytes:
        """Encode a picture.

        Args:
            picture: (H, W, 3) uint8, C-contiguous, or YUV 4:2:0, of any size.
            size: Width and height to scale to; None keeps the picture's.
        """
        rgb = rgb_of(picture, self._reader)
        width, height = size or rgb.shape[1::-1]
        if self._context is None or (self._context.width, self._context.height) != (width, height):
            self._context = context = av.CodecContext.create("mjpeg", "w")
            context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
            context.time_base, context.framerate = Fraction(1, 30), Fraction(30)
            context.color_range = 2
            context.options = {"qmin": QUALITY, "qmax": QUALITY}
            context.thread_count = 1
        frame = frame_from_rgb(rgb, _JPEG_COLOURS, "yuvj420p", self._reformatter, size=size)
        frame.pts = None
        return b"".join(bytes(packet) for packet in self._context.encode(frame))
