"""A path, or `file:PATH?loop=1`: a video file played at its own pace, as a camera would."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np

from ...errors import ConfigError
from ..video.places import is_pipe
from ..video.read_options import ReadOptions
from ..video.source import FileSource, SourceFrame
from .address import Address
from .source import Clock, LiveFrame, VideoSource


class PacedFileSource(VideoSource):
    """Every frame of a file, none before its time; late frames follow at once.

    With `pace=0` no frame waits for its time: with the policy `every` any sink gets a whole file.
    """

    options: ClassVar[str] = "loop, pace"

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.path = Path(address.place)
        self.loop = bool(address.number("loop", 0, low=0, high=1))
        self._paces = bool(address.number("pace", 1, low=0, high=1))
        if self.loop and is_pipe(self.path):
            raise ConfigError(f"'{address.text}': standard input cannot be read again")
        self._rate: Fraction | None = None

    @property
    def rate(self) -> Fraction | None:
        """See `VideoSource`."""
        return self._rate

    def frames(self) -> Generator[LiveFrame, None, None]:
        """See `VideoSource`; a loop is a seek to the start."""
        while not self.stop.is_set():
            # Tone mapping is the network's thread's: here frames would wait for it.
            read = ReadOptions(hdr="keep" if self.hdr == "tonemap" else self.hdr)
            with FileSource(self.path, read, ended=self.stop) as reader:
                yield from self._paced(reader)
                self.damaged_packets += reader.damaged_packets
            if not self.loop:
                return

    def _paced(self, reader: FileSource) -> Iterator[LiveFrame]:
        info = reader.info
        bits, facts = info.planes.bits, reader.hdr
        deep = self.wants_deep(bits, facts) or facts is not None
        reader.keep(deep=deep, yuv=not (deep or info.rotation or reader.why_not_yuv()))
        self._rate = info.rate
        began: float | None = None
        for item in reader:
            if not isinstance(item, SourceFrame):
                continue
            seconds = float(item.pts * info.time_base)
            began = self.clock() - seconds if began is None else began
            wait = began + seconds - self.clock() if self._paces else 0
            if (wait > 0 and self.stop.wait(wait)) or self.stop.is_set():
                return
            picture = item.picture
            if info.rotation:
                picture = np.ascontiguousarray(np.rot90(item.rgb, info.rotation // 90))
            yield LiveFrame(
                picture,
                seconds,
                self.clock(),
                colours=info.colours,
                bits=bits,
                hdr=facts,
                lossless=True,
            )
        for note in reader.notes:
            self.notes.add(note, once=True)
