"""What gives frames to a live run: one abstract source, found by the scheme of its address.

A new source is a file with a class, and a line in `SOURCES`.

    with open_source("test://?size=320x180&fps=30", stop) as source:
        for frame in source.frames():
            ...
"""

from __future__ import annotations

import importlib
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import ClassVar, TypeAlias

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ...arrays import Levels
from ...config import nearest
from ...errors import ConfigError
from ...pictures.colour import (
    SDR_BT709,
    Colours,
    rgb_from_frame,
    tag_left,
    to_eight_bits,
    to_sixteen_bits,
)
from ...pictures.hdr import HdrFacts, as_network_sees
from ...pictures.scene_cuts import Small, small_luma
from ...pictures.yuv_picture import YuvPicture
from ..video.hdr import HdrMode
from .address import Address, refuse_without_scheme
from .notes import Notes

Clock: TypeAlias = "Callable[[], float]"

SOURCES = {
    "-": "source_file:PacedFileSource",
    "csi": "source_csi:CsiSource",
    "file": "source_file:PacedFileSource",
    "gst": "source_gst:GstSource",
    "rtsp": "source_rtsp:RtspSource",
    "rtsps": "source_rtsp:RtspSource",
    "test": "source_pattern:PatternSource",
    "udp": "source_udp:UdpSource",
    "v4l2": "source_v4l2:V4l2Source",
}
"""Scheme of the address, and where its class is; imported when it is asked for."""

ELSEWHERE = frozenset(
    {"ftp", "hls", "http", "https", "mms", "onvif", "rist", "rtmp", "rtmps", "rtmpt", "rtp", "srt"}
    | {"ndi", "tcp", "webrtc", "whep", "whip", "whips"}
)
"""Schemes of streams that exist, and are not read or written here."""

PASS_ON = {
    "source": "let FFmpeg pass it on, 'ffmpeg -i ADDRESS -c:v libx264 -tune zerolatency -f mpegts "
    "udp://127.0.0.1:5000', with --source udp://127.0.0.1:5000",
    "sink": "let FFmpeg pass it on: --sink udp://127.0.0.1:5000 and 'ffmpeg -i "
    "udp://127.0.0.1:5000 -c copy -f FORMAT ADDRESS'",
}
"""What to do about `ELSEWHERE`."""


UNKNOWN_RATE = Fraction(30)
"""Frames a second where a source does not tell."""


@dataclass(frozen=True)
class LiveFrame:
    """One frame as it was captured; turned into RGB only when the network takes it."""

    picture: av.VideoFrame | Levels | YuvPicture
    """Decoded, in its own pixel format (NV12 and the like); or (H, W, 3) RGB, uint8 or uint16 (see
    `arrays.Frame`), or YUV."""

    media_time: float | None
    """Seconds on the source's own clock, where it told; a jump is a seek or a new stream."""

    captured: float
    """When it was there, in seconds of the run's clock."""

    connection: int = 0
    """Counts up with each time the source was connected anew."""

    colours: Colours = SDR_BT709
    """How the picture's numbers mean colours; outputs keep it."""

    copies: int = 0
    """Copies of it in main memory since it was decoded or captured."""

    bits: int = 8
    """Of a level, as captured."""

    hdr: HdrFacts | None = None
    """What the stream says of itself where it is PQ or HLG."""

    lossless: bool = False
    """Whether no frame is ever missing before it, however late it is, as in a file."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.picture, av.VideoFrame):
            return self.picture.width, self.picture.height
        return self.picture.shape[1], self.picture.shape[0]

    def rgb(self, reformatter: VideoReformatter, *, deep: bool = False) -> Levels:
        """The frame as (H, W, 3) RGB, uint8, or uint16 (see `arrays.Frame`) where `deep`."""
        picture = self.picture
        if isinstance(picture, YuvPicture):
            if not deep:
                return picture.rgb(reformatter)
            height, width = picture.shape
            whole = rgb_from_frame(tag_left(picture.frame()), reformatter, deep=True)
            return np.ascontiguousarray(whole[:height, :width])
        if isinstance(picture, av.VideoFrame):
            return rgb_from_frame(picture, reformatter, deep=deep)
        return to_sixteen_bits(picture) if deep else to_eight_bits(picture)

    def luma(self) -> Small:
        """The frame as the small picture cuts are looked for in: of PQ in the network's range."""
        if isinstance(self.picture, av.VideoFrame):
            small = small_luma(self.picture)
        elif isinstance(self.picture, YuvPicture):
            small = small_luma(self.picture.frame())
        else:
            rgb = to_eight_bits(self.picture)
            small = small_luma(av.VideoFrame.from_ndarray(rgb, format="rgb24"))
        return small if self.hdr is None else as_network_sees(small, self.hdr.transfer)


