"""Where a live run puts its frames: one abstract sink, found by the scheme of its address.

A new sink is a file with a class, and a line in `SINKS`.

    with open_sink("udp://127.0.0.1:5004", EncodeOptions()) as sink:
        sink.present(sink.encode(frame))
        sink.finish()
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ...errors import ConfigError
from ...pictures.colour import Colours
from ...pictures.hdr import HdrFacts
from ...pictures.yuv_picture import AnyPicture
from ..video.encoders import EncodeOptions
from .address import Address
from .notes import Notes
from .source import load_class

if TYPE_CHECKING:
    from .model_switch import ModelSwitch
    from .zoom import Zoom

SINKS = {
    "-": "sink_stdout:StdoutSink",
    "file": "sink_file:RecordingSink",
    "gst": "sink_gst:GstSink",
    "hls": "sink_hls:HlsSink",
    "http": "sink_page:PageSink",
    "null": "sink_null:NullSink",
    "rtmp": "sink_rtmp:RtmpSink",
    "rtmps": "sink_rtmp:RtmpSink",
    "rtsp": "sink_rtsp:RtspSink",
    "udp": "sink_udp:UdpSink",
    "v4l2": "sink_v4l2:V4l2Sink",
    "whip": "sink_whip:WhipSink",
    "whips": "sink_whip:WhipSink",
}
"""Scheme of the address, and where its class is; imported when it is asked for."""

Encoded: TypeAlias = Any
"""What a sink makes of a frame, on the way from `encode` to `present`; None for nothing."""


@dataclass(frozen=True)
class FinishedFrame:
    """A frame on its way out."""

    source: AnyPicture
    """(H, W, 3) RGB, uint8 or uint16 (see `why_not_deep`), or YUV 4:2:0: the network's input."""

    picture: AnyPicture
    """(4H, 4W, 3) RGB likewise, C-contiguous, or YUV 4:2:0."""

    time: float
    """Seconds since the first frame; strictly increasing."""

    rate: Fraction
    """Nominal frames a second."""

    colours: Colours
    """Of the source; outputs keep matrix and range."""

    captured: float = 0.0
    """When the source gave it, in seconds of the run's clock."""

    hdr: HdrFacts | None = None
    """What the stream says of itself where the pictures are PQ or HLG, and uint16."""


