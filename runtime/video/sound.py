"""Sound on its way into the output: copied where the container takes it, else encoded anew.

What a container takes is tried, not looked up: FFmpeg lists codecs for containers whose header it
then refuses to write (TrueHD in mp4, FLAC and Opus in mov, AAC of a transport stream in avi).
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import av
from av.filter import Graph

from ...pictures.clips import ffmpeg_reason
from ...pictures.pyav import open_input

Packet: TypeAlias = "av.Packet[Any]"

AudioMode: TypeAlias = Literal["auto", "copy", "none"]

BROADCAST_CODECS = frozenset({"aac", "mp2", "mp3", "ac3", "eac3", "opus", "dts", "dvb_subtitle"})
"""What MPEG-TS holds: FFmpeg lists nothing for it, as it tags by stream type."""

AVI_SOUND = frozenset({"aac", "mp2", "mp3", "ac3", "adpcm_ms", "adpcm_ima_wav"})
"""What players find in avi beside PCM; FFmpeg writes FLAC and Vorbis there and cannot read them,
and fails at the first packet of DTS."""

WITHOUT_TIMES = frozenset({"avi"})
"""Containers that hold sound without times: it begins at 0, and a pause in it is gone."""

PAUSING_SOURCES = frozenset({"mpegts", "mpeg", "flv"})
"""Containers in which pauses of sound are ordinary, as they are recordings of broadcasts."""

LATEST_START_S = Fraction(1, 50)
"""After the picture: half a frame of most rates, which `WITHOUT_TIMES` moves anyway."""

PCM_OF_16_BITS = frozenset({"mp4", "ipod"})
"""Containers in which readers before FFmpeg 6 look for no other PCM."""

ENCODERS = {"webm": ("libopus", "Opus"), "avi": ("libmp3lame", "MP3")}
"""Encoder of sound that a container cannot hold as it is; AAC elsewhere."""

BITS_PER_CHANNEL = {"libopus": 64_000, "libmp3lame": 96_000, "aac": 80_000}
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Layouts that are kept, by their channels; others are mixed to stereo."""

SILENCE_FILLED_S = 0.02
"""Gaps longer than this, such as one lost packet, become silence in sound that is encoded anew:
decoders play on through them, and the sound would be early from there on."""

BEFORE_ZERO = frozenset({"mp4", "mov", "ipod"})
"""Containers whose sound may begin before zero."""

LEAST_SOUND_S = Fraction(1, 200)
"""What may be lost of the first sample on, with what comes before zero."""

ADTS_HEADER_BYTES = 7


@dataclass(frozen=True)
class Encoding:
    """How sound is encoded anew."""

    encoder: str
    name: str
    rate: int
    layout: str
    bit_rate: int

    @property
    def text(self) -> str:
        """As a note says it."""
        return f"{self.name}, {self.layout}, {self.bit_rate // 1000} kb/s"


def refusal(output: av.container.OutputContainer, stream: av.stream.Stream) -> str | None:
    """Why an output's container would not take a stream as it is; None where it does."""
    context: Any = stream.codec_context
    codec, name = str(context.codec.canonical_name), output.format.name
    if name in PCM_OF_16_BITS and codec.startswith("pcm_") and codec != "pcm_s16le":
        return f"readers take {codec} in {name} for 16 bits and play noise"
    if not _is_listed(codec, name, output):
        return f"{name} cannot hold {codec}"
    if name == "mpegts":
        return None  # its header says nothing of streams
    try:
        with av.open(io.BytesIO(), "w", format=name) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, OSError, ValueError) as error:
        return f"{name} does not take this {codec} ({ffmpeg_reason(error)})"
    return None


def _is_listed(codec: str, name: str, output: av.container.OutputContainer) -> bool:
    if name == "mpegts":
        return codec in BROADCAST_CODECS
    if name == "avi":
        return codec in AVI_SOUND or (codec.startswith("pcm_") and codec in output.supported_codecs)
    return codec in output.supported_codecs


def encoding_for(output: av.container.OutputContainer, stream: av.AudioStream) -> Encoding:
    """Choose how a stream is encoded anew for an output; its rate and channels are known."""
    encoder, name = ENCODERS.get(output.format.name, ("aac", "AAC"))
    layout = LAYOUTS.get(stream.layout.nb_channels, "stereo")
    if encoder == "libmp3lame" and layout != "mono":
        layout = "stereo"
    rates = av.Codec(encoder, "w").audio_rates or []
    rate = stream.rate if stream.rate in rates else 48_000
    channels = next(count for count, known in LAYOUTS.items() if known == layout)
    return Encoding(encoder, name, rate, layout, BITS_PER_CHANNEL[encoder] * channels)


def is_known(stream: av.stream.Stream) -> bool:
    """Whether a sound stream says what it is: nothing does where it is silent all along."""
    context: Any = stream.codec_context
    return bool(context.rate) and bool(context.layout.nb_channels)


def needs_adts(stream: av.stream.Stream) -> bool:
    """Whether a stream's packets are AAC with a header each, as in transport streams."""
    context: Any = stream.codec_context
    return context.codec.canonical_name == "aac" and not context.extradata


def is_adts(data: bytes) -> bool:
    """Whether a packet begins with a header of AAC (ISO/IEC 13818-7, 6.2) that can be true."""
    if len(data) < ADTS_HEADER_BYTES:
        return False
    synced = data[0] == 0xFF and data[1] & 0xF6 == 0xF0
    length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    rate = data[2] >> 2 & 15
    return synced and rate < 13 and ADTS_HEADER_BYTES <= length <= len(data)


