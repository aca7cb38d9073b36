"""Frames in and pictures out for programs of one's own: any address, two lines.

    with open_source("rtsp://camera/stream") as source, open_sink("out.mp4", source) as sink:
        for frame in source:
            sink(upscaler(frame))

Files come whole and as fast as they are taken. Cameras are captured by a thread of their own, and
the newest frame waits: whoever is slow misses frames, which are counted, and never falls behind.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from av.video.reformatter import VideoReformatter

from ...arrays import Levels
from ...errors import AdcVsrError, ConfigError
from ...pictures.colour import SDR_BT709, Colours
from ..sessions.frames import check_frame
from ..threads.frame_queue import Channel, Policy, StoppedError, WaitingFrames
from ..threads.stages import Stages
from ..video.encoders import EncodeOptions
from ..video.read_options import ReadOptions
from ..video.source import FileSource, SourceFrame
from . import sink as sinks
from . import source as sources
from .address import Address
from .resets import Placed, StreamWatch, capture
from .source import UNKNOWN_RATE, VideoSource


class FrameSource:
    """Frames of a file or a camera, in order; iterate over it once.

    Args:
        address: As `adcvsr live --source` takes it: a file, `rtsp://`, `v4l2://`, `csi://`, ...
        policy: Of cameras: `newest` drops frames that were not taken in time, `every` drops none
            and falls behind.
        read: Of files: what is read.

    Raises:
        ConfigError: No such kind of source, an option it does not have, or `read` for a camera.
        InputNotFoundError, UnreadableVideoError, UnsupportedVideoError: The file; a camera's are
            raised when its frames are asked for.
    """

    def __init__(
        self, address: str | Path, policy: Policy = "newest", read: ReadOptions | None = None
    ) -> None:
        self.rate: Fraction | None = None
        """Nominal frames a second, where it is known."""
        self.time = 0.0
        """Seconds from the first frame to the latest one; strictly increasing."""
        self.colours: Colours = SDR_BT709
        """What the latest frame's numbers meant in the stream; outputs keep it."""
        self.frame: Levels | None = None
        """The latest frame, (H, W, 3) uint8 RGB; None before the first one."""
        self.interrupted = False
        """Whether the latest frame begins a new stream (a camera that came back, a jump in time):
        call `Upscaler.reset` before it."""
        self._policy, self._stop = policy, threading.Event()
        self._file: FileSource | None = None
        self._live: VideoSource | None = None
        parsed = Address.parse(str(address))
        if parsed.scheme == "file" and not parsed.fields:
            self._file = FileSource(Path(parsed.place), read)
            self.rate = self._file.info.rate
        elif read is not None:
            raise ConfigError(f"'{parsed.text}' is not a file: `read` is for files alone")
        else:
            self._live = sources.open_source(str(address), self._stop)
        self._captured: Channel[Placed] = Channel(WaitingFrames(policy), self._stop)
        self._frames = self._read_file() if self._file is not None else self._read_live()

    @property
    def dropped(self) -> int:
        """Frames of a camera that were not taken in time, or damaged."""
        missed = sum(self._captured.waiting.drops.values())
        return missed + (sum(self._live.drops.values()) if self._live is not None else 0)

    @property
    def notes(self) -> list[str]:
        """What was repaired, left out or lost, one line each."""
        if self._file is not None:
            return list(self._file.notes)
        return list(self._live.notes) if self._live is not None else []

    def __iter__(self) -> Iterator[Levels]:
        """Return itself."""
        return self

    def __next__(self) -> Levels:
        """Return the next frame, (H, W, 3) uint8 RGB, rotated as it is to be shown.

        Raises:
            AdcVsrError: The file or the camera failed.
        """
        return next(self._frames)

    def close(self) -> None:
        """End the stream and free file or camera."""
        self._stop.set()
        self._frames.close()
        if self._file is not None:
            self._file.__exit__(None, None, None)

    def __enter__(self) -> FrameSource:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free file or camera."""
        self.close()

    def _read_file(self) -> Generator[Levels, None, None]:
        assert self._file is not None
        began: float | None = None
        for item in self._file:
            if not isinstance(item, SourceFrame):
                continue
            info = self._file.info
            seconds = float(item.pts * info.time_base)
            began = seconds if began is None else began
            picture = item.rgb
            if info.rotation:
                picture = np.ascontiguousarray(np.rot90(picture, info.rotation // 90))
            self.time, self.colours, self.frame = seconds - began, info.colours, picture
            yield picture

    def _read_live(self) -> Generator[Levels, None, None]:
        assert self._live is not None
        stages = Stages(failed=self._stop.set)
        work = partial(capture, self._live, self._captured, StreamWatch())
        stages.add("capture", work, daemon=True)
        stages.start(call_off=self._stop.set)
        reformatter = VideoReformatter()
        stream = 0
        try:
            with suppress(StoppedError):
                while (placed := self._captured.get()) is not None:
                    picture = placed.frame.rgb(reformatter)
                    self.interrupted, stream = placed.stream != stream, placed.stream
                    self.rate = self._live.rate
                    self.time, self.colours = placed.time, placed.frame.colours
                    self.frame = picture
                    yield picture
            if stages.error is not None:
                raise stages.error
        finally:
            self._stop.set()
            stages.wait_whatever_comes()


class FrameSink:
    """Takes pictures, encodes them and writes or sends them; made by `open_sink`."""

    def __init__(
        self,
        sink: sinks.VideoSink,
        source: FrameSource | None,
        rate: Fraction | None,
    ) -> None:
        self._sink, self._source, self._rate = sink, source, rate
        self._closed = False
        self.pictures = 0
        """Pictures taken so far."""

    @property
    def notes(self) -> list[str]:
        """What was scaled, left out or lost, one line each."""
        return list(self._sink.notes)

    def __call__(self, picture: Levels) -> None:
        """Take the next picture.

        Its time and colours are those of the latest frame of `source`, where there is one; else
        pictures come at `rate`.

        Args:
            picture: (H, W, 3) uint8 RGB.

        Raises:
            ValueError: Not an (H, W, 3) uint8 array, or the sink is closed.
            ConfigError: The encoder or the container refuses it.
            OutputNotWritableError: The output is gone.
        """
        if self._closed:
            raise ValueError("the sink is closed: what follows needs one of its own")
        check_frame(picture)  # FFmpeg reads beyond the end of what is smaller than it says
        source = self._source
        rate = self._rate or (source.rate if source is not None else None) or UNKNOWN_RATE
        seconds = self.pictures / float(rate) if source is None else source.time
        frame = sinks.FinishedFrame(
            source=picture if source is None or source.frame is None else source.frame,
            picture=np.ascontiguousarray(picture),
            time=seconds,
            rate=rate,
            colours=SDR_BT709 if source is None else source.colours,
        )
        encoded = self._sink.encode(frame)
        self.pictures += 1
        if encoded is not None:
            self._sink.present(encoded)

    def close(self) -> None:
        """End the output properly; a file gets its name now. Once is enough, twice no harm.

        Raises:
            OutputNotWritableError: It cannot be finished.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._sink.finish()
        finally:
            self._sink.close()

    def __enter__(self) -> FrameSink:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the output; what was written before an error is kept."""
        if error is None:
            self.close()
            return
        with suppress(AdcVsrError):  # the first error is the one to tell
            self.close()


def open_source(
    address: str | Path, *, policy: Policy = "newest", read: ReadOptions | None = None
) -> FrameSource:
    """Open a file or a camera as an iterator of frames; see `FrameSource`."""
    return FrameSource(address, policy, read)


def open_sink(
    address: str | Path,
    source: FrameSource | None = None,
    *,
    rate: float | Fraction | None = None,
    options: EncodeOptions | None = None,
) -> FrameSink:
    """Open a file or a stream that pictures go to.

    Args:
        address: As `adcvsr live --sink` takes it: a file, `rtsp://`, `udp://`, `http://`, ...
        source: Whose frames the pictures come from: they take its times and colours.
        rate: Frames a second; None for the source's.
        options: Encoder choices.

    Raises:
        ConfigError: No such kind of sink, an option it does not have, `rate` not above 0, or
            neither `source` nor `rate`; a page (`http://`) needs the source, which it shows.
        OutputExistsError, OutputNotWritableError: The output cannot be written.
    """
    if source is None and rate is None:
        raise ConfigError("open_sink needs the source of the pictures, or their rate")
    if rate is not None and not 0 < rate < math.inf:
        raise ConfigError(f"rate={rate}, expected frames a second above 0")
    if source is None and Address.parse(str(address)).scheme == "http":
        raise ConfigError("a page shows what comes in, too: give open_sink the source")
    found = None if rate is None else Fraction(rate).limit_denominator(65535)
    return FrameSink(sinks.open_sink(str(address), options or EncodeOptions()), source, found)
