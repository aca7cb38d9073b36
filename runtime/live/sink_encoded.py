"""What sinks that encode have in common: an encoder without delay, and one size for good.

The size that the first frame gets stays: decoders and files cannot be counted on to follow
another.
Frames of another size are scaled to fit, with black bars where the shape differs.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

import av

from ...errors import ConfigError, OutputNotWritableError
from ...host.processors import thread_limit
from ...pictures.clips import ffmpeg_reason
from ...pictures.colour import CHROMA_LEFT
from ...pictures.hdr import HdrFacts
from ...pictures.limits import encoded_side_line
from ...pictures.yuv_picture import YuvPicture
from ...redaction import clean_error
from ..video.encoders import EncodeOptions, encoder_options, find_encoder, takes_nv12
from ..video.planes import Chosen, Planes, choose_format
from ..video.preset_fit import AUTO, fit_preset
from .address import Address
from .depth import is_deep
from .letterbox import FirstSize
from .sink import Encoded, FinishedFrame, VideoSink

LIVE_PRESET = "superfast"
"""For libx264 and libx265, in place of `veryfast`: three fifths of its CPU time."""

EIGHT_BITS, TEN_BITS = Planes(8, "420"), Planes(10, "420")
"""What live pictures hold: colour is 4:2:0."""

TICKS = 90_000
"""A second in ticks: the clock of MPEG-TS and RTP."""

KEYFRAME_S = 1
"""Seconds from keyframe to keyframe: who joins a stream, or lost a packet, waits this long."""

LOW_DELAY = {
    "libx264": {"tune": "zerolatency"},
    "libx265": {"tune": "zerolatency"},
    "h264_nvenc": {"tune": "ull", "zerolatency": "1", "delay": "0"},
    "hevc_nvenc": {"tune": "ull", "zerolatency": "1", "delay": "0"},
}
"""What makes an encoder give each frame out at once."""


class EncodedSink(VideoSink):
    """Encodes into a container; the first frame opens both.

    Args:
        address, options: See `VideoSink`.
        encoder: Where the options name none.
    """

    encodes: ClassVar[bool] = True

    def __init__(self, address: Address, options: EncodeOptions, encoder: str = "libx264") -> None:
        super().__init__(address, options)
        self.encoder = self._encoder = options.encoder or encoder
        self._pixel_format = self._format(EIGHT_BITS).name
        self._hdr: HdrFacts | None = None  # of the pictures
        self._first = FirstSize()
        self._container: av.container.OutputContainer | None = None
        self._stream: Any = None
        self._last_tick = -1
        unfitted = replace(options, preset=None) if options.preset == AUTO else options
        self._options = self._live_options(unfitted)

    @abstractmethod
    def _open(self) -> av.container.OutputContainer:
        """Open the container.

        Raises:
            av.FFmpegError, OSError: It cannot be opened.
        """

    deep_h264: ClassVar[bool] = False
    """Whether H.264 of ten bits is written unasked: programs play such files, few devices do."""

    def why_not_deep(self, *, hdr: bool) -> str:
        """See `VideoSink`."""
        encoder = self._encoder_of(hdr=hdr)
        if self._format(TEN_BITS, encoder).holds.bits < TEN_BITS.bits:
            return f"encoder '{encoder}' takes 8; --encoder libx265 takes ten"
        if (
            encoder == "libx264"
            and self.encode_options.bits is None
            and (hdr or not self.deep_h264)
        ):
            kind = "HDR" if hdr else "ten bits"
            return f"few receivers show H.264 of {kind}; --encoder libx265 keeps it"
        return ""

    def _encoder_of(self, *, hdr: bool) -> str:
        """Which one encodes."""
        del hdr
        return self._encoder

    def _format(self, planes: Planes, encoder: str = "") -> Chosen:
        encoder = encoder or self._encoder
        return choose_format(encoder, find_encoder(encoder), planes, bits=None, colour="420")

    def encode(self, frame: FinishedFrame) -> Encoded:
        """See `VideoSink`."""
        self._guard(lambda: self._begin(frame))
        assert self.size is not None
        picture = self._first.frame(
            frame.picture, frame.colours, self._pixel_format, self.size, self.notes
        )
        self.copies = self._first.copies
        self._last_tick = max(round(frame.time * TICKS), self._last_tick + 1)
        picture.pts, picture.time_base = self._last_tick, Fraction(1, TICKS)
        packets: list[Any] = []
        self._guard(lambda: packets.extend(self._stream.encode(picture)))
        return packets

    def present(self, encoded: Encoded) -> bool:
        """See `VideoSink`."""
        assert self._container is not None
        container = self._container
        self._guard(lambda: container.mux(encoded))
        return True

    def finish(self) -> None:
        """See `VideoSink`."""
        if self._container is None:
            return
        container, self._container = self._container, None
        self._guard(lambda: container.mux(self._stream.encode(None)))
        self._guard(container.close)

    def close(self) -> None:
        """See `VideoSink`."""
        if self._container is not None:
            container, self._container = self._container, None
            # A broken output need not close cleanly: it is thrown away.
            with suppress(av.FFmpegError, OSError, ValueError):
                container.close()

    def _note_once(self, line: str) -> None:
        self.notes.add(line, once=True)

    def _live_options(self, options: EncodeOptions) -> dict[str, str]:
        """The encoder's options for live video.

        Raises:
            ConfigError: One was asked for that the encoder lacks.
        """
        if self._encoder in ("libx264", "libx265") and options.preset is None:
            options = replace(options, preset=LIVE_PRESET)
        return encoder_options(self._encoder, options, self._hdr) | LOW_DELAY.get(self._encoder, {})

    def _begin(self, frame: FinishedFrame) -> None:
        """Open container and encoder for frames like this one, unless they are open."""
        if self._container is not None:
            return
        if is_deep(frame.picture):
            self._begin_deep(frame)
        container = self._open()
        try:
            self._stream = self._add_stream(container, frame)
            container.start_encoding()
        except BaseException as error:
            refused = isinstance(error, av.FFmpegError) and not self._stream.codec_context.is_open
            with suppress(av.FFmpegError, OSError, ValueError):
                container.close()
            if refused:
                raise self._refusal(error) from error
            raise
        self._container = container

    def _begin_deep(self, frame: FinishedFrame) -> None:
        """Take the encoder's format of more than 8 bits, and the encoder of HDR."""
        encoder = self._encoder_of(hdr=frame.hdr is not None)
        if encoder != self._encoder:
            self.notes.add(f"{encoder} encodes: HDR in {self._encoder} is shown by few players")
        self.encoder, self._encoder, self._hdr = encoder, encoder, frame.hdr
        chosen = self._format(TEN_BITS)
        self._pixel_format = chosen.name
        for line in () if frame.hdr is not None else chosen.notes:
            self.notes.add(line)
        options = self.encode_options
        self._options = self._live_options(
            replace(options, preset=None) if options.preset == AUTO else options
        )

    def _refusal(self, error: BaseException) -> ConfigError:
        given = ", ".join(f"{k} {v}" for k, v in self._options.items() if k not in CHROMA_LEFT)
        width, height = self.size or (0, 0)
        advice = encoded_side_line(width, height) or "try another --encoder or --preset"
        return ConfigError(
            f"encoder '{self._encoder}' refuses {width}x{height} {self._pixel_format} with "
            f"{given}: {ffmpeg_reason(error)}; {advice}"
        )

    def _add_stream(self, container: av.container.OutputContainer, frame: FinishedFrame) -> Any:
        rate = frame.rate.limit_denominator(65535)
        try:
            stream: Any = container.add_stream(self._encoder, rate=rate)
        except (ValueError, av.FFmpegError) as error:
            raise ConfigError(
                f"'{self.address.text}' cannot hold video of encoder '{self._encoder}': {error}"
            ) from error
        if self.size is None:
            self.size = self._output_size(frame)
            self._first.begin(frame.picture)
            if isinstance(frame.picture, YuvPicture) and takes_nv12(self._encoder):
                self._pixel_format = "nv12"  # the network's own planes
        if self.encode_options.preset == AUTO:
            fitted = fit_preset(
                self._encoder, self.encode_options, self.size, rate, self._note_once
            )
            self._options = self._live_options(fitted)
        stream.width, stream.height = self.size
        stream.pix_fmt, stream.options = self._pixel_format, self._options
        context = stream.codec_context
        context.time_base, context.framerate = Fraction(1, TICKS), rate
        context.max_b_frames, context.thread_count = 0, thread_limit()
        context.gop_size = max(round(rate * KEYFRAME_S), 1)
        colours = frame.colours
        context.colorspace, context.color_range = colours.matrix, 2 if colours.full_range else 1
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        return stream

    def _guard(self, step: Any) -> None:
        try:
            step()
        except ConfigError:
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            clean_error(error)
            raise OutputNotWritableError(
                f"'{self.address.text}' does not take the video: {ffmpeg_reason(error)}"
                f"{self.address.hint}"
            ) from error
