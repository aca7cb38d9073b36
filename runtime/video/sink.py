"""Writing video files: RGB frames in, encoded and muxed beside the final name, moved at the end.

with FileSink(path, source, options) as sink:
    sink.write(rgb, pts)
    sink.finish()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ...counted import counted
from ...errors import ConfigError, OutputNotWritableError
from ...host.processors import thread_limit
from ...pictures.clips import ffmpeg_reason, media_url
from ...pictures.colour import CHROMA_LEFT, set_alpha, set_gray
from ...pictures.copies import copied
from ...pictures.hdr import is_hdr
from ...pictures.limits import encoded_side_line
from ...pictures.output_size import OutputSize
from ...pictures.pyav import open_input
from ...pictures.yuv import frame_of
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from .carried import CarriedStream, carry_streams
from .containers import (
    CODING_ORDER,
    MILLISECONDS,
    NEGATIVE_TIMES,
    ROTATION_TAGGED,
    OutputTimes,
    container_options,
)
from .decoding_times import DecodingTimes
from .encoders import EncodeOptions, encoder_options, find_encoder, takes_nv12
from .hdr import encoder_of, require_hdr_bits, require_hdr_output
from .hdr_tags import tag_file
from .info import VideoInfo
from .labels import carried_timecode, kept_metadata, timecode_of
from .matroska import tag_pixel_aspect
from .output_file import ENCODERS, check_output, move_in, part_name
from .planes import Chosen, choose_format
from .preset_fit import fit_preset
from .sink_plain import is_plain, plain_planes
from .sound import EncodedSound
from .source import FileSource

AnySink = TypeVar("AnySink", bound="FileSink")

LEAST_HDR_SIDE = 64
"""Pixels of a side that each encoder of HDR takes; x265 takes some that are smaller."""

ASPECT_TOLERANCE = 0.01
"""Relative; Matroska counts whole pixels of the shown size."""


def planes_for(path: Path, info: VideoInfo, options: EncodeOptions, *, why: str = "") -> Chosen:
    """What an output's encoder is given.

    Args:
        path: Of the output.
        info: What is written.
        options: Encoder choices.
        why: Why no more than 8 bits can come, where that is so.

    Raises:
        ConfigError: There is no such encoder, or it takes nothing that can be given.
    """
    hdr = is_hdr(info.colours.transfer)
    if hdr:
        require_hdr_output(path, plain=is_plain(path), bits=options.bits, why=why)
    if is_plain(path):
        return plain_planes(path, info, options, why=why)
    encoder = encoder_of(path, info, options.encoder, ENCODERS)
    codec = find_encoder(encoder)
    chosen = choose_format(
        encoder, codec, info.planes, bits=options.bits, colour=options.chroma, why=why
    )
    if hdr:
        require_hdr_bits(encoder, chosen.holds.bits)
        reduced = " (--bits 8 reduces them)"  # not here
        chosen = replace(chosen, notes=tuple(n.replace(reduced, "") for n in chosen.notes))
    return chosen


class FileSink:
    """An output file. The final path never holds a partial file: see `finish`.

    Args:
        path: The final name; its ending chooses the container.
        source: Gives times, colours, rotation, aspect, metadata and the streams to carry.
        options: Encoder choices.
        note: Called with lines worth telling the user.
        info: The video that is written, in input pixels, where it is not the source's.
        carry: Whether the source's other streams and chapters come along.
        why_not_deep: Why pictures of more than 8 bits cannot come, where that is so.

    Raises:
        OutputExistsError, OutputNotWritableError, ConfigError: See `check_output`.
    """

    def __init__(
        self,
        path: Path,
        source: FileSource,
        options: EncodeOptions,
        note: Callable[[str], None],
        *,
        info: VideoInfo | None = None,
        carry: bool = True,
        why_not_deep: str = "",
    ) -> None:
        check_output(path, options, source.path)
        self.path = path
        info = info or source.info
        self.info = info
        self.turns = 0
        self.copies: int | None = None
        """Of the latest picture, until the encoder was given it; None before the first."""
        self._hdr = source.hdr if is_hdr(info.colours.transfer) else None
        self._finished = False
        self._why_not_deep = why_not_deep
        self._note = note
        self._shift_ms = 0.0
        self._written = self._refused = 0
        self._decoding = DecodingTimes()
        self._reformatter, self._alpha_reformatter = VideoReformatter(), VideoReformatter()
        self._overwrite = options.overwrite
        self._part = part_name(path)
        try:
            self._part.touch(exist_ok=False)  # FFmpeg would look only when the header is written
            self._container = av.open(
                media_url(self._part), "w", container_options=self._container_options(source)
            )
        except (av.FFmpegError, OSError) as error:
            with suppress(OSError):
                self._part.unlink(missing_ok=True)
            raise OutputNotWritableError(
                f"cannot write in '{path.parent}': {ffmpeg_reason(error)}"
            ) from error
        try:
            self._add_video(info, options)
            for key in ("language", "title"):
                if key in source.stream.metadata:
                    self._stream.metadata[key] = source.stream.metadata[key]
            self._container.metadata.update(kept_metadata(source.container.metadata))
            self._carried: dict[int, CarriedStream | EncodedSound] = carry_streams(
                source.carried if carry else (),
                self._container,
                offset=source.time_offset,
                audio=options.audio,
                note=note,
            )
            if carry:
                self._carry_chapters(source)
                self._carry_timecode(source)
        except BaseException:
            self.abort()
            raise

    def _container_options(self, source: FileSource) -> dict[str, str]:
        """What the muxer is told."""
        return container_options(self.path, source)

    def _add_video(self, info: VideoInfo, options: EncodeOptions) -> None:
        suffix = self.path.suffix.lower()
        encoder = encoder_of(self.path, info, options.encoder, ENCODERS)
        if encoder != (options.encoder or ENCODERS[suffix]):
            self._note(
                f"{encoder} encodes: HDR in {ENCODERS[suffix]} is shown as HDR by few players"
            )
        chosen = planes_for(self.path, info, options, why=self._why_not_deep)
        rate = info.rate.limit_denominator(65535)
        try:
            stream: Any = self._container.add_stream(encoder, rate=rate)
        except (ValueError, av.FFmpegError) as error:
            raise ConfigError(
                f"'{suffix}' files cannot hold video of encoder '{encoder}': {error}"
            ) from error
        sized = (options.size or OutputSize()).of(
            info.width, info.height, aspect=info.sample_aspect, rotation=info.rotation
        )
        width, height = sized.width, sized.height
        for line in sized.notes:
            self._note(line)
        if info.rotation and suffix not in ROTATION_TAGGED:
            self.turns = info.rotation // 90
            self._note(
                f"the picture is turned by {info.rotation} degrees: {suffix} cannot tag rotation"
            )
        elif info.rotation:
            stream.set_display_rotation(info.rotation)
        swapped = self.turns % 2 == 1
        stream.width, stream.height = (height, width) if swapped else (width, height)
        self.width, self.height = stream.width, stream.height
        for line in chosen.notes:
            self._note(line)
        self._chosen, self.pixel_format, self.planes = chosen, chosen.name, chosen.holds
        self._given = stream.pix_fmt = self.pixel_format
        aspect = 1 / sized.aspect if swapped else sized.aspect
        context = stream.codec_context
        context.sample_aspect_ratio = aspect
        context.thread_count = options.threads or thread_limit()
        self._times = OutputTimes(suffix, info, rate)
        if suffix in CODING_ORDER:
            context.max_b_frames = 0
        context.time_base = self._times.time_base
        context.framerate = rate
        colours = info.colours
        context.colorspace, context.color_range = colours.matrix, 2 if colours.full_range else 1
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        fitted = fit_preset(encoder, options, (width, height), rate, self._note)
        stream.options = encoder_options(encoder, fitted, self._hdr)
        self.encoder = encoder
        self._stream = stream

    def why_not_yuv(self) -> str | None:
        """Say why pictures cannot come as YUV 4:2:0; None where they can."""
        if self.turns:
            return "the picture is turned"
        return self._chosen.why_not_yuv()

    def expect_yuv(self) -> None:
        """Prepare for pictures of YUV 4:2:0, before `open_encoder`.

        An encoder that takes NV12 gets it: the planes are the network's.
        """
        if takes_nv12(self.encoder):
            self._given = self._stream.pix_fmt = "nv12"

    def open_encoder(self) -> None:
        """Start the encoder and write the header; called once before the first frame.

        Raises:
            ConfigError: The encoder or the container refuses the stream; says what it was given.
        """
        try:
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            if self._stream.codec_context.is_open:
                held = ", ".join(sorted({c.target.type for c in self._carried.values()}))
                raise ConfigError(
                    f"'{self.path.suffix}' takes {self.encoder}"
                    + (f" together with this {held}" if held else "")
                    + f" not: {ffmpeg_reason(error)}; try another container, or --audio none"
                ) from error
            given = ", ".join(
                f"{k} {v}" for k, v in self._stream.options.items() if k not in CHROMA_LEFT
            )
            raise ConfigError(
                f"encoder '{self.encoder}' refuses {self.width}x{self.height} {self.pixel_format} "
                f"for '{self.path.suffix}' with time base {self._times.time_base}"
                + (f", {given}" if given else "")
                + f": {ffmpeg_reason(error)}; {self._way_out()}"
            ) from error

    def _way_out(self) -> str:
        """What to do where the encoder refuses the stream."""
        if line := encoded_side_line(self.width, self.height):
            return line
        if self._hdr is not None and min(self.width, self.height) < LEAST_HDR_SIDE:
            return (
                "encoders of HEVC and AV1 take no pictures as small as that, --encoder libx264 does"
            )
        return "try another encoder, preset, container or size"

    def _carry_chapters(self, source: FileSource) -> None:
        """Copy the chapter marks, where the source has any."""
        chapters = source.container.chapters()
        if not chapters:
            return
        for chapter in chapters:
            ticks = round(source.time_offset / (chapter["time_base"] or 1))
            chapter["start"] = max(chapter["start"] - ticks, 0)
            chapter["end"] -= ticks
        self._container.set_chapters([each for each in chapters if each["end"] > each["start"]])

    def _carry_timecode(self, source: FileSource) -> None:
        """Count the time code of the first frame on, where the source has one."""
        timecode = timecode_of(source.container, source.stream)
        if timecode is not None:
            name, start = self._container.format.name, source.options.start
            carried = carried_timecode(timecode, start, source.info.rate, name, self._note)
            if carried is not None:
                self._stream.metadata["timecode"] = carried

    def write(
        self,
        picture: AnyPicture,
        pts: int,
        alpha: npt.NDArray[np.uint8] | None = None,
    ) -> None:
        """Encode one frame.

        Args:
            picture: (4H, 4W, 3) uint8 of the source's H and W, or YUV 4:2:0 (`expect_yuv`); scaled
                to the output's size.
            pts: In ticks of the source's time base.
            alpha: (H, W) uint8, scaled to the output's size; None for none.

        Raises:
            OutputNotWritableError: The disk is full or gone.
        """
        frame = self._frame_of(picture)
        if self.planes.gray:
            set_gray(frame)
        if alpha is not None and self.planes.alpha:
            turned = np.ascontiguousarray(np.rot90(alpha, self.turns))
            set_alpha(frame, turned, self._alpha_reformatter)
        frame.pts = self._times.tick(pts)
        frame.time_base = self._times.time_base
        self._decoding.frame(frame, self._stream.time_base.denominator)
        self._encode(frame)

    def _frame_of(self, picture: AnyPicture) -> av.VideoFrame:
        """What the encoder is given, without its time."""
        size = (self.width, self.height)
        form, given = self._given, picture
        if isinstance(given, YuvPicture):
            colours = given.colours
        else:
            form, colours = self.pixel_format, self.info.colours
            given = np.ascontiguousarray(np.rot90(given, self.turns)) if self.turns else given
        made = frame_of(given, colours, form, self._reformatter, size=size)
        self.copies = copied(picture, made)
        return made

    def _encode(self, frame: av.VideoFrame | None) -> None:
        packets: list[Any] = []
        if frame is None:
            self._decoding.end()
        self._guard(lambda: packets.extend(self._stream.encode(frame)))
        for packet in packets:
            self._written += 1
            self._decoding.packet(packet)
            self._mux(packet)

    def _mux(self, packet: av.Packet[Any]) -> None:
        """Write a packet; one of the sound that the muxer finds damaged is left out.

        The muxer sorts packets by time, so that it may find the fault when a later packet of
        another stream comes: `finish` counts whether all of the video is there.
        """
        try:
            self._container.mux(packet)
        except (av.error.InvalidDataError, av.error.ArgumentError, ValueError) as error:
            if not self._carried:
                raise self._failure(error) from error
            self._refused += 1
        except (av.FFmpegError, OSError) as error:
            raise self._failure(error) from error

    def carry(self, packet: av.Packet[Any]) -> None:
        """Write a packet of another stream, where that stream is carried at all."""
        stream = self._carried.get(packet.stream.index)
        if stream is not None:
            self._write_carried(stream.packets(packet))

    def _write_carried(self, packets: Iterator[av.Packet[Any]]) -> None:
        for ready in packets:
            time = ready.dts if ready.dts is not None else ready.pts
            if time is not None and time < 0 and self.path.suffix.lower() not in NEGATIVE_TIMES:
                shift_ms = float(-time * ready.time_base) * 1000
                self._shift_ms = max(self._shift_ms, shift_ms)
            self._mux(ready)

    def flush(self) -> None:
        """Encode what the encoders still hold.

        Raises:
            OutputNotWritableError: The disk is full or gone.
        """
        self._encode(None)
        for index, stream in self._carried.items():
            self._write_carried(stream.finish())
            label = f"{stream.target.type} stream #{index}"
            if stream.damaged:
                lost = counted(stream.damaged, "damaged packet")
                are = "is" if stream.damaged == 1 else "are"
                self._note(f"{lost} of {label} {are} left out")
            if isinstance(stream, CarriedStream) and stream.lost_s:
                self._note(
                    f"{float(stream.lost_s):.2f} s of silence in {label} are lost, what follows is "
                    f"early by them: {self.path.suffix} holds no pauses of sound, mkv and mp4 do"
                )
            if isinstance(stream, CarriedStream) and stream.crowded:
                crowded = counted(stream.crowded, "packet")
                self._note(f"{crowded} of {label} had no time of their own: moved on")
        if self._shift_ms:
            self._note(
                f"all times are shifted by {self._shift_ms:.0f} ms: the sound starts before 0"
            )
        for note in self._times.notes():
            self._note(note)

    def finish(self) -> None:
        """Close the file and move it to its final name.

        Raises:
            OutputNotWritableError: The disk is full or gone, and nothing is left behind; or the
                file cannot be moved, and the message says where it is.
        """
        self._guard(self._container.close)
        self._finished = True
        try:
            self._guard(self._check_written)
            move_in(self._part, self.path, overwrite=self._overwrite, what="the result")
        finally:
            self.abort()

    def _check_written(self) -> None:
        """Read the finished file's tags back, and say what it does not carry."""
        if self._refused:
            self._count_video()
            left = counted(self._refused, "packet is", "packets are")
            self._note(f"{left} left out, which {self.path.suffix} refuses")
        aspect = Fraction(self._stream.codec_context.sample_aspect_ratio or 1)
        if self._hdr is not None and not tag_file(self._part, self.path.suffix.lower(), self._hdr):
            self._note(
                f"{self.path.suffix} says nothing of the mastering display and the content's light "
                f"beside what {self.encoder} writes into its frames"
            )
        matrix, found, metadata = self._tags()
        if found != aspect and self.path.suffix.lower() in MILLISECONDS:
            tag_pixel_aspect(self._part, self.width, self.height, aspect)
            _, found, _ = self._tags()
        if lost := sorted(set(kept_metadata(self._container.metadata)) - set(metadata)):
            self._note(f"{self.path.suffix} does not hold these tags: {', '.join(lost)}")
        if abs(found / aspect - 1) > ASPECT_TOLERANCE:
            self._note(
                f"{self.encoder} in {self.path.suffix} carries no pixel aspect: pixels of "
                f"{aspect.numerator}:{aspect.denominator} are shown as "
                f"{found.numerator}:{found.denominator}"
            )
        if matrix != self.info.colours.matrix:
            self._note(
                f"{self.encoder} in {self.path.suffix} carries no colour matrix: players guess it "
                f"from the size (it is H.273 code {self.info.colours.matrix})"
            )

    def _tags(self) -> tuple[int, Fraction, dict[str, str]]:
        """Colour matrix, pixel aspect and metadata of the finished file, as a reader finds them."""
        with open_input(media_url(self._part)) as written:
            video = written.streams.video[0]
            aspect = Fraction(video.sample_aspect_ratio or 1)
            return int(video.codec_context.colorspace), aspect, kept_metadata(written.metadata)

    def _count_video(self) -> None:
        """Check that no packet of the video was refused.

        Raises:
            OutputNotWritableError: Some were.
        """
        with open_input(media_url(self._part)) as written:
            found = sum(1 for packet in written.demux(video=0) if packet.size)
        if found < self._written:
            raise OutputNotWritableError(
                f"'{self.path.suffix}' refused {self._written - found} of {self._written} packets "
                f"of {self.encoder}; nothing was left behind; try another container or encoder"
            )

    def abort(self) -> None:
        """Throw the partial file away; safe to call at any time."""
        if not self._finished:
            self._finished = True
            # A broken container need not close cleanly: it is thrown away.
            with suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self: AnySink) -> AnySink:
        """Return itself; the constructor opened the file."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the finished file, or nothing."""
        if not self._finished:
            self.abort()

    def _guard(self, step: Callable[[], object]) -> None:
        try:
            step()
        except OutputNotWritableError:
            self.abort()
            raise
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> OutputNotWritableError:
        return OutputNotWritableError(
            f"writing '{self.path}' failed: {ffmpeg_reason(error)}; nothing was left behind"
        )