def changes_on_the_way(stream: av.AudioStream) -> bool:
    """Whether AAC with headers changes rate or channels, as broadcasts do between programmes.

    Without headers, as in mp4 and mkv, all of it would be played as the first of it is. The file is
    read through for it once, which takes a second or so for a gigabyte.
    """
    name = stream.container.name
    if not os.path.isfile(name.removeprefix("file:")):
        return False  # a pipe is read once
    found: set[bytes] = set()
    with open_input(name) as container, suppress(av.FFmpegError):
        for packet in container.demux(container.streams[stream.index]):
            data = bytes(packet)
            if is_adts(data):
                # Profile and rate, without a private bit, and channels.
                found.add(bytes((data[2] & 0xFD, data[3] & 0xC0)))
    return len(found) > 1


class EncodedSound:
    """One sound stream, decoded and encoded anew; gaps become silence, overlaps are cut.

    Args:
        source: The input's stream; its decoder is used by nobody else.
        output: Gets a stream.
        encoding: How.
        offset: Seconds to subtract from times.
    """

    def __init__(
        self,
        source: av.AudioStream,
        output: av.container.OutputContainer,
        encoding: Encoding,
        offset: Fraction,
    ) -> None:
        self._source, self._encoding, self._offset = source, encoding, offset
        target: Any = output.add_stream(encoding.encoder, rate=encoding.rate)
        target.layout, target.bit_rate = encoding.layout, encoding.bit_rate
        self.target: Any = target
        self._before_zero = output.format.name in BEFORE_ZERO
        self._from_start = output.format.name in WITHOUT_TIMES
        self.damaged = 0
        """Packets that do not decode; left out."""
        self._graph: Graph | None = None
        self._format: tuple[str, str, int] | None = None

    def packets(self, source: Packet) -> Iterator[Packet]:
        """Yield what comes of a source packet."""
        try:
            frames = self._source.decode(source)
        except av.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            if frame.pts is not None and frame.time_base:
                frame.pts -= round(self._offset / frame.time_base)
            yield from self._encoded(frame)

    def finish(self) -> Iterator[Packet]:
        """Yield what decoder, filter and encoder still hold."""
        with suppress(av.FFmpegError):
            for frame in self._source.decode(None):
                yield from self._encoded(frame)
        yield from self._drained()
        yield from self._from_zero(self.target.encode(None))

    def _encoded(self, frame: av.AudioFrame) -> Iterator[Packet]:
        shape = (frame.format.name, frame.layout.name, frame.rate)
        if shape != self._format:
            yield from self._drained()
            self._graph, self._format = self._build(frame), shape
        assert self._graph is not None
        self._graph.push(frame)
        yield from self._ready()

    def _drained(self) -> Iterator[Packet]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[Packet]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield from self._from_zero(self.target.encode(frame))

    def _from_zero(self, packets: list[Packet]) -> Iterator[Packet]:
        """Leave out what an encoder puts before its first sample where it would move the rest."""
        for packet in packets:
            if not self._before_zero and packet.pts is not None and packet.time_base:
                ends = (packet.pts + (packet.duration or 0)) * packet.time_base
                if packet.pts < 0 and ends < LEAST_SOUND_S:
                    continue
            yield packet

    def _build(self, frame: av.AudioFrame) -> Graph:
        graph, wanted = Graph(), self._encoding
        begin = ":first_pts=0" if self._from_start and self._format is None else ""
        context = self.target.codec_context
        graph.link_nodes(
            graph.add_abuffer(
                sample_rate=frame.rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=frame.time_base,
            ),
            graph.add("aresample", f"async=1:min_hard_comp={SILENCE_FILLED_S}{begin}"),
            graph.add(
                "aformat",
                f"sample_fmts={context.format.name}:sample_rates={wanted.rate}"
                f":channel_layouts={wanted.layout}",
            ),
            graph.add("abuffersink"),
        ).configure()
        return graph


def may_pause(stream: av.AudioStream, offset: Fraction) -> bool:
    """Whether a stream begins after the picture, or pauses may be expected in it.

    Args:
        stream: Of the input.
        offset: Seconds to subtract from its times.
    """
    begin = (stream.start_time or 0) * Fraction(stream.time_base or 1)
    return begin - offset > LATEST_START_S or stream.container.format.name in PAUSING_SOURCES


def choose(
    stream: av.AudioStream,
    output: av.container.OutputContainer,
    mode: AudioMode,
    offset: Fraction,
    note: Callable[[str], None],
) -> Encoding | Literal["copy"] | None:
    """Decide what becomes of a sound stream; None leaves it out, which is said.

    Args:
        stream: Of the input.
        output: Where it goes.
        mode: As the user chose.
        offset: Seconds to subtract from its times.
        note: Called with a line where it is not copied.
    """
    label = f"audio stream #{stream.index}"
    if not is_known(stream):
        note(f"{label} is left out: no sound comes from it that tells its rate and channels")
        return None
    why = refusal(output, stream)
    name = output.format.name
    if why is None and mode == "auto" and name in WITHOUT_TIMES and may_pause(stream, offset):
        why = f"{name} holds neither a late beginning of sound nor its pauses"
    if why is None and name != "mpegts" and needs_adts(stream) and changes_on_the_way(stream):
        why = "its rate or channels change on the way"
    if why is None:
        return "copy"
    if mode == "copy":
        note(f"{label} is left out: {why}; --audio auto encodes it again")
        return None
    encoding = encoding_for(output, stream)
    note(f"{label} is encoded again ({encoding.text}): {why}")
    return encoding
