"""More than 8 bits and HDR in a live run: what is kept, what becomes 8 bits of SDR, and why.

Frames of more than 8 bits go through the network as uint16 RGB where it takes them and a sink holds
them. Sinks that do not get 8 bits of SDR, as all do where nobody holds more; each loss is a line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from av.video.reformatter import VideoReformatter

from ...errors import ConfigError
from ...pictures.colour import SDR_BT709, Colours, to_eight_bits, to_sixteen_bits
from ...pictures.hdr import HdrFacts
from ...pictures.relight import SDR, Relight
from ...pictures.tone_map import ToneMap
from ...pictures.yuv_picture import AnyPicture, YuvPicture, rgb_of
from ..upscaler import Upscaler
from ..video.hdr import DEEP_BITS, SDR_ADVICE, HdrMode, to_sdr_line
from .sink import FinishedFrame, VideoSink


def is_deep(picture: AnyPicture) -> bool:
    """Whether a picture has more than 8 bits."""
    return not isinstance(picture, YuvPicture) and picture.dtype == np.uint16


class Depth:
    """Decides for the frames of one stream.

    Args:
        upscaler: Of the stream.
        sinks: Of the stream.
        bits: 8 or 10; None for what frames have.
        hdr: What becomes of PQ and HLG.
        note: Called with a line for each loss, once.

    Raises:
        ConfigError: Ten bits are asked for, and no sink holds them or the network does not.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        sinks: Sequence[VideoSink],
        *,
        bits: int | None,
        hdr: HdrMode,
        note: Callable[[str], None],
    ) -> None:
        self._upscaler, self._sinks = upscaler, sinks
        self._bits, self._hdr, self._note = bits, hdr, note
        self._known: dict[tuple[int, int, str], str] = {}
        self._to_sdr = ToSdr()
        why = upscaler.why_not_deep() or self._why_no_sink(hdr=False)
        if bits == DEEP_BITS and why:
            raise ConfigError(f"--bits 10 is not possible: {why}; leave it out, or --bits 8")

    def wants(self, bits: int, hdr: HdrFacts | None) -> bool:
        """Whether frames of so many bits are kept as they are; a loss is said. From any thread.

        Args:
            bits: Of the frames.
            hdr: Of a stream of HDR.

        Raises:
            ConfigError: HDR is to be kept, and 8 bits are asked for.
        """
        transfer = 0 if hdr is None else hdr.transfer
        key = (bits, transfer, self._upscaler.session.variant.id)
        if key not in self._known:
            why = self._known[key] = self._why_not(bits, hdr)
            if not why:
                for sink in self._sinks:
                    if reason := sink.why_not_deep(hdr=hdr is not None):
                        self._note(f"'{sink.address.text}': {_loss(bits, hdr)}: {reason}")
            elif hdr is not None and self._hdr == "tonemap":
                self._note(to_sdr_line(hdr))
            elif hdr is not None or bits > 8:
                self._note(f"{_loss(bits, hdr)}: {why}")
        return not self._known[key]

    def open(self, hdr: HdrFacts | None) -> bool:
        """Load the network for frames that are wanted; a refusal is said. In its thread."""
        why = self._upscaler.open_deep(self._note, hdr=hdr is not None)
        if why:
            self._note(f"{_loss(DEEP_BITS, hdr)}: {why}")
        return not why

    def to_sdr(
        self, picture: AnyPicture, colours: Colours, hdr: HdrFacts | None
    ) -> tuple[AnyPicture, Colours]:
        """A frame that is not kept as 8 bits of SDR, and its colours."""
        return self._to_sdr(picture, colours, hdr)

    def _why_not(self, bits: int, hdr: HdrFacts | None) -> str:
        """Why frames are not kept; of 8 bits that need no more, a word nobody sees."""
        if hdr is not None and self._hdr == "keep" and self._bits == 8:
            raise ConfigError(
                f"--bits 8 is not possible: HDR has ten; leave it out, or {SDR_ADVICE}"
            )
        if hdr is not None and self._hdr == "tonemap":
            return "--hdr tonemap"
        if self._bits == 8:
            return "--bits 8"
        if hdr is None and bits <= 8 and self._bits is None:
            return "8 bits"
        return self._upscaler.why_not_deep() or self._why_no_sink(hdr=hdr is not None)

    def _why_no_sink(self, *, hdr: bool) -> str:
        """Why no sink holds more than 8 bits; empty where one does."""
        reasons = [sink.why_not_deep(hdr=hdr) for sink in self._sinks]
        if not all(reasons):
            return ""
        named = zip(self._sinks, reasons, strict=True)
        return "; ".join(f"'{sink.address.text}': {reason}" for sink, reason in named)


def _loss(bits: int, hdr: HdrFacts | None) -> str:
    return f"{bits} bits are reduced to 8" if hdr is None else to_sdr_line(hdr)


class ToSdr:
    """Makes 8 bits of SDR of pictures; used by one thread."""

    def __init__(self) -> None:
        self._tone_map: ToneMap | None = None
        self._of: tuple[HdrFacts, int] | None = None

    def __call__(
        self, picture: AnyPicture, colours: Colours, hdr: HdrFacts | None
    ) -> tuple[AnyPicture, Colours]:
        """Make them of one picture.

        Args:
            picture: RGB of uint8 or uint16, or YUV 4:2:0 of SDR.
            colours: What its stream's numbers mean.
            hdr: Of a stream of HDR, whose picture is uint16.

        Returns:
            The picture, and what its numbers mean now.
        """
        if isinstance(picture, YuvPicture):
            return picture, colours
        if hdr is None:
            return to_eight_bits(picture), colours
        wanted = (hdr, colours.primaries)
        if self._tone_map is None or self._of != wanted:
            self._tone_map, self._of = ToneMap(hdr, colours.primaries), wanted
        return to_eight_bits(self._tone_map(picture)), SDR_BT709

    def frame(self, frame: FinishedFrame) -> FinishedFrame:
        """The same of a finished frame, and of what the network was given."""
        source, _ = self(frame.source, frame.colours, frame.hdr)
        picture, colours = self(frame.picture, frame.colours, frame.hdr)
        return replace(frame, source=source, picture=picture, colours=colours, hdr=None)


def to_hdr(frame: FinishedFrame, colours: Colours, hdr: HdrFacts) -> FinishedFrame:
    """A frame of SDR or other HDR in HDR that an output began with; each keeps its light.

    Args:
        frame: Of 8 bits of SDR, or uint16.
        colours: The output's.
        hdr: Likewise.
    """
    source = frame.hdr.transfer if frame.hdr is not None else SDR
    if source == hdr.transfer:  # other facts of the same
        return replace(frame, hdr=hdr)
    primaries = (frame.colours.primaries, colours.primaries)
    change, reader = _relight(source, hdr.transfer, primaries), VideoReformatter()
    low, picture = (
        change(to_sixteen_bits(rgb_of(each, reader))) for each in (frame.source, frame.picture)
    )
    return replace(frame, source=low, picture=picture, colours=colours, hdr=hdr)


@lru_cache(maxsize=4)
def _relight(source: int, target: int, primaries: tuple[int, int]) -> Relight:
    return Relight(source, target, primaries)
