"""A path such as `frame_%05d.png`: numbered pictures, or a single one."""

from __future__ import annotations

from pathlib import Path

from ...errors import ConfigError
from ...pictures.colour import SDR_BT709
from ..video.encoders import EncodeOptions
from ..video.output_file import check_output
from ..video.sink_plain import JPEG, PictureFiles
from .address import Address
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

FORMATS = {"png": "rgb24", "mjpeg": "yuvj444p"}
"""Encoders, and what each is given."""


class PicturesSink(VideoSink):
    """Writes each frame as a picture of 8 bits, numbered from 1; of the size of the first one."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        super().__init__(address, options)
        path = Path(address.place)
        check_output(path, options)
        if any((options.encoder, options.preset, options.crf is not None)):
            raise ConfigError(f"'{address.text}': pictures have no encoder options: leave them out")
        self._files = PictureFiles(path, overwrite=options.overwrite)
        self.encoder = self._files.encoder
        self._first = FirstSize()

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        if self.size is None:
            self.size = self._output_size(frame)
            self._first.begin(frame.picture)
        kind = self._files.encoder
        colours = JPEG if kind == "mjpeg" else SDR_BT709
        made = self._first.frame(frame.picture, colours, FORMATS[kind], self.size, self.notes)
        self.copies = self._first.copies
        return self._files.encoded(made)

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        self._files.write(encoded, "the source")
        return True
