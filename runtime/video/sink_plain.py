"""Outputs of `upscale` that hold pictures and nothing else: standard output, picture files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ...errors import ConfigError, OutputNotWritableError
from ...pictures.clips import ffmpeg_reason
from ...pictures.colour import SDR_BT709, SWS_MATRIX, Colours, frame_from_rgb, set_gray
from ...pictures.copies import copied
from ...pictures.output_size import OutputSize
from ...pictures.yuv import frame_of
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from .encoders import EncodeOptions
from .frame_writer import Y4M, FrameWriter, guessed_matrix, require_raw
from .info import VideoInfo
from .output_file import check_output, move_in, part_name
from .places import (
    WRITTEN_PICTURES,
    is_pipe,
    is_sequence,
    is_written_as_pictures,
    numbered,
)
from .planes import Chosen, Planes, choose_format
from .source import FileSource

JPEG = Colours(matrix=5, full_range=True)
"""What JFIF says that numbers mean."""

JPEG_QUALITY = "2"
"""Quantizer, 1 (best) to 31."""

LEAST_MOVED_S = Fraction(1, 500)
"""Times that move by less are those of a container that rounds them."""


def is_plain(path: Path) -> bool:
    """Whether an output holds pictures alone."""
    return is_pipe(path) or is_written_as_pictures(path)


def plain_planes(path: Path, info: VideoInfo, options: EncodeOptions, *, why: str = "") -> Chosen:
    """What a plain output holds; see `sink.planes_for`.

    Raises:
        ConfigError: The options do not fit it.
    """
    if is_pipe(path):
        codec = SimpleNamespace(video_formats=[SimpleNamespace(name=name) for name in Y4M])
        encoder = require_raw(options)
        return choose_format(
            encoder, codec, info.planes, bits=options.bits, colour=options.chroma, why=why
        )
    encoder = WRITTEN_PICTURES[path.suffix.lower()]
    given = (options.encoder, options.preset, options.crf)
    if any(each is not None for each in given) or options.bits not in (None, 8):
        raise ConfigError(
            f"'{path}': {path.suffix} pictures of 8 bits have no --encoder, --preset, --crf and "
            "--bits: leave them out"
        )
    notes = []
    if info.planes.bits > 8:
        notes.append(f"{info.planes.bits} bits are reduced to 8: pictures are written with 8")
    alpha = info.planes.alpha and encoder == "png"
    if info.planes.alpha and not alpha:
        notes.append(f"the alpha channel is left out: {path.suffix} holds none; png does")
    form = {"mjpeg": "yuvj444p", "png": "rgba" if alpha else "rgb24"}[encoder]
    return Chosen(form, Planes(8, "444", alpha, info.planes.gray), tuple(notes))


class PlainSink(ABC):
    """What `Pipeline` gives pictures to, without sound, tags or a container; like `FileSink`.

    Args:
        path: The output.
        source: Gives times, colours, rotation and aspect.
        options: Encoder choices.
        note: Called with lines worth telling the user.
        why_not_deep: Why pictures of more than 8 bits cannot come, where that is so.

    Raises:
        OutputExistsError, OutputNotWritableError, ConfigError: It cannot be written.
    """

    encoder = ""

    def __init__(
        self,
        path: Path,
        source: FileSource,
        options: EncodeOptions,
        note: Callable[[str], None],
        *,
        why_not_deep: str = "",
    ) -> None:
        check_output(path, options, source.path)
        self.copies: int | None = None
        """Of the latest picture, until it is written; None before the first."""
        self.path, self.info, self._note = path, source.info, note
        self._options = options
        chosen = plain_planes(path, source.info, options, why=why_not_deep)
        self._chosen, self.pixel_format, self.planes = chosen, chosen.name, chosen.holds
        for line in chosen.notes:
            note(line)
        info = source.info
        self.turns = info.rotation // 90
        if self.turns:
            note(f"the picture is turned by {info.rotation} degrees: nothing here can tag rotation")
        sized = (options.size or OutputSize()).of(
            info.width, info.height, aspect=info.sample_aspect, rotation=info.rotation
        )
        for line in sized.notes:
            note(line)
        swapped = self.turns % 2 == 1
        size = (sized.width, sized.height)
        self.width, self.height = size[::-1] if swapped else size
        self._aspect = 1 / sized.aspect if swapped else sized.aspect
        self._reformatter, self._alpha_reformatter = VideoReformatter(), VideoReformatter()
        kinds = sorted({each.type for each in source.carried})
        if kinds and options.audio != "none":
            note(f"left out, as '{path}' holds pictures alone: {', '.join(kinds)}")

    @abstractmethod
    def why_not_yuv(self) -> str:
        """Say why pictures cannot come as YUV 4:2:0; empty where they can."""

    def expect_yuv(self) -> None:
        """Prepare for pictures of YUV 4:2:0, before `open_encoder`; see `why_not_yuv`."""
        assert not self.why_not_yuv()

    def open_encoder(self) -> None:  # noqa: B027 optional
        """Get ready for the first picture."""

    def write(
        self, picture: AnyPicture, pts: int, alpha: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Write one picture; see `FileSink.write`."""
        turned = picture
        if not isinstance(picture, YuvPicture) and self.turns:
            turned = np.ascontiguousarray(np.rot90(picture, self.turns))
        frame = self._write(turned, pts, alpha)
        self.copies = copied(picture, frame)

    @abstractmethod
    def _write(
        self, picture: AnyPicture, pts: int, alpha: npt.NDArray[np.uint8] | None
    ) -> av.VideoFrame:
        """Write one picture, turned, and its alpha where the output holds it; gives the frame."""

    def carry(self, packet: av.Packet[Any]) -> None:  # noqa: B027 nothing to do
        """Leave a packet of another stream out, which was said."""

    def flush(self) -> None:  # noqa: B027 optional
        """Write what is still held."""

    def finish(self) -> None:  # noqa: B027 optional
        """End the output."""

    def abort(self) -> None:  # noqa: B027 optional
        """Free everything; safe to call at any time."""

    def __enter__(self) -> PlainSink:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free everything."""
        self.abort()


class StdoutSink(PlainSink):
    """Frames as y4m, or without headers, on standard output."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.encoder = require_raw(self._options)
        self._rate = self.info.rate.limit_denominator(65535)
        self._count, self._first_pts, self._moved_s = 0, 0, Fraction(0)
        matrix = guessed_matrix(self.height)
        self._colours = replace(self.info.colours, matrix=matrix)
        if matrix != self.info.colours.matrix:
            self._note(
                f"y4m carries no colour matrix: written in {'BT.709' if matrix == 1 else 'BT.601'}"
                f", as players take {self.height} lines for it"
            )
        self._writer: FrameWriter | None = None

    def open_encoder(self) -> None:
        """See `PlainSink`."""
        self._writer = FrameWriter(
            self.encoder,
            self.width,
            self.height,
            self.pixel_format,
            self._rate,
            aspect=Fraction(self._aspect).limit_denominator(65535),
            full_range=self._colours.full_range,
        )
        if self.encoder != "y4m":
            self._note(
                f"raw frames: {self.width}x{self.height} {self.pixel_format} at "
                f"{float(self._rate):g} frames a second"
            )

    def why_not_yuv(self) -> str:
        """See `PlainSink`."""
        if self.turns:
            return "the picture is turned"
        if SWS_MATRIX[self._colours.matrix] != SWS_MATRIX[self.info.colours.matrix]:
            return f"players take {self.height} lines of y4m for another colour matrix"
        return self._chosen.why_not_yuv() or ""

    def _write(
        self, picture: AnyPicture, pts: int, alpha: npt.NDArray[np.uint8] | None
    ) -> av.VideoFrame:
        """See `PlainSink`."""
        assert self._writer is not None
        frame = frame_of(
            picture,
            self._colours,
            self.pixel_format,
            self._reformatter,
            size=(self.width, self.height),
        )
        if self.planes.gray:
            set_gray(frame)
        self._writer.write(frame)
        self._first_pts = self._first_pts if self._count else pts
        seconds = (pts - self._first_pts) * self.info.time_base
        self._moved_s = max(self._moved_s, abs(seconds - self._count / self._rate))
        self._count += 1
        return frame

    def flush(self) -> None:
        """See `PlainSink`."""
        if self._moved_s > LEAST_MOVED_S:
            self._note(
                "frames on standard output have a constant rate: times moved by up to "
                f"{1000 * float(self._moved_s):.0f} ms"
            )

    def abort(self) -> None:
        """See `PlainSink`."""
        if self._writer is not None:
            self._writer.close()


