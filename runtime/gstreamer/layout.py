"""Frames as GStreamer lays them out in memory and as FFmpeg does, planes copied between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np

from ...arrays import Levels
from ...errors import UnsupportedVideoError
from ...pictures.colour import Colours, resolved, tagged
from ...pictures.hdr import is_hdr
from ...pictures.yuv_picture import YuvPicture

FORMATS = {
    "NV12": "nv12",
    "I420": "yuv420p",
    "BGRx": "bgr0",
    "RGBx": "rgb0",
    "RGB": "rgb24",
    "BGR": "bgr24",
    "YUY2": "yuyv422",
    "UYVY": "uyvy422",
    "GRAY8": "gray",
    "P010_10LE": "p010le",
}
"""GStreamer's names of what is taken and given, best first, and FFmpeg's."""

WRITTEN = ("NV12", "I420", "BGRx", "RGBx", "RGB", "BGR")
"""Of these, what pictures are made into, best first."""


@dataclass(frozen=True)
class Layout:
    """How a pipeline's frames lie in memory."""

    format: str
    """Of `FORMATS`."""

    width: int
    height: int
    """Pixels."""

    rate: Fraction | None
    """Nominal frames a second; None where it is not known."""

    strides: tuple[int, ...]
    """Bytes from row to row, a plane each."""

    offsets: tuple[int, ...]
    """Where each plane begins, in bytes."""

    frame_bytes: int
    """Of a frame, padding included."""

    colours: Colours

    @property
    def bits(self) -> int:
        """Of a level."""
        return 10 if self.format == "P010_10LE" else 8

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Layout:
        """Read what the pipeline's process says."""
        rate = message["rate"]
        colours = resolved(
            message["matrix"],
            message["primaries"],
            message["transfer"],
            height=message["height"],
            full_range=bool(message["full"]),
            rgb=message["format"] in ("BGRx", "RGBx", "RGB", "BGR"),
        )
        return cls(
            message["format"],
            message["width"],
            message["height"],
            Fraction(rate[0], rate[1]) if rate[0] and rate[1] else None,
            tuple(message["strides"]),
            tuple(message["offsets"]),
            message["bytes"],
            colours,
        )

    def require_sdr(self) -> None:
        """Refuse HDR, where pictures have 8 bits.

        Raises:
            UnsupportedVideoError: The frames are PQ or HLG.
        """
        if is_hdr(self.colours.transfer):
            raise UnsupportedVideoError(
                "the pipeline gives HDR, which an 8-bit network would show with wrong colours; "
                "tone map it before its end"
            )

    def laid(self, meta: Any, size: int) -> Layout:
        """The same with the rows of a buffer that lie otherwise.

        Args:
            meta: `GstVideoMeta` of the buffer.
            size: Bytes of it.
        """
        return replace(
            self, strides=tuple(meta.stride), offsets=tuple(meta.offset), frame_bytes=size
        )

    def picture(self, data: bytearray | memoryview) -> YuvPicture | av.VideoFrame:
        """What a frame is: its planes where they lie if it is 4:2:0, else a frame of FFmpeg's.

        Chroma is taken to lie left: below 577 rows GStreamer says "jpeg" where nothing is known.

        Args:
            data: Of one frame; planes without padding stay in it, so it must not be changed.
        """
        if self.format not in ("NV12", "I420"):
            return self.frame(data)
        rows, columns = (self.height + 1) // 2, (self.width + 1) // 2
        luma = self._plane(data, 0, self.height, self.width)
        if self.format == "I420":
            pairs = [self._plane(data, index, rows, columns) for index in (1, 2)]
            return YuvPicture(luma, np.stack(pairs, axis=-1), self.colours)
        chroma = self._plane(data, 1, rows, 2 * columns)
        is_one = (
            (self.height % 2, self.width % 2) == (0, 0)
            and self.strides[0] == self.strides[1] == self.width
            and self.offsets[1] == self.offsets[0] + luma.size
        )
        both = self._plane(data, 0, self.height + rows, self.width) if is_one else None
        return YuvPicture(luma, chroma.reshape(rows, columns, 2), self.colours, both)

    def _plane(self, data: bytearray | memoryview, index: int, rows: int, width: int) -> Levels:
        """A plane, (rows, width) uint8, C-contiguous: where it lies, or copied off its padding."""
        return np.ascontiguousarray(
            np.ndarray((rows, width), np.uint8, data, self.offsets[index], (self.strides[index], 1))
        )

    def frame(self, data: bytes | bytearray | memoryview) -> av.VideoFrame:
        """A frame of FFmpeg's with these bytes, its colours tagged; they are copied."""
        frame = av.VideoFrame(self.width, self.height, FORMATS[self.format])
        whole = np.frombuffer(data, np.uint8)
        planes: Any = frame.planes
        for plane, stride, offset in zip(planes, self.strides, self.offsets, strict=False):
            rows = np.zeros((plane.height, plane.line_size), np.uint8)
            used = min(stride, plane.line_size)
            # The last row may end before its stride does.
            end = offset + stride * (plane.height - 1) + used
            theirs = np.zeros(stride * plane.height, np.uint8)
            theirs[: end - offset] = whole[offset:end]
            rows[:, :used] = theirs.reshape(plane.height, stride)[:, :used]
            plane.update(rows)
        if not frame.format.is_rgb:
            tagged(frame, self.colours)
        return frame

    def pieces(self, frame: av.VideoFrame) -> list[memoryview]:
        """The bytes of a frame as the pipeline wants them; not copied where they lie so already."""
        found: list[memoryview] = []
        at, planes = 0, cast("Any", frame.planes)
        for plane, stride, offset in zip(planes, self.strides, self.offsets, strict=False):
            line, height = plane.line_size, plane.height
            if offset > at:
                found.append(memoryview(bytes(offset - at)))
            rows: Any = plane
            if line != stride:
                used = min(line, stride)
                rows = np.zeros((height, stride), np.uint8)
                rows[:, :used] = np.frombuffer(plane, np.uint8).reshape(height, line)[:, :used]
            found.append(memoryview(rows).cast("B"))
            at = max(at, offset) + stride * height
        if at < self.frame_bytes:
            found.append(memoryview(bytes(self.frame_bytes - at)))
        return found
