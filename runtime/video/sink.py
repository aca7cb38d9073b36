"""Writing video files: RGB frames in, encoded and muxed beside the final name, moved at the end.

with FileSink(path, source, options) as sink:
    sink.write(rgb, pts)
    sink.finish()
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from ...clips import ffmpeg_reason, media_url
from ...colour import CHROMA_LEFT, frame_from_rgb
from ...config import SCALE
from ...errors import ConfigError, OutputExistsError, OutputNotWritableError
from .carried import CarriedStream, carry_streams
from .info import VideoInfo
from .source import FileSource

ENCODERS = {
    ".mp4": "libx264",
    ".m4v": "libx264",
    ".mov": "libx264",
    ".mkv": "libx264",
    ".ts": "libx264",
    ".avi": "libx264",
    ".webm": "libvpx-vp9",
}
"""Output containers by file name ending, and the encoder each gets by default."""

ROTATION_TAGGED = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})
"""Containers that can carry a rotation; elsewhere the picture itself is turned."""

CONSTANT_RATE = frozenset({".avi"})
"""Containers that hold a frame rate instead of times."""

CODING_ORDER = frozenset({".avi", ".ts"})
"""Containers that get no B-frames: avi cannot order them, ts would delay every time by them."""

MILLISECONDS = frozenset({".mkv", ".webm"})
"""Containers whose times are whole milliseconds."""

NEGATIVE_TIMES = frozenset({".mp4", ".m4v", ".mov"})
"""Containers whose times may be negative, as an AAC track's first packet is; others shift all."""

PIXEL_FORMATS = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12")
"""Preferred encoder input, best supported by players first."""

CRF_ENCODERS = frozenset({"libx264", "libx265", "libvpx-vp9", "libvpx", "libaom-av1", "libsvtav1"})
CRF_LIMITS = {"libx264": 51, "libx265": 51}
"""Worst constant rate factor; 63 for the others."""

CQ_ENCODERS = frozenset({"h264_nvenc", "hevc_nvenc", "av1_nvenc"})
"""NVIDIA's encoders, whose constant quality `cq` takes the place of crf."""

PRESET_ENCODERS = frozenset(
    {"libx264", "libx265", "libsvtav1", "h264_nvenc", "hevc_nvenc", "av1_nvenc"}
)

MAX_TIMESCALE = 1 << 31
"""Ticks a second an mp4 file can count."""

KEPT_METADATA = frozenset({"title", "artist", "comment", "description", "creation_time", "date"})
"""Container metadata that stays true of the upscaled video."""

DEFAULT_CRF = "20"
DEFAULT_PRESET = "veryfast"
"""Real time on two cores beside the network: medium costs 2.5 times as much (docs/decisions.md)."""


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """How the output is encoded."""

    encoder: str | None = None
    """FFmpeg encoder; None takes the container's default."""

    preset: str | None = None
    """The encoder's preset; None is `veryfast` where there is one."""

    crf: int | None = None
    """Constant rate factor, lower is better; None is 20 where there is one."""

    overwrite: bool = False
    """Whether an existing output may be replaced."""


