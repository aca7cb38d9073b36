"""RGB pictures made smaller by areas, for callers who take pictures and no file."""

from __future__ import annotations

from typing import cast

import av
from av.video.reformatter import VideoReformatter

from ..arrays import Frame
from ..config import SCALE
from ..errors import ConfigError
from .colour import REDUCE


class Reducer:
    """Makes of the network's pictures those of a smaller scale.

    Args:
        scale: Times the input's size, up to the network's, which changes nothing.
        made: What the network makes.

    Raises:
        ConfigError: The network makes less.
    """

    def __init__(self, scale: int, made: int = SCALE) -> None:
        if scale > made:
            raise ConfigError(f"a scale of {scale}; the network makes {made} times the size")
        self.scale, self._made = scale, made
        self._reformatter = VideoReformatter()

    def __call__(self, picture: Frame) -> Frame:
        """Reduce one.

        Args:
            picture: (made * H, made * W, 3) uint8, C-contiguous.

        Returns:
            (scale * H, scale * W, 3) uint8.
        """
        if self.scale == self._made:
            return picture
        height, width = (side // self._made * self.scale for side in picture.shape[:2])
        reduced = self._reformatter.reformat(
            av.VideoFrame.from_numpy_buffer(picture, format="rgb24"),
            width=width,
            height=height,
            interpolation=REDUCE,
            threads=1,
        )
        return cast("Frame", reduced.to_ndarray())
