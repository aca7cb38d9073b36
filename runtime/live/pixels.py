"""What frames of a live stream are on their way: YUV 4:2:0 as they were captured, or RGB.

Cameras and files give 8-bit 4:2:0, which the network takes as it is where it can. What needs RGB is
said with the reason; where a stream changes between the two, the network starts anew.
"""

from __future__ import annotations

import av
from av.video.reformatter import VideoReformatter

from ...errors import ConfigError
from ...graph.yuv_ends import YuvEnds
from ...pictures.colour import SDR_BT709
from ...pictures.copies import copied
from ...pictures.crop import Crop
from ...pictures.hdr import HdrFacts
from ...pictures.yuv import why_not_yuv, yuv_from_frame
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ..processing.processor import require_rgb
from ..sessions.session import Session
from ..upscaler import Upscaler
from ..yuv import REFUSALS, ends_of
from .depth import Depth, is_deep
from .source import LiveFrame


class LivePixels:
    """Turns captured frames into what the network takes, and runs it.

    Args:
        upscaler: Of the stream.
        wanted: `auto`, `rgb`, or `yuv`, which is an error where it is not possible.
        depth: Says what of more than 8 bits is kept; without it all is reduced.
        times: See `ends_of`.
    """

    def __init__(
        self,
        upscaler: Upscaler,
        wanted: str = "auto",
        depth: Depth | None = None,
        *,
        times: int = 0,
    ) -> None:
        self.upscaler, self.wanted, self._depth, self._times = upscaler, wanted, depth, times
        self.colours = SDR_BT709
        """What the latest frame's numbers mean on their way."""
        self.hdr: HdrFacts | None = None
        """Of the latest frame, where it is PQ or HLG on its way."""
        self.pixels = "rgb"
        """Of the latest frame."""
        self.reason = "no frame has come yet"
        """Why RGB; empty for YUV."""
        self.copies: int | None = None
        """Of the latest frame in main memory, from capture to the network; None before it."""
        self.gpu_copies: tuple[int, int] | None = None
        """Of the latest picture by the backend, see `Session.gpu_copies`."""
        self._deep = False
        self._reformatter = VideoReformatter()
        self._kind: tuple[object, ...] = ()  # of the frames that were looked at
        self._why_not = ""  # those are not taken as they are
        self._refused: dict[tuple[str, YuvEnds], str] = {}  # graphs that cannot have the ends

    def keeps_deep(self, frame: LiveFrame) -> bool:
        """Whether a frame goes through the network with more than 8 bits, if that can be loaded."""
        return self._depth is not None and self._depth.wants(frame.bits, frame.hdr)

    def take(self, frame: LiveFrame, part: Crop | None) -> AnyPicture:
        """Make of the next frame what the network is to be given; `run` has to follow.

        Args:
            frame: As captured.
            part: Of it; None for all.

        Raises:
            ConfigError: YUV is asked for and not possible.
        """
        depth = self._depth
        deep = depth is not None and self.keeps_deep(frame) and depth.open(frame.hdr)
        self.colours, self.hdr = frame.colours, frame.hdr if deep else None
        why = self._why(frame, part, deep=deep)
        if not why:
            ends = self._ends(frame)
            try:
                self.upscaler.open_yuv(ends)
            except REFUSALS as error:
                why = self._refused[self.upscaler.session.variant.id, ends] = str(error)
        if why and self.wanted == "yuv":
            raise ConfigError(f"--pixels yuv is not possible: {why}; leave it out for RGB")
        pixels = "rgb" if why else "yuv"
        if (pixels, deep) != (self.pixels, self._deep):
            self.upscaler.reset()  # the past is the other one's
        self.pixels, self.reason, self._deep = pixels, why, deep
        taken: AnyPicture
        if not why:
            planes = self._planes(frame)
            taken = planes if part is None else planes.part(part)
        else:
            rgb = frame.rgb(self._reformatter, deep=deep or frame.hdr is not None)
            if frame.hdr is not None and not deep and depth is not None:
                mapped, self.colours = depth.to_sdr(rgb, frame.colours, frame.hdr)
                rgb = require_rgb(mapped)
            taken = rgb if part is None else part.of(rgb)
        self.copies = frame.copies + copied(frame.picture, taken)
        return taken

    @property
    def session(self) -> Session:
        """What ran the latest frame; that of 8 bits before the first."""
        return self.upscaler.deep_session if self._deep else self.upscaler.session

    def run(self, low: AnyPicture) -> AnyPicture | None:
        """Upscale what `take` made; of a network that looks ahead the picture may be none yet."""
        picture = self._run(low)
        self.gpu_copies = self.upscaler.session_of(low).gpu_copies
        return picture

    def _run(self, low: AnyPicture) -> AnyPicture | None:
        if isinstance(low, YuvPicture):
            return self.upscaler.upscale_yuv(low)
        if is_deep(low):
            transfer = self.colours.transfer if self.hdr is None else self.hdr.transfer
            return self.upscaler.upscale_deep(low, transfer)
        return self.upscaler.push(low) if self.upscaler.bundle.delay else self.upscaler(low)

    def _ends(self, frame: LiveFrame) -> YuvEnds:
        return ends_of(self.upscaler.session, frame.colours, times=self._times)

    def _planes(self, frame: LiveFrame) -> YuvPicture:
        if isinstance(frame.picture, YuvPicture):
            return frame.picture
        assert isinstance(frame.picture, av.VideoFrame)
        return yuv_from_frame(frame.picture, frame.colours, self._reformatter)

    def _why(self, frame: LiveFrame, part: Crop | None, *, deep: bool) -> str:
        """Why a frame is taken as RGB; empty where it is not."""
        if deep or frame.hdr is not None:
            return "there are more than 8 bits" if deep else "HDR is mapped to SDR in RGB"
        if self.wanted == "rgb":
            return "--pixels rgb"
        if part is not None and (part.left % 2 or part.top % 2):
            return f"the part {part} begins between two pixels of chroma"
        if self.upscaler.bundle.delay:
            return "pictures of a network that looks ahead come in RGB"
        if self.upscaler.reduces:
            return "pictures are reduced in RGB"
        known = self._refused.get((self.upscaler.session.variant.id, self._ends(frame)), "")
        why = known or self.upscaler.why_not_yuv(asked=self.wanted == "yuv")
        return why or self._why_not_taken(frame)

    def _why_not_taken(self, frame: LiveFrame) -> str:
        """Why frames like this one are not taken as they are; looked at when they change."""
        picture = frame.picture
        if isinstance(picture, YuvPicture):
            return ""
        if not isinstance(picture, av.VideoFrame):
            return "the source gives RGB"
        kind = (frame.connection, picture.format.name, *frame.size)
        if kind != self._kind:
            self._kind, self._why_not = kind, why_not_yuv(picture) or ""
        return self._why_not
