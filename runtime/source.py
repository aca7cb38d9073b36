"""Reading video files: frames as RGB with exact colours and times, other streams untouched.

with FileSource(path) as source:
    for item in source:  # SourceFrame, or a packet of another stream
        ...
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.video.reformatter import VideoReformatter

from ..clips import ffmpeg_reason, media_url
from ..colour import CHROMA_LEFT, TRANSFER_HLG, TRANSFER_PQ, Colours, colours_of, rgb_from_frame
from ..errors import InputNotFoundError, UnreadableVideoError, UnsupportedVideoError

FALLBACK_RATE = Fraction(25)
"""Frame rate where neither the container nor the codec tells one."""

BROADCAST_FORMATS = frozenset({"mpegts", "mpeg"})
"""Containers whose clock starts anywhere; their time is moved to start at zero."""

DECODE_TIMES_ONLY = frozenset({"avi"})
"""Containers that store no presentation times; the decoder's derived ones can run backwards."""

JOINT_SECONDS = 1
"""Times that jump back by more are the start of another recording: all that follow are moved."""

QUARTER_TURN = 90

TONE_MAP = (
    "zscale=t=linear:npl=100,tonemap=hable,zscale=t=bt709:m=bt709:p=bt709:r=tv,format=yuv420p"
)
"""FFmpeg filters that turn HDR into SDR, for the advice in the error."""


@dataclass(frozen=True)
class VideoInfo:
    """What a source knows of its video after the first frame."""

    width: int
    """Pixels, as stored (before rotation)."""

    height: int
    """Pixels, as stored."""

    rate: Fraction
    """Nominal frames per second; times come from the frames, never from this."""

    time_base: Fraction
    """Seconds a PTS tick."""

    colours: Colours
    """Matrix, range, primaries, transfer."""

    rotation: int
    """Degrees counter-clockwise to turn the picture for display; a multiple of 90."""

    sample_aspect: Fraction
    """Width over height of a pixel."""

    frames: int
    """Estimated number of frames, 0 when unknown."""

    codec: str
    """Codec name."""

    pixel_format: str
    """FFmpeg's pixel format of the decoded frames."""


@dataclass(frozen=True)
class SourceFrame:
    """One frame of the video."""

    rgb: npt.NDArray[np.uint8]
    """(H, W, 3)."""

    pts: int
    """Presentation time in ticks of `VideoInfo.time_base`; strictly increasing."""


