"""Reading video files: frames as RGB with exact colours and times, other streams untouched.

with FileSource(path) as source:
    for item in source:  # SourceFrame, or a packet of another stream
        ...
"""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from ...counted import counted
from ...errors import ConfigError, UnreadableVideoError, UnsupportedVideoError
from ...host.processors import thread_limit
from ...pictures.colour import (
    CHROMA_LEFT,
    Colours,
    alpha_from_frame,
    frame_from_rgb,
    rgb_from_frame,
    to_eight_bits,
)
from ...pictures.copies import copied
from ...pictures.hdr import HdrFacts, is_hdr, read_facts
from ...pictures.limits import check_frame_size
from ...pictures.pyav import side_data
from ...pictures.relight import NAMES, SDR, Relight
from ...pictures.tone_map import ToneMap
from ...pictures.yuv import why_not_yuv, yuv_from_frame
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from .announced import Announced, Missing
from .deinterlace import Deinterlacer
from .file_clock import FileClock, starts_at
from .frame_times import FrameClock
from .hardware_decode import decoder_facts
from .hdr import take_hdr
from .info import VideoInfo, describe
from .input_file import alpha_decoder, choose_stream, is_animated_webp, open_input, packets
from .places import MOST_NAMED, Numbered, is_sequence, numbered
from .read_options import ReadOptions
from .stdin_reader import StdinReader

BROADCAST_FORMATS = frozenset({"mpegts", "mpeg"})
"""Containers whose clock starts anywhere; their time is moved to start at zero."""

