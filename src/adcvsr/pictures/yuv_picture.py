"""A picture as video has it, YUV 4:2:0 of 8 bits: what a network takes and gives beside RGB.

PyAV is needed only where one meets FFmpeg: a network runs without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..arrays import Frame, Levels
from .crop import Crop

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

    from .colour import Colours


AnyPicture: TypeAlias = "Frame | YuvPicture"
"""What goes from a source through a network to a sink: RGB, or YUV 4:2:0."""


@dataclass(frozen=True)
class YuvPicture:
    """One picture, its chroma left and between two rows."""

    luma: Levels
    """(H, W) uint8, C-contiguous."""

    chroma: Levels
    """(ceil(H/2), ceil(W/2), 2) uint8, C-contiguous: U and V."""

    colours: Colours
    """How the numbers mean colours."""

    both: Levels | None = None
    """(3H/2, W) uint8, C-contiguous, where luma and chroma lie in one memory as in NV12. FFmpeg
    then takes it without a copy, and it must not be changed afterwards."""

    @classmethod
    def empty(cls, height: int, width: int, colours: Colours) -> YuvPicture:
        """A picture of even sides to be filled, luma and chroma in one memory."""
        both = np.empty((height // 2 * 3, width), np.uint8)
        chroma = both[height:].reshape(height // 2, width // 2, 2)
        return cls(both[:height], chroma, colours, both)

    @property
    def shape(self) -> tuple[int, int]:
        """H and W."""
        height, width = self.luma.shape
        return height, width

    def frame(self) -> av.VideoFrame:
        """As NV12 for FFmpeg with all tags set: of the same memory where there is one, else a copy.

        FFmpeg has no half pairs: of an odd width or height the last column or row is repeated.
        """
        import av

        from .colour import tagged

        if self.both is not None:
            frame = av.VideoFrame.from_numpy_buffer(self.both, format="nv12")
            return tagged(frame, self.colours)
        luma = self.luma
        height, width = (side + side % 2 for side in self.shape)
        if luma.shape != (height, width):
            luma = np.pad(luma, ((0, height - luma.shape[0]), (0, width - luma.shape[1])), "edge")
        frame = av.VideoFrame(width, height, "nv12")
        for plane, rows in zip(
            frame.planes, (luma, self.chroma.reshape(height // 2, width)), strict=True
        ):
            np.copyto(plane_lines(plane)[: len(rows), :width], rows)
        return tagged(frame, self.colours)

    def rgb(self, reformatter: VideoReformatter) -> Levels:
        """The picture as (H, W, 3) uint8 RGB, for views and comparisons."""
        from .colour import rgb_from_frame, tag_left

        height, width = self.shape
        return np.ascontiguousarray(
            rgb_from_frame(tag_left(self.frame()), reformatter)[:height, :width]
        )

    def padded(self, multiple: int) -> YuvPicture:
        """The same with sides that are multiples: the edges are repeated."""
        height, width = (side + -side % multiple for side in self.shape)
        if (height, width) == self.shape:
            return self
        luma, chroma = (
            np.pad(
                plane,
                ((0, down - plane.shape[0]), (0, right - plane.shape[1]), (0, 0))[: plane.ndim],
                "edge",
            )
            for plane, down, right in (
                (self.luma, height, width),
                (self.chroma, (height + 1) // 2, (width + 1) // 2),
            )
        )
        return YuvPicture(luma, chroma, self.colours)

    def part(self, crop: Crop) -> YuvPicture:
        """A part that begins at an even column and row."""
        if crop.left % 2 or crop.top % 2:
            raise ValueError(f"{crop} begins between two pixels of chroma")
        half = Crop((crop.width + 1) // 2, (crop.height + 1) // 2, crop.left // 2, crop.top // 2)
        return YuvPicture(crop.of(self.luma), half.of(self.chroma), self.colours)


def planes_of(picture: AnyPicture) -> tuple[Levels, ...]:
    """All numbers of a picture, C-contiguous: (H, W, 3) RGB, or luma and chroma."""
    if isinstance(picture, YuvPicture):
        return picture.luma, picture.chroma
    return (picture,)


def rgb_of(picture: AnyPicture, reformatter: VideoReformatter) -> Levels:
    """A picture as (H, W, 3) uint8 RGB; `reformatter` is reused between pictures."""
    return picture.rgb(reformatter) if isinstance(picture, YuvPicture) else picture


def plane_lines(plane: av.video.plane.VideoPlane) -> Levels:
    """A plane's memory, (lines, bytes of a line) uint8."""
    memory: Any = plane
    return np.frombuffer(memory, np.uint8).reshape(-1, plane.line_size)
