"""The contract of networks that are not causal: a window of frames in, pictures out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from ...arrays import Frame
from .frames import crop, pad_to_multiple
from .session import Session
from .tiles import Canvas


class ClipSession(Session):
    """A network that is not causal: a window of frames to features, then picture by picture.

    Only the first half couples frames; the second takes the features of one frame and most of the
    memory, so it runs once for each picture that is wanted.
    """

    def upscale_window(self, window: Sequence[Frame], first: int, last: int) -> Iterator[Frame]:
        """Upscale frames `first` to `last` (not included) of a window.

        Iterate to the end, or drop the iterator, before the next call.

        Args:
            window: T frames (H, W, 3) uint8 RGB of one size; all of them are seen.
            first: Index in the window.
            last: Index in the window.

        Yields:
            (sH, sW, 3) uint8 RGB, C-contiguous, owned by the caller.

        Raises:
            RuntimeError: The session is not open.
            ValueError: A frame has another shape or dtype, or frames differ in size.
        """
        for frame in window:
            self._require(frame)
            if frame.shape != window[0].shape:
                raise ValueError(f"frames of {window[0].shape} and {frame.shape} in one window")
        shape = (len(window), *window[0].shape[:2])
        if shape != self._shape:
            with self._preparing(shape):
                layout = self._lay_out(shape)
                self._resize(layout.height, layout.width, len(window))
                self._shape = shape
        multiple = self.bundle.size_multiple
        clip = np.stack([pad_to_multiple(frame, multiple) for frame in window])  # (T, H, W, 3)
        for picture in self._pictures(clip, range(first, last)):
            yield (
                picture
                if clip.shape[:3] == shape
                else crop(picture, window[0].shape, self.bundle.scale)
            )

    def _pictures(self, clip: Frame, wanted: range) -> Iterator[Frame]:
        assert self.layout is not None
        if self.layout.count == 1:
            self._encode(clip)
            for index in wanted:
                yield self._decode(index)
            return
        # Tile by tile with all its pictures: features are several times larger than pictures.
        canvases = [Canvas(self.layout, self.bundle.scale) for _ in wanted]
        for rows, columns in self.layout:
            tile = clip[:, rows.start : rows.stop, columns.start : columns.stop]
            self._encode(np.ascontiguousarray(tile))
            for index, canvas in zip(wanted, canvases, strict=True):
                canvas.put(rows, columns, self._decode(index))
        for canvas in canvases:
            yield canvas.picture

    @abstractmethod
    def _resize(self, height: int, width: int, frames: int) -> None:
        """Allocate buffers for windows of one length and input size.

        Args:
            height: Of a frame or tile.
            width: Likewise.
            frames: The bundle's window, or fewer for a video that is shorter.
        """

    @abstractmethod
    def _encode(self, clip: Frame) -> None:
        """Turn a window into features, kept until the next call; no state is carried.

        Args:
            clip: (T, H, W, 3) of the size given to `_resize`, C-contiguous.
        """

    @abstractmethod
    def _decode(self, index: int) -> Frame:
        """Turn the features of one frame into its picture.

        Args:
            index: Of the frame in the window.

        Returns:
            (sH, sW, 3), owned by the caller.
        """