SEEKABLE_FORMATS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
"""Containers with a reliable index; others are decoded from their beginning to the start."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame of the video."""

    picture: AnyPicture
    """(H, W, 3) RGB, or YUV 4:2:0 (`FileSource.keep`); a stream may change its size on the way."""

    pts: int
    """Presentation time in ticks of `VideoInfo.time_base`; strictly increasing."""

    alpha: npt.NDArray[np.uint8] | None = None
    """(H, W), 0 where all shines through; None where it is not kept."""

    @property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3); converted at each call where the picture is YUV."""
        if isinstance(self.picture, YuvPicture):
            return self.picture.rgb(VideoReformatter())
        return self.picture


class FileSource:
    """A video file; yields its frames in display order and the packets of its other streams.

    Opening decodes up to the first frame, so what is wrong with a file shows at once.

    Args:
        path: The file.
        options: What of it is read; without them HDR is refused.
        ended: Set to end reading; of standard input, which else waits for whoever sends.
        steady: Whether the file's clock is known not to jump, and need not be watched.

    Raises:
        InputNotFoundError: It does not exist or is a directory.
        UnreadableVideoError: It holds no video that decodes.
        UnsupportedVideoError: It is HDR and not to be taken, its frames are too large, or it is an
            animated WebP that FFmpeg does not decode.
        ConfigError: It has no such stream, or ends before the start.
        BackendUnavailableError: The GPU was asked for and cannot decode it.
    """

    def __init__(
        self,
        path: Path,
        options: ReadOptions | None = None,
        ended: threading.Event | None = None,
        *,
        steady: bool = False,
    ) -> None:
        self.path = path
        self._steady = steady
        self.ended = ended or threading.Event()
        self.options = options or ReadOptions(hdr="refuse")
        self.notes: list[str] = []
        """Lines worth telling the user: what is ignored, converted or repaired."""
        # Not a method: whoever keeps one of `self` keeps decoder and frames, in a cycle.
        self._note_once = partial(_note_once, self.notes)
        self.damaged_packets = 0
        """Packets the decoder refused; skipped."""
        self.damaged_frames = 0
        """Frames the decoder filled in for damage; kept."""
        self.missing: Missing | None = None
        """What the container announces and the file does not hold; known at its end."""
        self.frames_read = 0
        self.copies: int | None = None
        """Of the latest frame, from the decoder to the network; None before the first."""
        self.check_size: Callable[[int, int], None] = partial(check_frame_size, path)
        """Called with width and height of the first frame and of every change; may refuse."""
        self.time_offset = Fraction(0)
        """Seconds subtracted from every time: a broadcast clock's start, and `options.start`."""
        self._free_frames()
        self._stdin = StdinReader(self.ended)
        self.container = open_input(path, self.options.decoder, self.options.raw, self._stdin)
        try:
            self._begin()
        except BaseException:
            self.container.close()
            raise

    def _free_frames(self) -> None:
        """Free what files that were read before left.

        PyAV's frames hold themselves once their side data was read: one a file, with buffers of its
        decoder, which stay until Python looks for cycles, hundreds of megabytes later.
        """
        gc.collect()

    def _begin(self) -> None:
        self.stream = choose_stream(
            self.path, self.container, self.options.video_stream, self.notes.append
        )
        self.stream.thread_type = (
            "SLICE"  # frame threads lose what waits when the last packet is cut
        )
        self.stream.codec_context.thread_count = thread_limit()
        self._codec: Any = alpha_decoder(self.stream) or self.stream.codec_context
        self._codec.options = dict(CHROMA_LEFT)
        # Without it FFmpeg rounds a left crop down for speed and leaves junk columns.
        self._codec.flags |= Flags.unaligned
        self.carried = [s for s in self.container.streams if s.index != self.stream.index]
        self._reformatter = VideoReformatter()
        self._deinterlacer = Deinterlacer(self.stream, self.options.deinterlace, self._note_once)
        begin = starts_at(self.container)
        if self.container.format.name in BROADCAST_FORMATS and begin:
            self.time_offset = begin
            self.notes.append(
                f"times start at {float(self.time_offset):.3f} s (broadcast clock): moved to 0"
            )
        # In whole ticks, so that picture and sound move by the same.
        tick = Fraction(self.stream.time_base or Fraction(1, 90000))
        self.time_offset += math.ceil(self.options.start / tick) * tick
        self._info: VideoInfo | None = None
        self._clock: FrameClock | None = None
        self.hdr: HdrFacts | None = None
        self._tone_map: ToneMap | None = None
        self.deep = self._alpha = self._yuv = False
        self._alpha_reformatter = VideoReformatter()
        self._relights: dict[tuple[int, int], ToneMap | Relight] = {}  # by transfers
        self._bits = 0  # of the first frame
        self._first: av.VideoFrame | None = None  # until frames are asked for
        self._sizes: tuple[int, int] = (0, 0)
        self._ended = False
        self._pictures = True
        self._skipped = 0
        self._late: Fraction | None = None  # the first frame, from the start, behind what is read
        self._announced = Announced(self.path, self.container, self.stream, self._stdin)
        self._sequence = Numbered.find(self.path) if is_sequence(self.path) else None
        self._waiting: list[SourceFrame | av.Packet[Any]] = []
        sought = self._seek()
        self._items = self._decode()
        first = self._read_first()
        if sought and (first is None or self._missed_some(first)):
            self._restart()
            first = self._read_first()
        if first is None:
            raise self._nothing()
        self.decoder = decoder_facts(self.stream, self.options.decoder, self.notes.append)

    def _read_first(self) -> SourceFrame | None:
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, SourceFrame):
                return item
        return None

    def _seek(self) -> bool:
        """Go to a keyframe before the start, where the container has an index to trust."""
        if not self.options.start or self.container.format.name not in SEEKABLE_FORMATS:
            return False
        try:
            self.container.seek(round(self.time_offset * av.time_base), backward=True)
        except av.FFmpegError:
            return False
        return True

    def _missed_some(self, first: SourceFrame) -> bool:
        """Whether the frame at which decoding began may lie after the start."""
        return self._skipped == 0 and first.pts > 0

    def _restart(self) -> None:
        """Read from the beginning: the index led too far."""
        self.container.seek(0, backward=True)
        if self._codec is not self.stream.codec_context and self._codec.is_open:
            self._codec.flush_buffers()
        self.notes.clear()
        self._waiting.clear()
        self._info, self._clock, self._ended = None, None, False
        self._deinterlacer = Deinterlacer(self.stream, self.options.deinterlace, self._note_once)
        self._announced = Announced(self.path, self.container, self.stream, self._stdin)
        self.frames_read = self.damaged_packets = self.damaged_frames = self._skipped = 0
        self._items = self._decode()

    def _nothing(self) -> Exception:
        if self._late is not None:
            start, duration = float(self.options.start), self.options.duration
            return ConfigError(
                f"'{self.path}' has no frame from {start:g} s to {start + float(duration or 0):g} s"
                f"; the next one is at {start + float(self._late):g} s: choose a longer duration "
                "or a later start"
            )
        if self._skipped:
            return ConfigError(
                f"'{self.path}' ends before {float(self.options.start):g} s; choose an earlier "
                "start"
            )
        if is_animated_webp(self.path):
            return UnsupportedVideoError(
                f"'{self.path}' is an animated WebP, which this FFmpeg does not decode: "
                "PyAV 19 does (Python 3.12 or newer: pip install -U av); or convert it first, for "
                "example: magick IN.webp -coalesce OUT.gif"
            )
        packets = self.damaged_packets
        damage = f" ({counted(packets, 'damaged packet')})" if packets else ""
        return UnreadableVideoError(
            f"'{self.path}': no frame of its {self._codec_name()} video could be decoded{damage}"
            "; the file is damaged, encrypted or incomplete"
        )

    def why_not_yuv(self) -> str | None:
        """Say why frames cannot be given as YUV 4:2:0 as they are; None where they can.

        Call it before the first frame is taken.
        """
        if self._first is None:
            return "the first frame is not there any more"
        crop = self._crop
        if crop is not None and (crop.left % 2 or crop.top % 2):
            return f"the part {crop} begins between two pixels of chroma"
        if self._tone_map is not None:
            return "HDR is mapped to SDR in RGB"
        return why_not_yuv(self._first)

    def keep(self, *, deep: bool = False, alpha: bool = False, yuv: bool = False) -> None:
        """Give frames otherwise than usual; call it before the first one is taken.

        Args:
            deep: As uint16, see `arrays.Frame`.
            alpha: With their alpha.
            yuv: As `YuvPicture`, in the `stream_colours`; see `why_not_yuv`.
        """
        self.deep, self._alpha, self._yuv = deep, alpha, yuv
        for index, item in enumerate(self._waiting):
            if isinstance(item, SourceFrame) and self._first is not None:
                self._waiting[index] = self._source_frame(self._first, item.pts)

    def _source_frame(self, frame: av.VideoFrame, pts: int) -> SourceFrame:
        found, meant = transfer_of(frame), self.stream_colours.transfer
        if found != (meant if is_hdr(meant) else SDR) and self._tone_map is None:
            return self._relit(frame, pts, found)
        if self._yuv:
            self._note_bits(frame)
            picture = yuv_from_frame(frame, self.stream_colours, self._reformatter)
            picture = picture if self._crop is None else picture.part(self._crop)
            self.copies = copied(frame, picture)
            return SourceFrame(picture, pts)
        mapped = self._tone_map is not None and found != SDR
        deep = self.deep or mapped
        self._note_bits(frame)
        rgb = rgb_from_frame(frame, self._reformatter, deep=deep)
        if self._tone_map is not None and mapped:
            rgb = self._tone_map(rgb)
            rgb = rgb if self.deep else to_eight_bits(rgb)
        self.copies = copied(frame, rgb)
        alpha = alpha_from_frame(frame, self._alpha_reformatter) if self._alpha else None
        if self._crop is not None:
            rgb = self._crop.of(rgb)
            alpha = None if alpha is None else self._crop.of(alpha)
        return SourceFrame(rgb, pts, alpha)

    def _relit(self, frame: av.VideoFrame, pts: int, found: int) -> SourceFrame:
        """A frame of another transfer characteristic than the stream began with, as it looks there.

        Raises:
            UnsupportedVideoError: It is HDR and refused.
        """
        colours = self.stream_colours
        at = f"at frame {self.frames_read}"
        if found != SDR and self.options.hdr == "refuse":
            raise UnsupportedVideoError(
                f"'{self.path}' becomes HDR ({NAMES[found]}) {at}, which is refused here"
            )
        meant = colours.transfer if is_hdr(colours.transfer) else SDR
        self._note_once(
            f"the picture becomes {NAMES[found]} at frame {self.frames_read}: it is "
            f"mapped to {NAMES[meant]}, as the stream began"
        )
        if (found, meant) not in self._relights:
            primaries = (int(frame.color_primaries), colours.primaries)
            self._relights[found, meant] = (
                ToneMap(read_facts(found, side_data(frame)), primaries[0])
                if meant == SDR
                else Relight(found, meant, primaries)
            )
        rgb = rgb_from_frame(frame, self._reformatter, deep=True)
        rgb = self._relights[found, meant](rgb)
        rgb = rgb if self.deep else to_eight_bits(rgb)
        self.copies = copied(frame, rgb)
        picture: AnyPicture = rgb if self._crop is None else self._crop.of(rgb)
        if self._yuv:
            whole = frame_from_rgb(rgb, colours, "yuv420p", self._reformatter)
            picture = yuv_from_frame(whole, colours, self._reformatter)
            picture = picture if self._crop is None else picture.part(self._crop)
        alpha = alpha_from_frame(frame, self._alpha_reformatter) if self._alpha else None
        alpha = alpha if alpha is None or self._crop is None else self._crop.of(alpha)
        return SourceFrame(picture, pts, alpha)

    def _note_bits(self, frame: av.VideoFrame) -> None:
        """Say that levels of more bits than the first frame's are reduced."""
        bits = frame.format.components[0].bits
        self._bits = self._bits or bits
        if bits > max(self._bits, 8) and not self.deep:
            self._note_once(
                f"{bits} bits come at frame {self.frames_read}: reduced to 8, as the stream began"
            )

    @property
    def stream_colours(self) -> Colours:
        """What the numbers of every picture of YUV mean, whatever its frame says."""
        return self.info.colours

    @property
    def info(self) -> VideoInfo:
        """What is known of the video."""
        assert self._info is not None
        return self._info

    def __enter__(self) -> FileSource:
        """Return itself; the constructor opened the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file; no other thread may be reading."""
        self._items.close()
        self.container.close()

    def __iter__(self) -> Iterator[SourceFrame | av.Packet[Any]]:
        """Yield frames in display order, and packets of `carried` streams as they are met.

        A damaged packet is counted and skipped; what follows still comes.
        """
        waiting, self._waiting, self._first = self._waiting, [], None
        yield from waiting
        yield from self._items

    def without_pictures(self) -> Iterator[av.Packet[Any]]:
        """Yield the packets of `carried` streams alone, in the place of iterating.

        The video is read and not decoded.
        """
        self._pictures = False
        for item in self:
            if not isinstance(item, SourceFrame):
                yield item

    @property
    def interlaced(self) -> bool:
        """Whether an interlaced frame was met so far."""
        return self._deinterlacer.met

    def _decode(self) -> Generator[SourceFrame | av.Packet[Any], None, None]:
        if self._steady:
            yield from self._decode_packets(self._demuxed())
            return
        clock = FileClock(self.container.format.name, starts_at(self.container))
        try:
            yield from self._decode_packets(clock.corrected(self._demuxed()))
        finally:
            self.notes.extend(clock.notes())

    def _demuxed(self) -> Iterator[av.Packet[Any]]:
        """All packets as the file holds them, counted."""
        for packet in packets(self.container, self.stream, self._note_damage):
            self._announced.saw(packet)
            yield packet

    def _decode_packets(
        self, demuxed: Iterator[av.Packet[Any]]
    ) -> Generator[SourceFrame | av.Packet[Any], None, None]:
        for packet in demuxed:
            # The demuxer's end markers carry no stream_index of their own: ask the stream.
            if packet.stream.index != self.stream.index:
                if self._within(packet):
                    yield packet
                continue
            if self._ended or not self._pictures:
                if self._is_past(packet):
                    return
                continue
            try:
                frames = self._codec.decode(packet)
            except av.FFmpegError:
                self.damaged_packets += 1
                self._note_damaged_picture(packet)
                continue
            yield from self._finished(frames)
        if not self._ended:
            if self._pictures:
                yield from self._finished([], last=True)
            if (missing := self._announced.missing()) is not None and self.frames_read:
                self.missing = missing
                self.notes.append(missing.note())

    def _finished(
        self, frames: list[av.VideoFrame], *, last: bool = False
    ) -> Iterator[SourceFrame]:
        """Convert the decoded frames that lie between start and end."""
        for decoded in frames:
            for frame in self._deinterlacer.push(decoded):
                yield from self._cut(frame)
        if last:
            for frame in self._deinterlacer.finish():
                yield from self._cut(frame)

    def _cut(self, frame: av.VideoFrame) -> Iterator[SourceFrame]:
        pts = self._describe_and_time(frame)
        seconds = pts * self.info.time_base
        if self._ended or (self.options.start and seconds < 0):
            self._skipped += not self._ended
        elif self.options.ends_by(seconds):
            self._ended = True
            if not self.frames_read:
                self._late = seconds
        else:
            yield from self._taken(frame, pts)

    def _taken(self, frame: av.VideoFrame, pts: int) -> Iterator[SourceFrame]:
        """Convert a frame that lies between start and end."""
        yield self._convert(frame, pts)

    def _within(self, packet: av.Packet[Any]) -> bool:
        """Whether a packet of another stream belongs to what is read."""
        time = packet.pts if packet.pts is not None else packet.dts
        if time is None or self.options.whole:
            return True
        return self.options.holds(time * packet.time_base - self.time_offset)

    def _is_past(self, packet: av.Packet[Any]) -> bool:
        """Whether sound of the last frame can no longer follow."""
        if packet.dts is None:
            return False
        return self.options.sound_ends_by(packet.dts * packet.time_base - self.time_offset)

    def _note_damaged_picture(self, packet: av.Packet[Any]) -> None:
        """Name a picture of a sequence that does not decode, up to a few."""
        if self._sequence is not None and self.damaged_packets <= MOST_NAMED:
            name = numbered(self.path, self._sequence.first + (packet.pts or 0)).name
            self.notes.append(f"'{name}' is damaged and left out; the others keep their numbers")

    @property
    def numbers(self) -> Callable[[int], int] | None:
        """What number the picture of a frame's time (`pts`) has; None where this is no sequence."""
        if self._sequence is None:
            return None
        first, info, offset = self._sequence.first, self.info, self.time_offset
        return lambda pts: first + round((pts * info.time_base + offset) * info.rate)

    def _note_damage(self, reason: str) -> None:
        self.notes.append(
            f"the file is damaged after frame {self.frames_read}: {reason}; the rest was left out"
        )

    def _describe_and_time(self, frame: av.VideoFrame) -> int:
        if self._info is None or self._clock is None:
            info = describe(self.container, self.stream, frame, self.notes.append)
            info, self.hdr = take_hdr(self.path, frame, info, self.options.hdr, self.notes.append)
            if self.hdr is not None and not is_hdr(info.colours.transfer):
                self._tone_map = ToneMap(self.hdr, int(frame.color_primaries))
            self._sizes = (info.width, info.height)
            info = self._cropped(info)
            self._clock = FrameClock(
                self.container.format.name,
                info.time_base,
                info.rate,
                self.time_offset,
                self._note_once,
            )
            self._info = replace(info, frames=self.options.frames_of(info))
        return self._clock.time_of(frame)

    def _cropped(self, info: VideoInfo) -> VideoInfo:
        """Place the part that is taken in the picture as it is stored."""
        self._crop = crop = self.options.crop
        if crop is None:
            return info
        turns = info.rotation // 90
        size = (info.width, info.height)
        shown = size[::-1] if turns % 2 else size
        crop.require_within(str(self.path), *shown)
        self._crop = stored = crop.turned_back(turns, *shown)
        return replace(info, width=stored.width, height=stored.height)

    def _convert(self, frame: av.VideoFrame, pts: int) -> SourceFrame:
        self._look_at_size(frame.width, frame.height)
        converted = self._source_frame(frame, pts)
        if not self.frames_read:
            self._first = frame
        self.damaged_frames += frame.is_corrupt
        self.frames_read += 1
        return converted

    def _look_at_size(self, width: int, height: int) -> None:
        """Check the first size, and say that it changes."""
        crop, changed = self._crop, (width, height) != self._sizes
        self._sizes = (width, height)
        if crop is not None:
            if not self.frames_read:
                self.check_size(crop.width, crop.height)
            if changed:
                crop.require_within(str(self.path), width, height)
                kept = "the part that is taken stays where it is"
        else:
            if changed or not self.frames_read:
                self.check_size(width, height)
            kept = "the network starts again, its pictures are scaled to the first size's"
        if changed:
            self._note_once(
                f"the size changes to {width}x{height} at frame {self.frames_read}: {kept}"
            )

    def _codec_name(self) -> str:
        return str(self.stream.codec_context.name)


def transfer_of(frame: av.VideoFrame) -> int:
    """PQ's or HLG's code of a decoded frame, else `SDR`."""
    transfer = int(frame.color_trc)
    return transfer if is_hdr(transfer) else SDR


def _note_once(notes: list[str], note: str) -> None:
    """Add a line, unless there is one that differs in its frame alone."""
    key = note.partition(" at frame")[0]
    if not any(existing.startswith(key) for existing in notes):
        notes.append(note)
