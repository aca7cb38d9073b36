"""Writing video files: RGB frames in, encoded and muxed beside the final name, moved at the end.

with FileSink(path, source, options) as sink:
    sink.write(rgb, pts)
    sink.finish()
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
from ...errors import ConfigError, OutputNotWritableError
from ...processors import thread_limit
from ...pyav import open_input
from .carried import CarriedStream, carry_streams
from .containers import (
    CODING_ORDER,
    NEGATIVE_TIMES,
    ROTATION_TAGGED,
    OutputTimes,
    container_options,
)
from .encoders import EncodeOptions, encoder_options, find_encoder, pixel_format
from .info import VideoInfo
from .output_file import ENCODERS, check_output, move_in, part_name
from .source import FileSource

KEPT_METADATA = frozenset({"title", "artist", "comment", "description", "creation_time", "date"})
"""Container metadata that stays true of the upscaled video."""


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
        self._shift_ms = 0.0
        self._reformatter = VideoReformatter()
        self._overwrite = options.overwrite
        self._part = part_name(path)
        try:
            self._part.touch(exist_ok=False)  # FFmpeg would look only when the header is written
            self._container = av.open(
                media_url(self._part), "w", container_options=container_options(path, source)
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
        context.thread_count = thread_limit()
        self._times = OutputTimes(suffix, info, rate)
        if suffix in CODING_ORDER:
            context.max_b_frames = 0
        context.time_base = self._times.time_base
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
                f"for '{self.path.suffix}' with time base {self._times.time_base}"
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
        frame.pts = self._times.tick(pts)
        frame.time_base = self._times.time_base
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
        self._compare_tags()
        try:
            move_in(self._part, self.path, overwrite=self._overwrite, what="the result")
        finally:
            self.abort()

    def _compare_tags(self) -> None:
        """Read the finished file's colour matrix back; say it where the file does not carry it."""
        with open_input(media_url(self._part)) as written:
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