class VideoSource(ABC):
    """A stream of frames. One thread opens, reads and closes it: see `frames`.

    Args:
        address: Where the frames come from; options the source knows are taken out of it.
        stop: Set from outside to end; a source looks at it at least once every few seconds.
        clock: Monotonic seconds.

    Raises:
        ConfigError: An option is unknown or out of range.
        MissingProgramError: A program the source needs is not there.
    """

    options: ClassVar[str] = ""
    """Names of the address's options, for people."""

    waits: bool = False
    """Whether the first connection may fail and is tried again, as that of one of many."""

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        self.address = address
        self.stop = stop
        self.clock = clock
        self.notes = Notes()
        """Lines worth telling the user, in the order they came up."""
        self.reconnects = 0
        """How often the stream was lost and came back."""
        self.tries = 0
        """While it is lost: attempts to reach it so far."""
        self.drops: Counter[str] = Counter()
        """Frames that never left the source, by reason: `damaged`."""
        self.damaged_packets = 0
        """Packets that could not be decoded; skipped."""
        self.hdr: HdrMode = "refuse"
        """What is to become of PQ and HLG; set before frames are asked for."""
        self.takes_deep: Callable[[int, HdrFacts | None], bool] | None = None
        """Told bits and HDR of frames, whether more than 8 are taken; None where they never are."""

    @property
    def rate(self) -> Fraction | None:
        """Nominal frames a second once frames come, where known."""
        return None

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, where they are known before the first frame."""
        return None

    @property
    def asked(self) -> tuple[tuple[int, int] | None, Fraction | None]:
        """Size and rate that the address asks for, before the first frame; a device may differ."""
        return self.size, self.rate

    def wants_deep(self, bits: int, hdr: HdrFacts | None) -> bool:
        """Whether frames are wanted with more than 8 bits; what is not kept is said, once.

        Args:
            bits: That they have.
            hdr: Of a stream of HDR.
        """
        if self.takes_deep is not None:
            return self.takes_deep(bits, hdr)
        if bits > 8:
            self.notes.add(f"{bits} bits are reduced to 8: pictures have 8 here", once=True)
        return False

    @abstractmethod
    def frames(self) -> Generator[LiveFrame, None, None]:
        """Open, yield frames until the end or until `stop` is set, close.

        Whoever reads ends early with the generator's `close`, in the same thread.

        Raises:
            InputNotFoundError: There is no such file or device.
            UnreadableVideoError: No video comes from there.
            UnsupportedVideoError: The video is HDR and refused, or of a kind that would come out
                wrong (Dolby Vision without a base layer).
        """

    def __enter__(self) -> VideoSource:
        """Return itself; `frames` opens."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the reading thread to end."""
        self.stop.set()


def open_source(text: str, stop: threading.Event, clock: Clock = time.monotonic) -> VideoSource:
    """Make the source of an address; nothing is connected before its frames are asked for.

    Raises:
        ConfigError: No such kind of source, or an option it does not have.
        MissingProgramError: A program the source needs is not there.
    """
    address = Address.parse(text)
    source: type[VideoSource] = load_class(address, SOURCES, "source")
    made = source(address, stop, clock)
    address.finish(source.options)
    return made


def load_class(address: Address, known: dict[str, str], what: str) -> type:
    """Import the class of an address's scheme.

    Raises:
        ConfigError: There is none.
    """
    if address.scheme == "file":
        refuse_without_scheme(address, sink=what == "sink")
    if address.scheme not in known and address.scheme in {*ELSEWHERE, *SOURCES}:
        forms = {"gst": "gst:PIPELINE", "-": "-"}
        names = sorted(set(known) - {"file", "pictures"})
        schemes = ", ".join(forms.get(each, f"{each}://") for each in names)
        raise ConfigError(
            f"'{address.scheme}://' is no {what} of live, which knows {schemes} and files"
            + (f"; {PASS_ON[what]}" if address.scheme in ELSEWHERE else "")
        )
    if address.scheme not in known:
        near = nearest(address.scheme, known)
        path = "" if near.endswith("?") else ", or a file's path"
        raise ConfigError(f"no {what} '{address.scheme}://'{near}{path}")
    module, _, name = known[address.scheme].partition(":")
    found: type = getattr(importlib.import_module(f".{module}", __package__), name)
    return found
