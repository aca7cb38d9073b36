"""Pictures of another size than the output's: scaled to fit, centred on black."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ...arrays import Levels
from ...pictures.colour import Colours
from ...pictures.copies import copied
from ...pictures.yuv import frame_of
from ...pictures.yuv_picture import AnyPicture, rgb_of
from .notes import Notes


def letterbox(rgb: Levels, size: tuple[int, int], scaler: VideoReformatter, notes: Notes) -> Levels:
    """Scale a picture to fit the output, centred on black, with a note.

    Args:
        rgb: (H, W, 3) uint8, or uint16 (see `arrays.Frame`).
        size: Width and height of the output in pixels.
        scaler: Reused between pictures.
        notes: Of the sink.

    Returns:
        (height, width, 3) of the same type.
    """
    width, height = size
    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    inner = (max(round(rgb.shape[1] * scale), 1), max(round(rgb.shape[0] * scale), 1))
    note = (
        f"frames of {rgb.shape[1]}x{rgb.shape[0]} are scaled to {inner[0]}x{inner[1]}: "
        f"the output stays {width}x{height}"
    )
    notes.add(note, once=True)
    kind = "rgb24" if rgb.dtype == np.uint8 else "rgb48le"
    scaled = scaler.reformat(
        av.VideoFrame.from_ndarray(rgb, format=kind),
        width=inner[0],
        height=inner[1],
        interpolation="BICUBIC",
    ).to_ndarray()
    canvas = np.zeros((height, width, 3), rgb.dtype)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = scaled
    return canvas


class FirstSize:
    """Gives a sink pictures of the size that its first one had: others are letterboxed."""

    def __init__(self) -> None:
        self._reader, self._scaler, self._writer = (VideoReformatter() for _ in range(3))
        self._first: tuple[int, ...] = ()
        self.copies: int | None = None
        """Of the latest picture on its way to its frame; None before the first."""

    def begin(self, picture: AnyPicture) -> None:
        """Take the size of the first picture."""
        self._first = picture.shape[:2]

    def is_of(self, picture: AnyPicture) -> bool:
        """Whether a picture has that size."""
        return picture.shape[:2] == self._first

    def rgb(self, picture: AnyPicture, size: tuple[int, int], notes: Notes) -> Levels:
        """A picture as RGB, letterboxed where it has another size than the first.

        Args:
            picture: RGB or YUV 4:2:0.
            size: Width and height of the output in pixels.
            notes: Of the sink.
        """
        rgb = rgb_of(picture, self._reader)
        return rgb if self.is_of(rgb) else letterbox(rgb, size, self._scaler, notes)

    def frame(
        self,
        picture: AnyPicture,
        colours: Colours,
        pixel_format: str,
        size: tuple[int, int],
        notes: Notes,
    ) -> av.VideoFrame:
        """A picture as FFmpeg's frame; 4:2:0 that is wanted as 4:2:0 is never made RGB.

        Args:
            picture: RGB or YUV 4:2:0.
            colours: What the frame's numbers are to mean.
            pixel_format: FFmpeg's.
            size: Width and height of the output in pixels.
            notes: Of the sink.

        Returns:
            A frame with all colour tags set; its PTS is not.
        """
        given = picture if self.is_of(picture) else self.rgb(picture, size, notes)
        made = frame_of(given, colours, pixel_format, self._writer, size=size, reader=self._reader)
        self.copies = copied(picture, made)
        return made
