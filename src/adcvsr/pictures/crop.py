"""A part of a picture, `WxH+X+Y` as ImageMagick and X11 write it: digital zoom.

crop = Crop.parse("320x180+100+50")
crop.require_within("in.mp4", 1920, 1080)
part = crop.of(picture)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ..arrays import Levels
from ..errors import ConfigError

_FORM = re.compile(r"(\d{1,5})x(\d{1,5})\+(\d{1,5})\+(\d{1,5})")


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels in a picture as it is shown."""

    width: int
    height: int
    left: int
    top: int

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.width}x{self.height}+{self.left}+{self.top}"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """Read `WxH+X+Y`.

        Raises:
            ConfigError: It is none, or holds no pixel.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None or not (int(found[1]) and int(found[2])):
            raise ConfigError(
                f"'{text}' is no part of a picture; expected WIDTHxHEIGHT+LEFT+TOP in pixels, such "
                "as 320x180+100+50"
            )
        return cls(*(int(number) for number in found.groups()))

    def fits(self, width: int, height: int) -> bool:
        """Whether it lies within a picture of this size in pixels."""
        return self.left + self.width <= width and self.top + self.height <= height

    def require_within(self, name: str, width: int, height: int) -> None:
        """Refuse what reaches out of a picture.

        Args:
            name: Of the picture, for the message.
            width: Of the picture as it is shown, in pixels.
            height: Likewise.

        Raises:
            ConfigError: It does.
        """
        if not self.fits(width, height):
            raise ConfigError(
                f"the part {self} reaches to {self.left + self.width},{self.top + self.height}, "
                f"outside of '{name}' with its {width}x{height} pixels; choose a smaller one"
            )

    def of(self, picture: Levels) -> Levels:
        """Cut it out.

        Args:
            picture: (H, W, 3), in which it lies.

        Returns:
            (height, width, 3), C-contiguous.
        """
        rows, columns = slice(self.top, self.top + self.height), slice(self.left, None)
        return np.ascontiguousarray(picture[rows, columns][:, : self.width])

    def turned_back(self, turns: int, width: int, height: int) -> Crop:
        """The same part of the picture as it is stored, which is shown turned.

        Args:
            turns: Quarter turns counterclockwise from stored to shown, as of `numpy.rot90`.
            width: Of the picture as it is shown.
            height: Likewise.
        """
        found = self
        for _ in range(turns % 4):
            left, top = height - found.top - found.height, found.left
            found = Crop(found.height, found.width, left, top)
            width, height = height, width
        return found
