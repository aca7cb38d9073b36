"""`test://?size=320x180&fps=30`: a moving picture with the time coded in it, at a steady rate."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator
from fractions import Fraction
from typing import ClassVar

from ...arrays import Levels
from ...errors import ConfigError
from ...pictures.spacing import crossfade
from ...pictures.synthetic import draw_clip
from .address import Address
from .pattern import MIN_HEIGHT_PX, MIN_WIDTH_PX, wall_ms, write_time
from .source import Clock, LiveFrame, VideoSource

MARGIN_SHARE = 8
"""The drawn scene is wider by this part of the frame's height to each side; the view wanders."""

PERIOD_S = 20.0
"""Of the view's way there and back: a quarter pixel a frame at 320x180 and 30 fps. The scene is all
hard edges, so that faster motion would look like a cut to the detector of scene cuts."""

PARTS = 16
"""Steps of the view in a pixel."""


class PatternSource(VideoSource):
    """A drawn scene the view wanders over, the moment of drawing coded along the upper edge.

    Frames are drawn when they are due; late ones follow at once, none is left out.
    """

    options: ClassVar[str] = "size, fps, frames"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.width, self.height = address.size("320x180")
        self._rate = Fraction(address.number("fps", 30, low=0.1, high=1000)).limit_denominator(1001)
        self._count = int(address.number("frames", 0, low=0, high=1e9))
        if self.width < MIN_WIDTH_PX or self.height < MIN_HEIGHT_PX:
            raise ConfigError(
                f"'{address.text}': {self.width}x{self.height} is too small for the time code; "
                f"expected at least {MIN_WIDTH_PX}x{MIN_HEIGHT_PX}"
            )

    @property
    def rate(self) -> Fraction:
        """See `VideoSource`."""
        return self._rate

    @property
    def size(self) -> tuple[int, int]:
        """See `VideoSource`."""
        return self.width, self.height

    def frames(self) -> Generator[LiveFrame, None, None]:
        """See `VideoSource`."""
        margin = max(self.height // MARGIN_SHARE, 2)
        scene = draw_clip(1, self.height, self.width + 2 * margin + 1)[0]
        began, index = self.clock(), 0
        while not self.stop.is_set() and not (self._count and index == self._count):
            wait = began + index / self._rate - self.clock()
            if wait > 0 and self.stop.wait(wait):
                return
            picture = self._view(scene, margin, float(index / self._rate))
            write_time(picture, wall_ms())
            yield LiveFrame(picture, float(index / self._rate), self.clock())
            index += 1

    def _view(self, scene: Levels, margin: int, seconds: float) -> Levels:
        """The view at a moment, at a fraction of a pixel."""
        place = margin * (1 + math.sin(2 * math.pi * seconds / PERIOD_S))
        left, part = divmod(round(place * PARTS), PARTS)
        here, next_px = (scene[:, x : x + self.width] for x in (left, left + 1))
        return crossfade(here, next_px, part, PARTS)
