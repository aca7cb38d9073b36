"""`v4l2:///dev/video9`: a virtual camera (v4l2loopback), which programs open as any camera."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import av

from ...errors import ConfigError, OutputNotWritableError
from ...pictures.clips import ffmpeg_reason
from ...redaction import clean_error
from ..video.encoders import EncodeOptions
from .address import Address
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

PIXEL_FORMAT = "yuv420p"

ADVICE = "sudo modprobe v4l2loopback exclusive_caps=1 makes one"


class V4l2Sink(VideoSink):
    """Writes frames to a device in the size of the first one, as they are."""

    options: ClassVar[str] = "none of its own"

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        if any((options.encoder, options.preset, options.crf is not None)):
            raise ConfigError(f"'{address.text}' takes plain frames: leave encoder options out")
        self.device = Path(address.place)
        self._require_device()
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None
        self._first = FirstSize()
        self._count = 0

    def _require_device(self) -> None:
        try:
            mode = self.device.stat().st_mode
        except OSError as error:
            clean_error(error)
            raise OutputNotWritableError(f"no device '{self.device}'; {ADVICE}") from error
        if not stat.S_ISCHR(mode):
            raise OutputNotWritableError(f"'{self.device}' is no device; {ADVICE}")
        if not os.access(self.device, os.R_OK | os.W_OK):
            raise OutputNotWritableError(
                f"'{self.device}' may not be written: add the user to the group video "
                "(sudo usermod -aG video $USER) and log in again"
            )

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        if self._container is None:
            self._open(frame)
        assert self.size is not None
        made = self._first.frame(frame.picture, frame.colours, PIXEL_FORMAT, self.size, self.notes)
        self.copies = self._first.copies
        made.pts, made.time_base = self._count, Fraction(1, 1000)
        self._count += 1
        return self._stream.encode(made)

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        assert self._container is not None
        try:
            self._container.mux(encoded)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error
        return True

    def close(self) -> None:
        """See `VideoSink`."""
        if self._container is not None:
            container, self._container = self._container, None
            with suppress(av.FFmpegError, OSError, ValueError):
                container.close()

    def _open(self, frame: FinishedFrame) -> None:
        self.size = self._output_size(frame)
        self._first.begin(frame.picture)
        try:
            container = av.open(str(self.device), "w", format="v4l2")
            self._container = container
            stream: Any = container.add_stream("rawvideo", rate=Fraction(frame.rate))
            stream.width, stream.height = self.size
            stream.pix_fmt = PIXEL_FORMAT
            container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise self._failure(error) from error
        self._stream = stream

    def _failure(self, error: Exception) -> OutputNotWritableError:
        width, height = self.size or (0, 0)
        number = getattr(error, "errno", None)
        if number == errno.EBUSY:
            why = "another program holds it: end that one first"
        elif number in (errno.EINVAL, errno.ENOTTY):
            why = (
                f"it refuses {width}x{height} {PIXEL_FORMAT} ({ffmpeg_reason(error)}): it is no "
                f"output device, or a reader holds it at another size; {ADVICE}, --output-size "
                "gives another size"
            )
        else:
            why = ffmpeg_reason(error)
        return OutputNotWritableError(f"'{self.address.text}' does not take the video: {why}")
