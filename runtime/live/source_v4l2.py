"""`v4l2:///dev/video0?size=640x360&fps=30&format=nv12`: a camera of Linux."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av

from ...errors import ConfigError, InputNotFoundError
from ..gstreamer.jetson import v4l2_pipeline
from .address import Address
from .source import UNKNOWN_RATE, Clock, LiveFrame
from .source_gst import GstDecoded


class V4l2Source(GstDecoded):
    """A Video4Linux2 device, in the size, rate and pixel format asked for, else its own.

    NV12, YUYV and the like go from the driver's buffer to swscale as they are. `?decoder=gst` has
    GStreamer read and decode, which on a Jetson is the board's own decoder.
    """

    options: ClassVar[str] = "size, fps, format, timeout, decoder"
    reconnecting = False

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.device = Path(address.place)
        self._options: dict[str, str] = {}
        self._size: tuple[int, int] | None = None
        fps = float(UNKNOWN_RATE)
        if address.has("size"):
            self._size = address.size("")
            self._options["video_size"] = "{}x{}".format(*self._size)
        if address.has("fps"):
            fps = address.number("fps", fps, low=0.1, high=1000)
            self._options["framerate"] = f"{fps:g}"
        self._asked_rate = Fraction(fps).limit_denominator(1001)
        if address.has("format"):
            self._options["input_format"] = address.take("format", "")
        if "video4linux2,v4l2" not in av.formats_available:
            raise ConfigError("this FFmpeg cannot read Video4Linux2 devices; install PyPI's PyAV")

    @property
    def asked(self) -> tuple[tuple[int, int] | None, Fraction | None]:
        """See `VideoSource`."""
        return self._size, self._asked_rate

    def _connected(self, connection: int) -> Iterator[LiveFrame]:
        """See `AvSource`."""
        if self.decoder == "ffmpeg":
            yield from super()._connected(connection)
            return
        self._require_device()
        yield from self._through_gst(v4l2_pipeline(self.device, self._options), connection)

    def _require_device(self) -> None:
        if not self.device.exists():
            found = ", ".join(sorted(f"/dev/{p.name}" for p in Path("/dev").glob("video*")))
            raise InputNotFoundError(f"no device '{self.device}'; there is: {found or 'no camera'}")
        if not os.access(self.device, os.R_OK | os.W_OK):
            raise InputNotFoundError(
                f"'{self.device}' may not be read: add the user to the group video "
                "(sudo usermod -aG video $USER) and log in again"
            )

    def _open(self) -> av.container.InputContainer:
        self._require_device()
        return av.open(
            str(self.device), format="v4l2", options=self._options, timeout=self.timeout_s
        )
