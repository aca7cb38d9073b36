"""A stream's place on the page of all streams: what `sink_page` is for a page of its own."""

from __future__ import annotations

from ..video.encoders import EncodeOptions
from .address import Address
from .sink import Encoded, FinishedFrame, VideoSink
from .sink_page import JpegEncoder, PageSink
from .wall import TilePage, Wall

TILE_WIDTH = 480
"""Pixels at most."""

TILE_INTERVAL_S = 0.2
"""From one small picture to the next."""


class TileSink(PageSink):
    """Pictures of one stream for the wall.

    Args:
        address: Of the wall.
        wall: The server.
        name: Of the stream.
    """

    def __init__(self, address: Address, wall: Wall, name: str) -> None:
        VideoSink.__init__(self, address, EncodeOptions())
        self._wall, self._name = wall, name
        self._tile: TilePage = wall.open_page(name)
        self._tile_encoder = JpegEncoder()
        self._begin(self._tile)

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        if self._tile.tile_is_wanted and self._tile.tile_age_s >= TILE_INTERVAL_S:
            height, width = frame.picture.shape[:2]
            small = min(width, TILE_WIDTH)
            size = (max(small // 2 * 2, 2), max(round(height * small / width) // 2 * 2, 2))
            picture, _ = self._to_sdr(frame.picture, frame.colours, frame.hdr)
            self._tile.show_tile(self._tile_encoder.encode(picture, size))
        return super().encode(frame)

    def close(self) -> None:
        """See `VideoSink`."""
        self._wall.close_page(self._name, self._tile)
