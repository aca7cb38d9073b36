"""Streams that are not upscaled: copied, converted where that is lossless, or left out with a line.

Audio and subtitles go through untouched where the output container can hold their codec. Text
subtitles change their packaging between mp4 (`mov_text`) and mkv (`subrip`).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import av

COPIED_TYPES = frozenset({"audio", "subtitle"})
"""Stream types that mean something beside another video; data tracks describe the source's own."""

Rewrite = Callable[[bytes], bytes]
Packet: TypeAlias = "av.Packet[Any]"


@dataclass
class CarriedStream:
    """One stream of the source on its way into the output."""

    target: av.stream.Stream
    """The output's stream."""

    rewrite: Rewrite | None
    """Changes a packet's bytes; None copies the packet."""

    offset: Fraction
    """Seconds to subtract from its times."""

    note: Callable[[str], None]
    """Called with a line when its times had to be repaired."""

    correction: int = 0
    """Ticks added since the times last ran backwards."""

    next_dts: int | None = None
    """Earliest decoding time the next packet may have."""

    def packet(self, source: Packet) -> Packet | None:
        """Make the output packet of a source packet, or None where there is nothing to write."""
        if source.dts is None and source.pts is None:
            return None  # the demuxer's end marker
        packet: Packet = source
        if self.rewrite is not None:
            data = self.rewrite(bytes(source))
            if not data:
                return None  # mov_text's empty packets mark gaps, which mkv has no use for
            packet = av.Packet(data)
            packet.pts, packet.dts = source.pts, source.dts
            packet.duration, packet.time_base = source.duration, source.time_base
        if self.offset and packet.time_base:
            ticks = round(self.offset / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - ticks
            packet.dts = None if packet.dts is None else packet.dts - ticks
        self._keep_forward(packet)
        packet.stream = self.target
        return packet

    def _keep_forward(self, packet: Packet) -> None:
        """Move times on where they run backwards, as where two recordings were joined."""
        if packet.dts is None:
            return
        dts = packet.dts + self.correction
        if self.next_dts is not None and dts < self.next_dts:
            if not self.correction:
                self.note(f"{self.target.type} times go backwards: repaired")
            self.correction += self.next_dts - dts
            dts = self.next_dts
        self.next_dts = dts + max(packet.duration or 0, 1)
        if self.correction:
            packet.pts = None if packet.pts is None else packet.pts + self.correction
            packet.dts = dts


def carry_streams(
    streams: Sequence[av.stream.Stream],
    output: av.container.OutputContainer,
    *,
    offset: Fraction,
    note: Callable[[str], None],
) -> dict[int, CarriedStream]:
    """Add every stream the output can hold to it.

    Args:
        streams: The source's streams but the upscaled one.
        output: The output, its video stream already added, nothing written yet.
        offset: Seconds to subtract from times.
        note: Called with a line for each stream that is converted or left out.

    Returns:
        The carried streams by their index in the source.
    """
    carried: dict[int, CarriedStream] = {}
    for stream in streams:
        label = f"{stream.type} stream #{stream.index}"
        if stream.type not in COPIED_TYPES:
            if stream.type != "video":
                note(f"{label} is left out: only audio and subtitles are carried over")
            elif stream.disposition & av.stream.Disposition.attached_pic:
                note(f"{label} is left out: a cover picture")
            continue
        context: av.CodecContext | None = stream.codec_context  # None where FFmpeg has no decoder
        if context is None:
            note(f"{label} is left out: its codec is unknown")
            continue
        codec = context.codec.canonical_name
        rewrite: Rewrite | None = None
        if _holds(output, codec):
            target = output.add_stream_from_template(stream)
        elif (conversion := _conversion(codec, output)) is not None:
            name, rewrite = conversion
            target = output.add_mux_stream(name)
            target.time_base = stream.time_base
            note(f"{label} is repackaged: {codec} as {name}")
        else:
            note(f"{label} is left out: {output.format.name} cannot hold {codec}")
            continue
        for key in ("language", "title"):
            if key in stream.metadata:
                target.metadata[key] = stream.metadata[key]
        target.disposition = stream.disposition
        carried[stream.index] = CarriedStream(target, rewrite, offset, note)
    return carried


def _holds(output: av.container.OutputContainer, codec: str) -> bool:
    supported = output.supported_codecs
    # MPEG-TS lists nothing, as it tags by stream type; it holds the codecs of broadcasting.
    if output.format.name == "mpegts":
        return codec in {"aac", "mp2", "mp3", "ac3", "eac3", "opus", "dts", "dvb_subtitle"}
    return codec in supported


def _conversion(codec: str, output: av.container.OutputContainer) -> tuple[str, Rewrite] | None:
    if codec == "mov_text" and _holds(output, "subrip"):
        return "subrip", text_from_mov_text
    if codec in ("subrip", "text") and _holds(output, "mov_text"):
        return "mov_text", mov_text_from_text
    return None


def text_from_mov_text(data: bytes) -> bytes:
    """The UTF-8 text of a mov_text sample: a 16-bit length, text, style boxes (3GPP TS 26.245)."""
    (length,) = struct.unpack_from(">H", data) if len(data) >= 2 else (0,)
    return data[2 : 2 + length]


def mov_text_from_text(data: bytes) -> bytes:
    """A mov_text sample of a SubRip cue; its few HTML-like tags have no place there."""
    text = re.sub(rb"</?[biu]>|</?font[^>]*>", b"", data)
    return struct.pack(">H", len(text)) + text