class PictureFiles:
    """A picture's file, or numbered ones; each appears under its name when it is whole.

    Args:
        path: The output; see `places.is_sequence`.
        overwrite: Whether they may replace files.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self.path, self._overwrite = path, overwrite
        self.encoder = WRITTEN_PICTURES[path.suffix.lower()]
        self._many = is_sequence(path)
        self._written = 0

    def write(self, data: bytes, given: str, number: int | None = None) -> None:
        """Write the next one.

        Args:
            data: Encoded.
            given: What gives more than one picture, for the message.
            number: Of it; None to count from 1.

        Raises:
            OutputNotWritableError: It is a second one without numbers, or cannot be written.
        """
        path = self.path
        if self._written and not self._many:
            path.unlink(missing_ok=True)  # an output is whole or not there
            raise OutputNotWritableError(
                f"'{path}' is one picture, and '{given}' gives more: name numbered "
                f"ones such as '{path.stem}_%05d{path.suffix}', or take one with --duration"
            )
        number = self._written + 1 if number is None else number
        target = numbered(path, number) if self._many else path
        part = part_name(target)
        try:
            part.write_bytes(data)
            move_in(part, target, overwrite=self._overwrite, what="the picture")
        except (OutputNotWritableError, FileExistsError):
            raise
        except OSError as error:
            raise OutputNotWritableError(
                f"writing '{target}' failed: {error.strerror}; the pictures before it are there"
            ) from error
        finally:
            part.unlink(missing_ok=True)
        self._written += 1

    def encoded(self, frame: av.VideoFrame, aspect: Fraction = Fraction(1)) -> bytes:
        """Encode a picture.

        Args:
            frame: In a format of the encoder.
            aspect: Of its pixels.

        Raises:
            ConfigError: The encoder refuses its size.
        """
        codec: Any = av.CodecContext.create(self.encoder, "w")
        codec.width, codec.height, codec.pix_fmt = frame.width, frame.height, frame.format.name
        codec.time_base, codec.thread_count = Fraction(1, 25), 1
        codec.sample_aspect_ratio = aspect.limit_denominator(65535)
        if self.encoder == "mjpeg":
            codec.options = {"qmin": JPEG_QUALITY, "qmax": JPEG_QUALITY}
            codec.color_range = 2
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        try:
            packets = [*codec.encode(frame), *codec.encode(None)]
        except av.FFmpegError as error:
            raise ConfigError(
                f"{self.encoder} refuses {frame.width}x{frame.height}: {ffmpeg_reason(error)}"
            ) from error
        return b"".join(bytes(packet) for packet in packets)


class PictureSink(PlainSink):
    """A picture, or numbered ones.

    Numbers are those of the source where that is numbered too, else they begin at 1.
    """

    def __init__(self, path: Path, source: FileSource, *args: Any, **named: Any) -> None:
        super().__init__(path, source, *args, **named)
        self._numbers = source.numbers
        self._files = PictureFiles(path, overwrite=self._options.overwrite)
        self.encoder = self._files.encoder

    def why_not_yuv(self) -> str:
        """See `PlainSink`."""
        return "picture files are made of RGB"

    def _write(
        self, picture: AnyPicture, pts: int, alpha: npt.NDArray[np.uint8] | None
    ) -> av.VideoFrame:
        """See `PlainSink`."""
        assert not isinstance(picture, YuvPicture), self.why_not_yuv()
        frame = self._frame_of(picture, alpha)
        if self.encoder == "mjpeg" and self.planes.gray:
            set_gray(frame)
        number = None if self._numbers is None else self._numbers(pts)
        data = self._files.encoded(frame, Fraction(self._aspect))
        self._files.write(data, self.info.codec, number)
        return frame

    def _frame_of(
        self, rgb: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None
    ) -> av.VideoFrame:
        size = (self.width, self.height)
        if self.encoder == "mjpeg":
            return frame_from_rgb(rgb, JPEG, self.pixel_format, self._reformatter, size=size)
        frame = frame_from_rgb(rgb, SDR_BT709, "rgb24", self._reformatter, size=size)
        if self.planes.alpha and alpha is not None:
            return self._with_alpha(frame, np.ascontiguousarray(np.rot90(alpha, self.turns)))
        return frame

    def _with_alpha(self, frame: av.VideoFrame, alpha: npt.NDArray[np.uint8]) -> av.VideoFrame:
        scaled = self._alpha_reformatter.reformat(
            av.VideoFrame.from_ndarray(alpha, format="gray"),
            width=self.width,
            height=self.height,
            interpolation="BICUBIC",
        ).to_ndarray()
        rgba: Any = np.dstack([frame.to_ndarray(), scaled])
        return av.VideoFrame.from_ndarray(rgba, format="rgba")


def open_plain(path: Path, *args: Any, **named: Any) -> PlainSink:
    """The sink of a plain output."""
    kind = StdoutSink if is_pipe(path) else PictureSink
    return kind(path, *args, **named)
