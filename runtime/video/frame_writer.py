"""Frames as they are, on standard output: y4m, or planes alone without a header.

Standard output belongs to the frames then: whatever else this process prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ...errors import ConfigError, OutputNotWritableError, StdoutClosedError
from ...pictures.colour import HD_LINES, MATRIX_BT601, MATRIX_BT709
from .encoders import EncodeOptions

Y4M = {
    "yuv420p": "420mpeg2",
    "yuv422p": "422",
    "yuv444p": "444",
    "yuv420p10le": "420p10",
    "yuv422p10le": "422p10",
    "yuv444p10le": "444p10",
}
"""Pixel formats that are written, by FFmpeg's name, and what y4m calls them."""

RAW = "rawvideo"
"""The encoder that leaves y4m's headers out."""

STDOUT_FD = 1


def guessed_matrix(height: int) -> int:
    """The matrix that readers take for video that does not tell, by the lines it has."""
    return MATRIX_BT709 if height >= HD_LINES else MATRIX_BT601


def require_raw(options: EncodeOptions) -> str:
    """The encoder of standard output.

    Raises:
        ConfigError: Another one is asked for, or options that none has.
    """
    if options.encoder not in (None, "y4m", "yuv4mpegpipe", RAW):
        raise ConfigError(
            f"encoder '{options.encoder}' cannot write to '-', which is y4m; --encoder {RAW} "
            "leaves its headers out, and another program encodes: adcvsr upscale IN - | ffmpeg "
            f"-i - -c:v {options.encoder} OUT"
        )
    if options.preset is not None or options.crf is not None:
        raise ConfigError("'-' is y4m, which has no --preset and no --crf: leave them out")
    return RAW if options.encoder == RAW else "y4m"


class FrameWriter:
    """Writes frames of one size to standard output.

    Args:
        encoder: `y4m` or `RAW`.
        width: Pixels.
        height: Pixels.
        pixel_format: One of `Y4M`.
        rate: Frames a second, constant.
        aspect: Width over height of a pixel.
        full_range: Whether 0 is black.

    Raises:
        OutputNotWritableError: Standard output is a terminal or closed.
    """

    def __init__(
        self,
        encoder: str,
        width: int,
        height: int,
        pixel_format: str,
        rate: Fraction,
        *,
        aspect: Fraction = Fraction(1),
        full_range: bool = False,
    ) -> None:
        try:
            if os.isatty(STDOUT_FD):
                raise OutputNotWritableError(
                    "'-' is the terminal, which shows no video; send it into a program or file: "
                    "adcvsr upscale IN - | ffmpeg -i - OUT.mp4"
                )
            sys.stdout.flush()
            self._fd = os.dup(STDOUT_FD)
            os.dup2(2, STDOUT_FD)
        except OSError as error:
            if isinstance(error, OutputNotWritableError):
                raise
            raise OutputNotWritableError("'-': standard output is closed") from error
        self._closed = False
        self._frame_header = b""
        self._head = b""
        if encoder != RAW:
            span = "FULL" if full_range else "LIMITED"
            self._head = (
                f"YUV4MPEG2 W{width} H{height} F{rate.numerator}:{rate.denominator} Ip "
                f"A{aspect.numerator}:{aspect.denominator} C{Y4M[pixel_format]} "
                f"XCOLORRANGE={span}\n"
            ).encode()
            self._frame_header = b"FRAME\n"

    def write(self, frame: av.VideoFrame) -> None:
        """Write a frame.

        Raises:
            StdoutClosedError: Nobody reads any more.
            OutputNotWritableError: It cannot be written.
        """
        self._send(self._head + self._frame_header)
        self._head = b""
        planes: Any = frame.planes
        for plane, component in zip(planes, frame.format.components, strict=True):
            used = plane.width * (2 if component.bits > 8 else 1)
            rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
            whole: Any = rows if used == plane.line_size else np.ascontiguousarray(rows[:, :used])
            self._send(memoryview(whole).cast("B"))

    def _send(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BrokenPipeError as error:
            raise StdoutClosedError("the program that read standard output closed it") from error
        except OSError as error:
            raise OutputNotWritableError(f"writing to '-' failed: {error.strerror}") from error

    def close(self) -> None:
        """Give standard output back; safe to call twice."""
        if not self._closed:
            self._closed = True
            os.dup2(self._fd, STDOUT_FD)
            os.close(self._fd)