class FileSource:
    """A video file; yields its frames in display order and the packets of its other streams.

    Opening decodes up to the first frame, so what is wrong with a file shows at once.

    Args:
        path: The file.

    Raises:
        InputNotFoundError: It does not exist or is a directory.
        UnreadableVideoError: It holds no video that decodes.
        UnsupportedVideoError: It is HDR.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        """Lines worth telling the user: what is ignored, converted or repaired."""
        self.damaged_packets = 0
        """Packets the decoder refused; skipped."""
        self.damaged_frames = 0
        """Frames the decoder filled in for damage; kept."""
        self.frames_read = 0
        self.time_offset = Fraction(0)
        """Seconds subtracted from every time (broadcast containers only)."""
        try:
            kind = path.stat().st_mode
        except OSError as error:
            raise InputNotFoundError(f"no file '{path}': {error.strerror}") from error
        if stat.S_ISDIR(kind):
            raise InputNotFoundError(f"'{path}' is a directory; expected a video file")
        self.container = self._open()
        try:
            self._begin()
        except BaseException:
            self.container.close()
            raise

    def _open(self) -> av.container.InputContainer:
        try:
            # Some phones write metadata that is not UTF-8.
            return av.open(media_url(self.path), metadata_errors="replace")
        except (av.FFmpegError, UnicodeDecodeError, OSError) as error:
            raise UnreadableVideoError(
                f"'{self.path}' cannot be opened as video: {ffmpeg_reason(error)}; expected a "
                "video file such as mp4, mkv, mov, webm, avi or ts"
            ) from error

    def _begin(self) -> None:
        self.stream = self._choose_stream()
        self.stream.thread_type = "AUTO"
        self.stream.codec_context.options = dict(CHROMA_LEFT)
        # Without it FFmpeg rounds a left crop down for speed and leaves junk columns.
        self.stream.codec_context.flags |= Flags.unaligned
        self.carried = [s for s in self.container.streams if s.index != self.stream.index]
        self._reformatter = VideoReformatter()
        self._last_pts: int | None = None
        self._first_dts: int | None = None
        self._clock_correction = 0
        self._items = self._decode()
        self._waiting: list[SourceFrame | av.Packet[Any]] = []
        if self.container.format.name in BROADCAST_FORMATS and self.container.start_time:
            self.time_offset = Fraction(self.container.start_time, av.time_base)
            self.notes.append(
                f"times start at {float(self.time_offset):.3f} s (broadcast clock): moved to 0"
            )
        self._info: VideoInfo | None = None
        for item in self._items:
            self._waiting.append(item)
            if isinstance(item, SourceFrame):
                return
        raise UnreadableVideoError(
            f"'{self.path}': no frame of its {self._codec_name()} video could be decoded"
            + (f" ({self.damaged_packets} damaged packets)" if self.damaged_packets else "")
            + "; the file is damaged, encrypted or incomplete"
        )

    def _choose_stream(self) -> av.VideoStream:
        """Take the lowest-index video stream that is not a cover picture."""
        streams = [s for s in self.container.streams.video if s.codec_context is not None]
        movies = [s for s in streams if not s.disposition & av.stream.Disposition.attached_pic]
        if not movies:
            kinds = ", ".join(f"{s.type} #{s.index}" for s in self.container.streams) or "nothing"
            raise UnreadableVideoError(f"'{self.path}' has no video stream; it holds: {kinds}")
        if len(movies) > 1:
            others = ", ".join(f"#{s.index} ({s.width}x{s.height})" for s in movies[1:])
            self.notes.append(f"video stream #{movies[0].index} is upscaled; left out: {others}")
        return movies[0]

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
        self.container.close()

    def __iter__(self) -> Iterator[SourceFrame | av.Packet[Any]]:
        """Yield frames in display order, and packets of `carried` streams as they are met.

        A damaged packet is counted and skipped; what follows still comes.
        """
        waiting, self._waiting = self._waiting, []
        yield from waiting
        yield from self._items

    def _decode(self) -> Iterator[SourceFrame | av.Packet[Any]]:
        for packet in self._packets():
            # The demuxer's end markers carry no stream_index of their own: ask the stream.
            if packet.stream.index != self.stream.index:
                yield packet
                continue
            try:
                frames = self.stream.decode(packet)
            except av.FFmpegError:
                self.damaged_packets += 1
                continue
            for frame in frames:
                yield self._convert(frame)

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """Demux until the end, or until the container is too damaged to go on."""
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError as error:
                self.notes.append(
                    f"the file is damaged after frame {self.frames_read}: {ffmpeg_reason(error)}; "
                    "the rest was left out"
                )
                # What the decoder still holds comes with a flush.
                yield self._flush_packet()
                return
            yield packet

    def _flush_packet(self) -> av.Packet[Any]:
        packet = av.Packet()
        packet.stream = self.stream
        return packet

    def _convert(self, frame: av.VideoFrame) -> SourceFrame:
        if self._info is None:
            self._info = self._describe(frame)
        info = self._info
        size = None
        if (frame.width, frame.height) != (info.width, info.height):
            size = (info.width, info.height)
            self._note_once(
                f"the size changes to {frame.width}x{frame.height} at frame "
                f"{self.frames_read}: scaled back to {info.width}x{info.height}"
            )
        rgb = rgb_from_frame(frame, self._reformatter, size=size)
        self.damaged_frames += frame.is_corrupt
        self.frames_read += 1
        return SourceFrame(rgb, self._time_of(frame))

    def _describe(self, frame: av.VideoFrame) -> VideoInfo:
        colours = colours_of(frame)
        if colours.transfer in (TRANSFER_PQ, TRANSFER_HLG):
            kind = "PQ (HDR10 or Dolby Vision)" if colours.transfer == TRANSFER_PQ else "HLG"
            raise UnsupportedVideoError(
                f"'{self.path}' is HDR ({kind}), which an 8-bit network would show with wrong "
                f"colours; convert it to SDR first, for example: ffmpeg -i IN -vf {TONE_MAP} OUT"
            )
        if any(component.bits > 8 for component in frame.format.components):
            self.notes.append(f"{frame.format.name} is reduced to 8 bits")
        stream = self.stream
        layered = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
        if layered or any(component.is_alpha for component in frame.format.components):
            self.notes.append("the alpha channel is left out")
        if frame.interlaced_frame:
            self.notes.append(
                "the video is interlaced and upscaled as it is, combs included; deinterlace it "
                "first: ffmpeg -i IN -vf bwdif OUT"
            )
        rate = stream.guessed_rate or stream.average_rate or FALLBACK_RATE
        frames = stream.frames
        if not frames and self.container.duration:
            average = stream.average_rate or rate
            frames = round(Fraction(self.container.duration, av.time_base) * average)
        aspect = stream.sample_aspect_ratio
        return VideoInfo(
            width=frame.width,
            height=frame.height,
            rate=Fraction(rate),
            time_base=stream.time_base or Fraction(1, 90000),
            colours=colours,
            rotation=self._rotation(frame),
            sample_aspect=Fraction(aspect) if aspect else Fraction(1),
            frames=max(frames, 0),
            codec=self._codec_name(),
            pixel_format=frame.format.name,
        )

    def _rotation(self, frame: av.VideoFrame) -> int:
        rotation = frame.rotation
        if rotation % QUARTER_TURN or abs(rotation) > 360:
            self.notes.append(f"the rotation tag of {rotation} degrees makes no sense: ignored")
            return 0
        return rotation % 360

    def _time_of(self, frame: av.VideoFrame) -> int:
        """Presentation time, repaired where the file gives none or goes backwards."""
        time_base, last = self.info.time_base, self._last_pts
        step = frame.duration or max(round(1 / (self.info.rate * time_base)), 1)
        pts = frame.pts
        if self.container.format.name in DECODE_TIMES_ONLY:
            # Decoding times in display order, less the decoder's delay; frames that come out of
            # the final flush have none.
            if self._first_dts is None:
                self._first_dts = frame.dts
            pts = None
            if frame.dts is not None and self._first_dts is not None:
                pts = frame.dts - self._first_dts
        if pts is not None:
            pts -= round(self.time_offset / time_base)
        if pts is None:
            pts = 0 if last is None else last + step
        else:
            pts += self._clock_correction
        if last is not None and pts <= last:
            self._note_once(f"times go backwards at frame {self.frames_read - 1}: repaired")
            if (last - pts) * time_base > JOINT_SECONDS:
                self._clock_correction += last + step - pts
            pts = last + step
        self._last_pts = pts
        return pts

    def _note_once(self, note: str) -> None:
        key = note.partition(" at frame")[0]
        if not any(existing.startswith(key) for existing in self.notes):
            self.notes.append(note)

    def _codec_name(self) -> str:
        return str(self.stream.codec_context.name)
