"""Streams that are not upscaled: copied, converted, or left out with a line.

Sound and subtitles go through untouched where the output container can hold their codec; other
sound is encoded anew (`sound`). Text subtitles change their packaging between mp4 (`mov_text`) and
mkv (`subrip`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias

import av

from .labels import is_timecode
from .sound import (
    WITHOUT_TIMES,
    AudioMode,
    EncodedSound,
    choose,
    is_adts,
    needs_adts,
    refusal,
)

COPIED_TYPES = frozenset({"audio", "subtitle"})
"""Stream types that mean something beside another video; data tracks describe the source's own."""

ATTACHING = frozenset({"matroska"})
"""Containers with attachments, such as the fonts of subtitles."""

SHARED_TIMES = frozenset({"matroska", "webm"})
"""Containers whose packets of one stream may share a time."""

LEAST_PAUSE_S = Fraction(1, 20)
"""Shorter ones may come of times that are rounded, and lengths that are not known."""

LONGEST_CUE_BYTES = 0xFFFF

Rewrite = Callable[[bytes], bytes]
Packet: TypeAlias = "av.Packet[Any]"


@dataclass
class CarriedStream:
    """One stream of the source that goes into the output packet by packet."""

    target: av.stream.Stream
    """The output's stream."""

    rewrite: Rewrite | None
    """Changes a packet's bytes; None copies the packet."""

    offset: Fraction
    """Seconds to subtract from its times."""

    adts: bool = False
    """Whether each packet must begin with a header of AAC."""

    shares_times: bool = False
    """Whether packets may have the time of the one before, as in Matroska's milliseconds."""

    gapless: bool = False
    """Whether the container plays sound from 0 on without a pause, whatever its times say."""

    lost_s: Fraction = Fraction(0)
    """Of silence, which `gapless` cannot tell: what follows is early by it."""

    damaged: int = 0
    """Packets that no decoder could play; left out."""

    crowded: int = 0
    """Packets whose time did not follow the one before; moved on to it."""

    last_dts: int | None = None
    """Decoding time of the packet before."""

    _ended: Fraction = Fraction(0)
    """Second at which the packet before ends, for `lost_s`."""

    cut_away: Packet | None = None
    """The latest packet that an edit list hides: decoders of sound need the one before."""

    def packets(self, source: Packet) -> Iterator[Packet]:
        """Yield what is to be written for a packet of the source."""
        if source.dts is None and source.pts is None:
            return  # the demuxer's end marker
        if self.adts and not is_adts(bytes(source)):
            self.damaged += 1
            return
        if source.is_discard:
            self.cut_away = source
            return
        hidden, self.cut_away = self.cut_away, None
        if hidden is not None and self.last_dts is None and self.target.type == "audio":
            yield from self._written(hidden)
        yield from self._written(source)

    def finish(self) -> Iterator[Packet]:
        """Yield what is held back: nothing."""
        yield from ()

    def _written(self, source: Packet) -> Iterator[Packet]:
        packet: Packet = source
        if self.rewrite is not None:
            data = self.rewrite(bytes(source))
            if not data:
                return  # mov_text's empty packets mark gaps, which mkv has no use for
            packet = av.Packet(data)
            packet.pts, packet.dts = source.pts, source.dts
            packet.duration, packet.time_base = source.duration, source.time_base
        if self.offset and packet.time_base:
            ticks = round(self.offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
        if self.gapless and not self._follows(packet):
            return
        self._keep_forward(packet)
        packet.stream = self.target
        yield packet

    def _follows(self, packet: Packet) -> bool:
        """Count what is silent before a packet; whether it is not mostly before 0."""
        if packet.dts is None or packet.time_base is None:
            return True
        begin, length = (n * packet.time_base for n in (packet.dts, packet.duration or 0))
        if begin + length / 2 < 0:
            return False
        packet.dts, packet.pts = max(packet.dts, 0), max(packet.pts or 0, 0)
        self.lost_s += begin - self._ended if begin - self._ended > LEAST_PAUSE_S else 0
        self._ended = begin + length
        return True

    def _keep_forward(self, packet: Packet) -> None:
        """Move a time on where it is not after the one before; those that follow stay."""
        if packet.dts is None:
            return
        if self.last_dts is not None and packet.dts < self.last_dts + (not self.shares_times):
            self.crowded += 1
            packet.dts = self.last_dts + (not self.shares_times)
            packet.pts = None if packet.pts is None else max(packet.pts, packet.dts)
        self.last_dts = packet.dts


def carry_streams(
    streams: Sequence[av.stream.Stream],
    output: av.container.OutputContainer,
    *,
    offset: Fraction,
    audio: AudioMode = "auto",
    note: Callable[[str], None],
) -> dict[int, CarriedStream | EncodedSound]:
    """Add every stream the output can hold to it.

    Args:
        streams: The source's streams but the upscaled one.
        output: The output, its video stream already added, nothing written yet.
        offset: Seconds to subtract from times.
        audio: Whether sound the output cannot hold is encoded anew; `none` leaves all of it out.
        note: Called with a line for each stream that is converted or left out.

    Returns:
        The carried streams by their index in the source.
    """
    carried: dict[int, CarriedStream | EncodedSound] = {}
    for stream in streams:
        if stream.type == "attachment":
            _attach(stream, output, note)
        if stream.type == "audio" and audio == "none":
            continue
        if not _may_come_along(stream, note):
            continue
        if isinstance(stream, av.AudioStream):
            added = _add_sound(stream, output, offset, audio, note)
        else:
            added = _add_subtitles(stream, output, offset, note)
        if added is None:
            continue
        for key in ("language", "title"):
            if key in stream.metadata:
                added.target.metadata[key] = stream.metadata[key]
        added.target.disposition = stream.disposition
        if isinstance(added, CarriedStream):
            added.shares_times = output.format.name in SHARED_TIMES
        carried[stream.index] = added
    return carried


def _may_come_along(stream: av.stream.Stream, note: Callable[[str], None]) -> bool:
    """Whether a stream is sound or subtitles that can be read at all; says it where not."""
    label = f"{stream.type} stream #{stream.index}"
    context: av.CodecContext | None = stream.codec_context  # None where FFmpeg has no decoder
    if stream.type in COPIED_TYPES:
        if context is None:
            note(f"{label} is left out: its codec is unknown")
        return context is not None
    if stream.type == "video":
        if stream.disposition & av.stream.Disposition.attached_pic:
            note(f"{label} is left out: a cover picture")
    elif stream.type != "attachment" and not is_timecode(stream):
        note(f"{label} is left out: only audio and subtitles are carried over")
    return False


def _add_sound(
    stream: av.AudioStream,
    output: av.container.OutputContainer,
    offset: Fraction,
    audio: AudioMode,
    note: Callable[[str], None],
) -> CarriedStream | EncodedSound | None:
    chosen = choose(stream, output, audio, offset, note)
    if chosen is None:
        return None
    if chosen != "copy":
        return EncodedSound(stream, output, chosen, offset)
    return CarriedStream(
        output.add_stream_from_template(stream),
        None,
        offset,
        adts=needs_adts(stream),
        gapless=output.format.name in WITHOUT_TIMES,
    )


def _add_subtitles(
    stream: av.stream.Stream,
    output: av.container.OutputContainer,
    offset: Fraction,
    note: Callable[[str], None],
) -> CarriedStream | None:
    label = f"{stream.type} stream #{stream.index}"
    codec = stream.codec_context.codec.canonical_name
    why = refusal(output, stream)
    if why is None:
        return CarriedStream(output.add_stream_from_template(stream), None, offset)
    conversion = _conversion(codec, output, note)
    if conversion is None:
        note(f"{label} is left out: {why}")
        return None
    name, rewrite = conversion
    target = output.add_mux_stream(name)
    target.time_base = stream.time_base
    note(f"{label} is repackaged: {codec} as {name}")
    return CarriedStream(target, rewrite, offset)


def _attach(stream: Any, output: av.container.OutputContainer, note: Callable[[str], None]) -> None:
    """Carry a font of the subtitles, or whatever else is attached."""
    name = stream.metadata.get("filename", stream.metadata.get("FILENAME", f"#{stream.index}"))
    kind = stream.metadata.get("mimetype", stream.metadata.get("MIMETYPE", ""))
    data = bytes(stream.data)
    if output.format.name not in ATTACHING:
        note(f"attachment '{name}' is left out: {output.format.name} holds none, mkv does")
    elif not data:
        note(f"attachment '{name}' is left out: it is empty")
    else:
        output.add_attachment(name, kind or "application/octet-stream", data)


def _conversion(
    codec: str, output: av.container.OutputContainer, note: Callable[[str], None]
) -> tuple[str, Rewrite] | None:
    holds = output.supported_codecs
    if codec == "mov_text" and "subrip" in holds:
        return "subrip", text_from_mov_text
    if codec in ("subrip", "text") and "mov_text" in holds:
        return "mov_text", partial(mov_text_from_text, note=note)
    return None


def text_from_mov_text(data: bytes) -> bytes:
    """The UTF-8 text of a mov_text sample: a 16-bit length, text, style boxes (3GPP TS 26.245)."""
    (length,) = struct.unpack_from(">H", data) if len(data) >= 2 else (0,)
    return data[2 : 2 + length]


def mov_text_from_text(data: bytes, note: Callable[[str], None]) -> bytes:
    """A mov_text sample of a SubRip cue; its few HTML-like tags have no place there.

    Its length has 16 bits: what goes beyond is cut off, between characters, and said.
    """
    text = re.sub(rb"</?[biu]>|</?font[^>]*>", b"", data)
    if len(text) > LONGEST_CUE_BYTES:
        note(
            f"a subtitle of {len(text)} bytes is cut to {LONGEST_CUE_BYTES}: mov_text holds no "
            "more; mkv does"
        )
        text = text[:LONGEST_CUE_BYTES].decode(errors="ignore").encode()
    return struct.pack(">H", len(text)) + text
