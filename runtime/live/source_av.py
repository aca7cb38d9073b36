"""What every stream FFmpeg reads has in common: low delay, time-outs, coming back after a loss."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from collections.abc import Generator, Iterator
from fractions import Fraction
from functools import partial
from typing import Any

import av
from av.codec.context import Flags

from ...errors import AdcVsrError, UnreadableVideoError
from ...host.processors import thread_limit
from ...pictures.clips import ffmpeg_reason
from ...pictures.colour import CHROMA_LEFT, colours_of
from ...pictures.hdr import HdrFacts
from ...redaction import clean_error
from ..video.hdr import find_hdr
from .address import Address
from .backoff import wait_before_try
from .source import Clock, LiveFrame, VideoSource

DEFAULT_TIMEOUT_S = 5.0
"""Without a packet for this long, a stream is lost; also how long a run may take to stop."""


class _LostError(Exception):
    """The stream ended or fell silent."""


class AvSource(VideoSource):
    """A stream FFmpeg reads.

    The first connection must work, so that a mistyped address is an error at once. A stream that is
    lost later is tried again (`backoff`) until it is back or the run stops.

    Args:
        address, stop, clock: See `VideoSource`. Takes the option `timeout` (seconds).
    """

    reconnecting = True
    """Whether a lost stream may come back; a device that is unplugged does not."""

    def __init__(
        self, address: Address, stop: threading.Event, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(address, stop, clock)
        self.timeout_s = address.number("timeout", DEFAULT_TIMEOUT_S, low=0.1, high=3600)
        self._rate: Fraction | None = None
        self._kind: tuple[int, int] | None = None  # connection and transfer that were looked at
        self._facts: HdrFacts | None = None

    @property
    def rate(self) -> Fraction | None:
        """See `VideoSource`."""
        return self._rate

    @abstractmethod
    def _open(self) -> av.container.InputContainer:
        """Connect, with `timeout=self.timeout_s`.

        Raises:
            av.FFmpegError, OSError: It cannot be connected.
        """

    def frames(self) -> Generator[LiveFrame, None, None]:
        """See `VideoSource`."""
        connection, seen = 0, False
        while not self.stop.is_set():
            try:
                for frame in self._connected(connection):
                    if self.tries:
                        self.reconnects += 1
                        self.notes.add(f"'{self.address.text}' is back after {self.tries} tries")
                        self.tries = 0
                    seen = True
                    yield frame
                    if self.stop.is_set():
                        return
                raise _LostError("the stream ended")
            except AdcVsrError:
                raise  # some are OSErrors, too
            except (_LostError, av.FFmpegError, OSError) as error:
                clean_error(error)
                if self.stop.is_set():
                    return
                self._require_retry(error, connected=seen)
                if not self.tries:
                    self.notes.add(f"'{self.address.text}' was lost: {self._reason(error)}")
                    connection += 1
            self.stop.wait(wait_before_try(self.tries))
            self.tries += 1

    def _require_retry(self, error: Exception, *, connected: bool) -> None:
        if (connected or self.waits) and self.reconnecting:
            return
        raise UnreadableVideoError(
            f"'{self.address.text}' gives no video: {self._reason(error)}; "
            f"is it running and is the address right?{self.address.hint}"
        ) from error

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (av.error.ExitError, TimeoutError)):
            return f"nothing came for {self.timeout_s:g} s (?timeout=SECONDS waits longer)"
        return ffmpeg_reason(error)

    def _connected(self, connection: int) -> Iterator[LiveFrame]:
        """One connection, from opening to closing."""
        with self._open() as container:
            stream = self._prepare(container)
            for packet in container.demux(stream):
                for frame in self._decode(stream, packet):
                    # Before the first keyframe decoders fill in grey: not for the network's eyes.
                    if frame.is_corrupt:
                        self.drops["damaged"] += 1
                    else:
                        yield self._live_frame(frame, stream, connection)
                if self.stop.is_set():
                    return

    def _prepare(self, container: av.container.InputContainer) -> av.VideoStream:
        streams = [s for s in container.streams.video if s.codec_context is not None]
        if not streams:
            raise _LostError("it has no video that can be decoded")
        stream = streams[0]
        # Frame threads would hold back a frame each.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = thread_limit()
        stream.codec_context.options = dict(CHROMA_LEFT)
        stream.codec_context.flags |= Flags.low_delay | Flags.unaligned
        self._rate = Fraction(stream.guessed_rate or stream.average_rate or 25)
        return stream

    def _decode(self, stream: av.VideoStream, packet: av.Packet[Any]) -> list[av.VideoFrame]:
        try:
            return stream.decode(packet)
        except av.error.InvalidDataError:
            self.damaged_packets += 1
            return []

    def _live_frame(
        self, frame: av.VideoFrame, stream: av.VideoStream, connection: int
    ) -> LiveFrame:
        now = self.clock()
        colours = colours_of(frame)
        kind = (connection, colours.transfer)
        if kind != self._kind:  # frames whose side data was read are freed late: one each
            note = partial(self.notes.add, once=True)
            self._facts = find_hdr(self.address.text, frame, colours, self.hdr, note)
            self._kind = kind
        bits = frame.format.components[0].bits
        self.wants_deep(bits, self._facts)
        time_base = frame.time_base or stream.time_base
        seconds = float(frame.pts * time_base) if frame.pts is not None and time_base else None
        return LiveFrame(frame, seconds, now, connection, colours, bits=bits, hdr=self._facts)
