"""Interlaced frames made whole: FFmpeg's bwdif, one frame for two fields, progressive ones kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import av
from av.filter import Graph

from ...pictures.pyav import filter_graph

FILTER = "mode=send_frame:deint=interlaced"


class Deinterlacer:
    """Passes frames on until the first interlaced one; from there on through bwdif.

    Args:
        stream: Where the frames come from.
        mode: `off` leaves all as they are and says so.
        note: Called with a line at the first interlaced frame.
    """

    def __init__(
        self, stream: av.VideoStream, mode: Literal["auto", "off"], note: Callable[[str], None]
    ) -> None:
        self._stream, self._mode, self._note = stream, mode, note
        self._graph: Graph | None = None
        self._format: tuple[int, int, str] | None = None
        self.met = False
        """Whether an interlaced frame came."""

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Take a decoded frame; yield those that are finished, in order (bwdif waits for one)."""
        if frame.interlaced_frame and not self.met:
            self.met = True
            self._note(
                "the video is interlaced: deinterlaced (bwdif, a frame for two fields)"
                if self._mode == "auto"
                else "the video is interlaced and upscaled as it is, combs included"
            )
        if self._mode == "off" or not (self._graph or frame.interlaced_frame):
            yield frame
            return
        shape = (frame.width, frame.height, frame.format.name)
        if self._graph is None or shape != self._format:
            yield from self.finish()
            self._graph, self._format = self._build(frame), shape
        self._graph.push(frame)
        yield from self._ready()

    def finish(self) -> Iterator[av.VideoFrame]:
        """Yield what bwdif still holds."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._ready()
            self._graph = None

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = filter_graph()
        source = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._stream.time_base,
        )
        graph.link_nodes(source, graph.add("bwdif", FILTER), graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[av.VideoFrame]:
        assert self._graph is not None
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            assert isinstance(frame, av.VideoFrame)
            yield frame