class VideoSink(ABC):
    """Takes finished frames, one after the other, in one thread.

    The constructor only looks at options and at what can be wrong before the first frame.

    Args:
        address: Where frames go; options the sink knows are taken out of it.
        options: Encoder choices; None each for what suits live video.

    Raises:
        ConfigError: An option is unknown, out of range or not safe.
        OutputExistsError, OutputNotWritableError: The output cannot be written.
    """

    options: ClassVar[str] = ""
    """Names of the address's options, for people."""

    switches_models: ClassVar[bool] = False
    """Whether people can choose another network through it; see `offer`."""

    encodes: ClassVar[bool] = False
    """Whether encoder options mean something to it."""

    reduces: ClassVar[bool] = False
    """Whether it makes 8 bits of SDR itself, where somebody looks; else its output does."""

    patience_s: float = 15.0
    """Seconds a picture may take in it while a run ends; then it is left behind."""

    def __init__(self, address: Address, options: EncodeOptions) -> None:
        self.address = address
        self.encode_options = options
        self.notes = Notes()
        """Lines worth telling the user, in the order they came up."""
        self.drops: Counter[str] = Counter()
        """Frames that were not sent, by reason."""
        self.size: tuple[int, int] | None = None
        """Width and height of the output in pixels, once there is one."""
        self.encoder: str | None = None
        """Of the output, once there is one."""
        self.copies: int | None = None
        """Copies of the latest picture in main memory, until it was encoded or left; None where
        that is not known."""

    def why_not_deep(self, *, hdr: bool) -> str:
        """Say why it is to be given 8 bits of SDR alone; empty where it takes uint16.

        Args:
            hdr: Of pictures of PQ or HLG.
        """
        del hdr
        return "it takes 8"

    @abstractmethod
    def encode(self, frame: FinishedFrame) -> Encoded | None:
        """Make of a frame what is sent or written; None where nothing is (see `drops`).

        Raises:
            ConfigError: The encoder or the container refuses the frames.
            OutputNotWritableError: The output is gone.
        """

    @abstractmethod
    def present(self, encoded: Encoded) -> bool:
        """Send or write it; when this returns, it has left this process.

        Returns:
            Whether it was sent (else see `drops`).

        Raises:
            OutputNotWritableError: The output is gone.
        """

    def _output_size(self, frame: FinishedFrame) -> tuple[int, int]:
        """Width and height asked for with frames like this one, with a note where it is odd.

        Raises:
            ConfigError: The size does not fit them.
        """
        height, width = frame.picture.shape[:2]
        if self.encode_options.size is None:
            return width, height
        low = frame.source.shape
        wanted = replace(self.encode_options.size, made=height // low[0])
        try:
            sized = wanted.of(low[1], low[0])
        except ConfigError:
            if self.size is None:
                raise
            # The source changed its shape on the way, after the first frame had the one asked for.
            sized = replace(wanted, fit=True).of(low[1], low[0])
        for line in sized.notes:
            self.notes.add(line, once=True)
        return sized.width, sized.height

    def publish(self, record: Mapping[str, Any], metrics: str) -> None:  # noqa: B027 optional
        """Take the latest figures, for sinks that show them; called about once a second.

        Args:
            record: See `LiveRun.record`.
            metrics: The same as Prometheus text.
        """

    def offer(self, switch: ModelSwitch, zoom: Zoom) -> None:  # noqa: B027 optional
        """Take what people may change, for sinks whose `switches_models` is true."""

    def finish(self) -> None:  # noqa: B027 optional
        """End the output properly.

        Raises:
            OutputNotWritableError: It cannot be finished.
        """

    def close(self) -> None:  # noqa: B027 optional
        """Free everything; what was not finished is thrown away."""

    def __enter__(self) -> VideoSink:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free everything."""
        self.close()


def open_sinks(texts: Sequence[str], options: EncodeOptions) -> list[VideoSink]:
    """Make the sinks of one stream; encoder options go to those that encode, where there are any.

    Args:
        texts: Addresses; `null://` alone may be there twice.
        options: Encoder choices.

    Raises:
        ConfigError: None, one of them twice, or what `open_sink` refuses.
        OutputExistsError, OutputNotWritableError: An output cannot be written.
    """
    if not texts:
        raise ConfigError("a stream needs a sink; null:// throws its pictures away")
    addresses = [Address.parse(text) for text in texts]
    places = Counter(map(place_of, texts))
    for text, address in zip(texts, addresses, strict=True):
        if address.scheme != "null" and places[place_of(text)] > 1:
            raise ConfigError(f"two sinks are '{address.text}'; give each a place of its own")
    classes: list[type[VideoSink]] = [load_class(address, SINKS, "sink") for address in addresses]
    plain = EncodeOptions(overwrite=options.overwrite)
    somewhere = any(each.encodes for each in classes)
    made: list[VideoSink] = []
    try:
        for text, kind in zip(texts, classes, strict=True):
            made.append(open_sink(text, plain if somewhere and not kind.encodes else options))
    except BaseException:
        for sink in made:
            sink.close()
        raise
    return made


def place_of(text: str) -> tuple[str, str]:
    """Scheme and place of an address, so that two spellings of a file are one.

    Raises:
        ConfigError: It is no address.
    """
    address = Address.parse(text)
    file = address.scheme == "file"
    return address.scheme, os.path.realpath(address.place) if file else address.place


def open_sink(text: str, options: EncodeOptions) -> VideoSink:
    """Make the sink of an address.

    Raises:
        ConfigError: No such kind of sink, or an option it does not have.
        OutputExistsError, OutputNotWritableError: The output cannot be written.
    """
    address = Address.parse(text)
    sink: type[VideoSink] = load_class(address, SINKS, "sink")
    made = sink(address, options)
    try:
        address.finish(sink.options)
    except BaseException:
        made.close()
        raise
    return made
