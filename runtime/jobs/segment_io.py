"""A segment read from its source and written to its file."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av

from ...arrays import Levels
from ...errors import JobError
from ...files import file_sha256
from ...pictures.colour import Colours
from ...pictures.yuv_picture import AnyPicture, planes_of
from ..video.encoders import EncodeOptions
from ..video.read_options import ReadOptions
from ..video.sink import FileSink
from ..video.source import FileSource, SourceFrame
from .folder import sync_file
from .plan import JobPlan, Segment

LEFT_FRAMES, FRAME_BYTES = 4, 6
"""Of each segment's decoder that may stay in memory, and of a pixel of 16 bits."""

MOST_LEFT_BYTES = 64 << 20
"""Of all segments together, until they are looked for."""


class _Left:
    """What segments of this process left since it was looked for last."""

    bytes = 0


class SegmentSource(FileSource):
    """The frames of a segment, and those before and after it that the network must see.

    Args:
        path: The input.
        plan: Of the job.
        segment: Of the plan.
        options: What of the input is read, the same as when it was planned.

    Raises:
        InputError, JobError: As for `FileSource`, or the frames are not the plan's.
    """

    def __init__(self, path: Path, plan: JobPlan, segment: Segment, options: ReadOptions) -> None:
        self.plan, self.segment = plan, segment
        self._times = segment.times()
        self._end = self._times[-1] if segment.end_pts is None else segment.end_pts
        self._came: list[int] = []
        self.when_read: Callable[[], object] = lambda: None
        """Called once no more will be read."""
        super().__init__(path, options, steady=plan.is_steady)

    def __iter__(self) -> Iterator[SourceFrame | av.Packet[Any]]:
        """Yield the frames alone; at the end they are held against the plan.

        Raises:
            JobError: They are not the plan's.
        """
        for item in super().__iter__():
            if isinstance(item, SourceFrame):
                yield item
        self._check()
        self.when_read()

    def _free_frames(self) -> None:
        """See `FileSource`; a look takes as long as some frames of a small video: not each time."""
        video = self.plan.video
        _Left.bytes += LEFT_FRAMES * video.width * video.height * FRAME_BYTES
        if _Left.bytes >= MOST_LEFT_BYTES:
            _Left.bytes = 0
            super()._free_frames()

    @property
    def stream_colours(self) -> Colours:
        """Of the whole input, whatever this segment begins with."""
        return self.plan.video.colours

    def _seek(self) -> bool:
        if self.segment.seek is None:
            return False
        try:
            self.container.seek(self.segment.seek, stream=self.stream, backward=True)
        except av.FFmpegError:
            return False
        return True

    def _missed_some(self, first: SourceFrame) -> bool:
        return first.pts != self.segment.begin_pts

    def _restart(self) -> None:
        self._came.clear()
        super()._restart()

    def _taken(self, frame: av.VideoFrame, pts: int) -> Iterator[SourceFrame]:
        if pts < self.segment.begin_pts:
            return
        if pts > self._end:
            self._ended = True
            return
        if self.segment.pts <= pts <= self._times[-1]:
            self._came.append(pts)
        yield self._convert(frame, pts)

    def _is_past(self, packet: av.Packet[Any]) -> bool:
        return True  # the sound comes at the join

    def _check(self) -> None:
        of = f"segment {self.segment.index} of '{self.path}'"
        what = ""
        if self._came != self._times:
            wrong = next(
                (
                    at
                    for at, (a, b) in enumerate(zip(self._came, self._times, strict=False))
                    if a != b
                ),
                min(len(self._came), len(self._times)),
            )
            what = (
                f"gave {len(self._came)} frames of {len(self._times)} planned, from frame {wrong} "
                "on at other times"
            )
        if self.plan.scan == "packets":
            if self.damaged_packets or self.damaged_frames:
                what = "is damaged"
            elif self.interlaced:
                what = "is interlaced"
        if what:
            raise JobError(
                f"{of} {what}: its packets do not tell its frames; plan it with "
                "'adcvsr job plan --scan frames', which decodes it"
                if self.plan.scan == "packets"
                else f"{of} {what}: the source is not what it was when it was planned"
            )


class SegmentSink(FileSink):
    """A segment's file, without sound; times start at 0, and those of no frame of it are left out.

    Args:
        path: Its name.
        source: Opened.
        options: Of the plan, with the encoder's threads.
        note: Called with lines worth telling the user.
    """

    def __init__(
        self,
        path: Path,
        source: SegmentSource,
        options: EncodeOptions,
        note: Callable[[str], None],
    ) -> None:
        self.segment = source.segment
        self._last = self.segment.times()[-1]
        self.pictures = 0
        """CRC-32 of all pictures."""
        self.reorder = 0
        """See `SegmentResult`."""
        self.sha256 = ""
        self.bytes = 0
        self._order: list[int] = []
        super().__init__(
            path,
            source,
            options,
            note,
            info=source.plan.video,
            carry=False,
            why_not_deep=source.plan.network.why_not_deep,
        )

    def write(self, picture: AnyPicture, pts: int, alpha: Levels | None = None) -> None:
        """See `FileSink`; a picture before or after the segment is passed over."""
        if self.segment.pts <= pts <= self._last:
            for plane in planes_of(picture):
                self.pictures = zlib.crc32(plane.data, self.pictures)
            super().write(picture, pts - self.segment.pts, alpha)

    def _mux(self, packet: av.Packet[Any]) -> None:
        if packet.pts is None:
            raise JobError(f"encoder '{self.encoder}' gives packets without a time")
        self._order.append(packet.pts)
        super()._mux(packet)

    def _check_written(self) -> None:
        """Force it to the disk and hash it; its tags are looked at when it is joined."""
        sync_file(self._part)
        self.sha256, self.bytes = file_sha256(self._part), self._part.stat().st_size
        shown = {pts: at for at, pts in enumerate(sorted(self._order))}
        self.reorder = max(at - shown[pts] for at, pts in enumerate(self._order))
        if len(shown) != self.segment.frames:
            self.abort()
            raise JobError(
                f"encoder '{self.encoder}' made {len(shown)} pictures of {self.segment.frames} in "
                f"segment {self.segment.index}; choose libx264"
            )