def check_output(path: Path, options: EncodeOptions, source: Path | None = None) -> None:
    """Refuse an output that cannot be written, before any work is done.

    Args:
        path: The output file.
        options: Of the sink.
        source: The input, which the output may not be.

    Raises:
        OutputExistsError: It exists and `options.overwrite` is off.
        OutputNotWritableError: Its folder is missing or not writable, or it is the input.
        ConfigError: Its ending names no known container.
    """
    if path.suffix.lower() not in ENCODERS:
        raise ConfigError(
            f"output '{path}' ends in '{path.suffix}'; expected one of: {', '.join(ENCODERS)}"
        )
    try:
        exists = path.exists()
        if source is not None and exists and path.samefile(source):
            raise OutputNotWritableError(f"output '{path}' is the input; choose another name")
    except PermissionError as error:
        raise OutputNotWritableError(f"output '{path}': permission denied") from error
    if path.is_dir():
        raise OutputNotWritableError(f"output '{path}' is a directory; name a file")
    if exists and not options.overwrite:
        raise OutputExistsError(f"output '{path}' exists; pass --overwrite to replace it")
    if not path.parent.is_dir():
        raise OutputNotWritableError(
            f"output folder '{path.parent}' does not exist; create it first"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputNotWritableError(f"output folder '{path.parent}' is not writable")


class FileSink:
    """An output file. The final path never holds a partial file: see `finish`.

    Args:
        path: The final name; its ending chooses the container.
        source: Gives times, colours, rotation, aspect, metadata and the streams to carry.
        options: Encoder choices.
        note: Called with lines worth telling the user.
        info: The video that is written, in input pixels, where it is not the source's.
        carry: Whether the source's other streams and chapters come along.

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
    ) -> None:
        check_output(path, options, source.path)
        self.path = path
        info = info or source.info
        self.info = info
        self.turns = 0
        self._finished = False
        self._note = note
        self._shift_ms = self._moved_ms = 0.0
        self._merged = 0
        self._reformatter = VideoReformatter()
        self._overwrite = options.overwrite
        self._part = path.with_name(f".{secrets.token_hex(4)}.part{path.suffix}")
        try:
            self._part.touch(exist_ok=False)  # FFmpeg would look only when the header is written
            self._container = av.open(
                media_url(self._part), "w", container_options=_container_options(path, source)
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
            self._container.metadata.update(
                {k: v for k, v in source.container.metadata.items() if k in KEPT_METADATA}
            )
            self._carried: dict[int, CarriedStream] = carry_streams(
                source.carried if carry else (),
                self._container,
                offset=source.time_offset,
                note=note,
            )
            if carry:
                self._carry_chapters(source)
        except BaseException:
            self.abort()
            raise

    def _add_video(self, info: VideoInfo, options: EncodeOptions) -> None:
        suffix = self.path.suffix.lower()
        encoder = options.encoder or ENCODERS[suffix]
        codec = find_encoder(encoder)
        rate = info.rate.limit_denominator(65535)
        try:
            stream: Any = self._container.add_stream(encoder, rate=rate)
        except (ValueError, av.FFmpegError) as error:
            raise ConfigError(
                f"'{suffix}' files cannot hold video of encoder '{encoder}': {error}"
            ) from error
        width, height = info.width * SCALE, info.height * SCALE
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
        self._pixel_format = pixel_format(encoder, codec)
        stream.pix_fmt = self._pixel_format
        aspect = 1 / info.sample_aspect if swapped else info.sample_aspect
        context = stream.codec_context
        context.sample_aspect_ratio = aspect
        self._time_base = info.time_base
        self._last_tick: int | None = None
        if suffix in CONSTANT_RATE:
            self._time_base = 1 / rate
        if suffix in CODING_ORDER:
            context.max_b_frames = 0
        context.time_base = self._time_base
        context.framerate = rate
        colours = info.colours
        context.colorspace, context.color_range = colours.matrix, 2 if colours.full_range else 1
        context.color_primaries, context.color_trc = colours.primaries, colours.transfer
        stream.options = encoder_options(encoder, options)
        self.encoder = encoder
        self._stream = stream

    def open_encoder(self) -> None:
        """Start the encoder and write the header; called once before the first frame.

        Raises:
            ConfigError: The encoder or the container refuses the stream; says what it was given.
        """
        try:
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            given = ", ".join(
                f"{k} {v}" for k, v in self._stream.options.items() if k not in CHROMA_LEFT
            )
            raise ConfigError(
                f"encoder '{self.encoder}' refuses {self.width}x{self.height} {self._pixel_format} "
                f"for '{self.path.suffix}' with time base {self._time_base}"
                + (f", {given}" if given else "")
                + f": {ffmpeg_reason(error)}; try another encoder, preset or container"
            ) from error

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

    def write(self, rgb: npt.NDArray[np.uint8], pts: int) -> None:
        """Encode one frame.

        Args:
            rgb: (4H, 4W, 3) uint8 of the source's H and W; another size is scaled to it.
            pts: In ticks of the source's time base.

        Raises:
            OutputNotWritableError: The disk is full or gone.
        """
        if self.turns:
            rgb = np.ascontiguousarray(np.rot90(rgb, self.turns))
        frame = frame_from_rgb(
            rgb,
            self.info.colours,
            self._pixel_format,
            self._reformatter,
            size=(self.width, self.height),
        )
        frame.pts = self._tick(pts)
        frame.time_base = self._time_base
        self._guard(lambda: self._container.mux(self._stream.encode(frame)))

    def carry(self, packet: av.Packet[Any]) -> None:
        """Write a packet of another stream, where that stream is carried at all."""
        stream = self._carried.get(packet.stream.index)
        ready = stream.packet(packet) if stream is not None else None
        if ready is None:
            return
        time = ready.dts if ready.dts is not None else ready.pts
        if time is not None and time < 0 and self.path.suffix.lower() not in NEGATIVE_TIMES:
            shift_ms = float(-time * ready.time_base) * 1000
            self._shift_ms = max(self._shift_ms, shift_ms)
        self._guard(lambda: self._container.mux(ready))

    def _tick(self, pts: int) -> int:
        """Source time in the encoder's ticks; only a constant-rate container changes it."""
        if self._time_base == self.info.time_base:
            if self.path.suffix.lower() in MILLISECONDS:
                self._count_merged(pts)
            return pts
        exact = pts * self.info.time_base / self._time_base
        tick = round(exact)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = tick
        self._moved_ms = max(self._moved_ms, float(abs(tick - exact) * self._time_base) * 1000)
        return tick

    def _count_merged(self, pts: int) -> None:
        """Count frames that share their millisecond with the one before."""
        tick = round(pts * self._time_base * 1000)
        self._merged += tick == self._last_tick
        self._last_tick = tick

    def flush(self) -> None:
        """Encode what the encoder still holds.

        Raises:
            OutputNotWritableError: The disk is full or gone.
        """
        self._guard(lambda: self._container.mux(self._stream.encode(None)))
        if self._shift_ms:
            self._note(
                f"all times are shifted by {self._shift_ms:.0f} ms: the sound starts before 0"
            )
        if self._merged:
            self._note(
                f"{self._merged} frames come less than a millisecond after the one before and get "
                f"its time: {self.path.suffix} counts milliseconds, mp4 keeps them apart"
            )
        if self._moved_ms >= 1:
            self._note(
                f"{self.path.suffix} holds a constant frame rate: "
                f"times moved by up to {self._moved_ms:.0f} ms"
            )

    def finish(self) -> None:
        """Close the file and move it to its final name.

        Raises:
            OutputNotWritableError: The disk is full or gone; nothing is left behind.
        """
        self._guard(self._container.close)
        self._finished = True
        self._compare_tags()
        try:
            if self._overwrite:
                os.replace(self._part, self.path)
            else:
                publish(self._part, self.path)
        except FileExistsError as error:
            self.abort()
            raise OutputExistsError(
                f"output '{self.path}' was made by somebody else meanwhile and is kept; "
                "this result was thrown away"
            ) from error
        except OSError as error:
            self.abort()
            raise OutputNotWritableError(
                f"cannot move the result to '{self.path}': {error.strerror}"
            ) from error

    def _compare_tags(self) -> None:
        """Read the finished file's colour matrix back; say it where the file does not carry it."""
        with av.open(media_url(self._part), metadata_errors="replace") as written:
            matrix = int(written.streams.video[0].codec_context.colorspace)
        if matrix != self.info.colours.matrix:
            self._note(
                f"{self.encoder} in {self.path.suffix} carries no colour matrix: players guess it "
                f"from the size (it is H.273 code {self.info.colours.matrix})"
            )

    def abort(self) -> None:
        """Throw the partial file away; safe to call at any time."""
        if not self._finished:
            self._finished = True
            # A broken container need not close cleanly: it is thrown away.
            with suppress(av.FFmpegError, OSError, ValueError):
                self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> FileSink:
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
        except (av.FFmpegError, OSError, ValueError) as error:
            raise OutputNotWritableError(
                f"writing '{self.path}' failed: {ffmpeg_reason(error)}; nothing was left behind"
            ) from error


def _container_options(path: Path, source: FileSource) -> dict[str, str]:
    """mp4 counts a stream's late beginning in the file's ticks, milliseconds by default."""
    if path.suffix.lower() not in NEGATIVE_TIMES:
        return {}
    ticks = source.info.time_base.denominator
    sounds = [s.rate for s in source.carried if isinstance(s, av.AudioStream) and s.codec_context]
    exact = math.lcm(ticks, *(rate for rate in sounds if rate))
    return {"movie_timescale": str(exact if exact < MAX_TIMESCALE else ticks)}


def publish(part: Path, path: Path) -> None:
    """Give a finished file its name, unless something has that name by now.

    Raises:
        FileExistsError: Something has.
        OSError: The file cannot be moved.
    """
    try:
        os.link(part, path)  # fails where the name is taken, which a rename would not
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(part, path)
    else:
        part.unlink()


def pixel_format(encoder: str, codec: Any) -> str:
    """The best input format of an encoder.

    Raises:
        ConfigError: It takes none of the YCbCr formats that keep the source's colours.
    """
    supported = [f.name for f in codec.video_formats or []]
    for name in PIXEL_FORMATS:
        if name in supported:
            return name
    raise ConfigError(
        f"encoder '{encoder}' takes {', '.join(supported[:4]) or 'no known pixel format'}; "
        f"expected one that takes {', '.join(PIXEL_FORMATS)}, such as libx264"
    )


def find_encoder(name: str) -> Any:
    """Find a video encoder of FFmpeg.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        codec = av.Codec(name, "w")
    except ValueError as error:
        raise ConfigError(
            f"no encoder '{name}' in this FFmpeg; common ones: libx264, libx265, libvpx-vp9, "
            "libsvtav1, h264_nvenc"
        ) from error
    if codec.type != "video":
        raise ConfigError(f"'{name}' is an encoder for {codec.type}, expected one for video")
    return codec


def encoder_options(encoder: str, options: EncodeOptions) -> dict[str, str]:
    """Options in the encoder's own terms; asking for one it lacks is an error."""
    chosen: dict[str, str] = dict(CHROMA_LEFT)
    if encoder in CRF_ENCODERS:
        limit = CRF_LIMITS.get(encoder, 63)
        if options.crf is not None and not 0 <= options.crf <= limit:
            raise ConfigError(f"crf {options.crf}: '{encoder}' takes 0 to {limit}")
        chosen["crf"] = str(options.crf) if options.crf is not None else DEFAULT_CRF
    elif encoder in CQ_ENCODERS:
        chosen |= {"rc": "vbr", "cq": str(options.crf) if options.crf is not None else DEFAULT_CRF}
    elif options.crf is not None:
        raise ConfigError(f"encoder '{encoder}' has no crf; leave --crf out")
    if encoder in PRESET_ENCODERS:
        if options.preset is not None or encoder in ("libx264", "libx265"):
            chosen["preset"] = options.preset or DEFAULT_PRESET
    elif options.preset is not None:
        raise ConfigError(f"encoder '{encoder}' has no presets; leave --preset out")
    if encoder == "libx265":
        chosen["x265-params"] = "log-level=error"
    if encoder == "libvpx-vp9":
        chosen |= {"b": "0", "deadline": "realtime", "cpu-used": "6", "row-mt": "1"}
    return chosen
