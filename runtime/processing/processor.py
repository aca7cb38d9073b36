"""Frames in, finished frames out, for every kind of network.

A causal network answers each frame at once; a clip network sees a window of frames first. Both give
one upscaled frame a frame, in order, so that whoever pushes frames keeps times by counting.

    for big in create_processor(session).clip(frames):
        ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, cast

from ...arrays import Frame
from ...bundle.schema import ColourMatch
from ...pictures.yuv_picture import AnyPicture, YuvPicture
from ..sessions.frames import check_frame
from ..sessions.stream_session import StreamSession
from .colour_match import ColourMatcher, Statistics, statistics


class FrameProcessor(ABC):
    """A stream of frames through a session. Not thread-safe."""

    @abstractmethod
    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """Take the next frame.

        Iterate to the end before the next call: pictures are computed on the way, so that no more
        of them are held than needed.

        Args:
            frame: (H, W, 3) uint8 RGB, or YUV 4:2:0 where the session is of that; it may be kept,
                so it must not be changed. Another size than before ends the stream and starts a
                new one.

        Yields:
            The upscaled frames that are finished now: (sH, sW, 3) uint8 RGB, C-contiguous, or YUV
            4:2:0; owned by the caller. In all, one a frame in their order.

        Raises:
            ValueError: The frame has another shape or dtype.
        """

    @abstractmethod
    def finish(self) -> Iterator[AnyPicture]:
        """End the stream: yield what is left. Iterate to the end; the next frame starts anew."""

    @abstractmethod
    def reset(self) -> None:
        """Drop what is left and forget the past: the next frame starts a new stream."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """How the latest stream was processed, JSON-ready: windows, tiles, colour_match.

        Each is None where it was not used.
        """

    @abstractmethod
    def notes(self) -> list[str]:
        """The same for people, a line for each thing that is not plain frame by frame."""

    def clip(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Upscale frames as a stream of their own.

        Args:
            frames: As for `push`; those of a clip network are read ahead by its window.

        Yields:
            One upscaled frame a frame, in order.
        """
        self.reset()
        try:
            for frame in frames:
                yield from cast("Iterator[Frame]", self.push(frame))
            yield from cast("Iterator[Frame]", self.finish())
        finally:
            self.reset()


def require_rgb(picture: AnyPicture) -> Frame:
    """Refuse what is no RGB, in processors that compute with it.

    Raises:
        ValueError: It is none.
    """
    if isinstance(picture, YuvPicture):
        raise ValueError("a picture of YUV where RGB is expected")
    check_frame(picture)
    return picture


class StreamProcessor(FrameProcessor):
    """A network with carried state: each frame is finished at once, or with a later one.

    A network that looks ahead gives its pictures so many frames late; the last ones come when the
    stream is finished.

    Args:
        session: Opened.
        overlap: Pictures may come a frame later: copies then run beside the network where the
            backend can do that.
    """

    def __init__(self, session: StreamSession, *, overlap: bool = False) -> None:
        self.session = session
        self._behind = overlap and session.overlaps and not session.delay
        self._latest: AnyPicture | None = None  # of a stream whose pictures come late
        self._given = 0

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        if self.session.delay:
            yield from self._push_late(frame)
            return
        if isinstance(frame, YuvPicture):
            yield self.session.infer_yuv(frame)
            return
        picture = self.session.infer_behind(frame) if self._behind else self.session.infer(frame)
        if picture is not None:
            yield picture

    def finish(self) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        if self._behind and (picture := self.session.last()) is not None:
            yield picture
        if self._latest is not None:
            for _ in range(self.session.delay):
                self.session.after_end()
                yield from self._run_late(self._latest)
        self._forget()

    def _push_late(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        before = self._latest
        if before is not None and _size(before) != _size(frame):
            yield from self.finish()
        self._latest = frame
        yield from self._run_late(frame)

    def _run_late(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """Run a frame; what comes before the first one's picture is none."""
        made: AnyPicture = (
            self.session.infer_yuv(frame)
            if isinstance(frame, YuvPicture)
            else self.session.infer(frame)
        )
        self._given += 1
        if self._given > self.session.delay:
            yield made

    def _forget(self) -> None:
        self._latest, self._given = None, 0
        self.session.reset()

    def reset(self) -> None:
        """See `FrameProcessor`."""
        if self._behind:
            self.session.last()
        self._forget()

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`."""
        return {"windows": None, "tiles": self.session.tile_facts(), "colour_match": None}

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        late = self.session.delay
        line = (
            f"the network looks {late} frame{'s' * (late > 1)} ahead: pictures come so much later"
        )
        return [*self.session.tile_notes(), *([line] if late else [])]


def _size(picture: AnyPicture) -> tuple[int, ...]:
    return picture.shape[:2]


class ColourMatchedProcessor(FrameProcessor):
    """Matches the colours of another processor's finished frames to their inputs.

    An error while a frame is upscaled ends the stream; the next frame starts a new one.

    Args:
        inner: What upscales.
        mode: How to match, not `none`.
    """

    def __init__(self, inner: FrameProcessor, mode: ColourMatch) -> None:
        self.inner = inner
        self.mode = mode
        self._matcher = ColourMatcher(mode)
        self._wanted: deque[Statistics] = deque()  # of frames not finished yet

    def push(self, frame: AnyPicture) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        rgb = require_rgb(frame)
        self._wanted.append(statistics(rgb))
        try:
            yield from self._match(self.inner.push(rgb))
        except BaseException:
            self.reset()  # inputs and pictures would no longer belong together
            raise

    def finish(self) -> Iterator[AnyPicture]:
        """See `FrameProcessor`."""
        yield from self._match(self.inner.finish())
        self._matcher.reset()

    def reset(self) -> None:
        """See `FrameProcessor`."""
        self.inner.reset()
        self._wanted.clear()
        self._matcher.reset()

    def facts(self) -> dict[str, Any]:
        """See `FrameProcessor`."""
        return {**self.inner.facts(), "colour_match": asdict(self.mode)}

    def notes(self) -> list[str]:
        """See `FrameProcessor`."""
        how = {
            "frame": "each frame by itself",
            "ema": f"averaged with a half-life of {self.mode.half_life_frames:g} frames",
        }
        return [*self.inner.notes(), f"colours are matched to the input, {how[self.mode.mode]}"]

    def _match(self, pictures: Iterator[AnyPicture]) -> Iterator[Frame]:
        for picture in map(require_rgb, pictures):
            self._matcher.match(self._wanted.popleft(), picture)
            yield picture
