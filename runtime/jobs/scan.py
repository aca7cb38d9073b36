"""The frames of an input, found without decoding it where that is certain, else by decoding it.

What packets alone tell is only taken where every packet is one frame shown at its own time; the
rest (interlaced, edit lists, broken or broadcast clocks, damage) is decoded once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av

from ...errors import JobError
from ..video.file_clock import BACK_ELSEWHERE_S, IN_STEP
from ..video.info import VideoInfo
from ..video.input_file import choose_stream, open_input
from ..video.read_options import ReadOptions
from ..video.source import SEEKABLE_FORMATS, FileSource, SourceFrame

FRAME_A_PACKET = frozenset(
    {"h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mjpeg", "prores", "dnxhd", "ffv1", "png"}
)
"""Codecs of which, in containers with an index, every packet is a frame that is shown."""

Mode = Literal["auto", "packets", "frames"]


@dataclass(frozen=True)
class Scan:
    """What was found."""

    how: Literal["packets", "frames"]
    info: VideoInfo
    """Of the first frame."""
    times: list[int]
    """Of every frame that is read, in ticks from `time_offset` on, increasing."""
    keys: list[tuple[int, int]]
    """Key frames: their time in `times`' ticks, and as the file has it; empty for `frames`."""
    damaged_packets: int
    damaged_frames: int
    notes: list[str]
    why_not_yuv: str
    """Why frames cannot be read as YUV 4:2:0; empty where they can."""


class _UnsureError(Exception):
    """Packets alone do not tell the frames; the text says why."""


def scan(path: Path, read: ReadOptions, mode: Mode) -> Scan:
    """Find the frames of an input.

    Args:
        path: The file.
        read: What of it is read.
        mode: `packets` refuses where they do not tell, `frames` decodes, `auto` as needed.

    Raises:
        InputError: As for `FileSource`.
        JobError: It has no frame, or `packets` was asked for and they do not tell.
    """
    with FileSource(path, read) as source:
        why_not_yuv = source.why_not_yuv() or ""
        if mode != "frames":
            try:
                return _by_packets(source, why_not_yuv)
            except _UnsureError as reason:
                if mode == "packets":
                    raise JobError(
                        f"'{path}': {reason}: its packets do not tell its frames; plan with "
                        "--scan frames, which decodes it"
                    ) from reason
                source.notes.append(
                    f"{reason}: the input was decoded once to find its frames, and every segment "
                    "decodes it from the beginning"
                )
        return _by_frames(source, why_not_yuv)


def _by_frames(source: FileSource, why_not_yuv: str) -> Scan:
    times = [item.pts for item in source if isinstance(item, SourceFrame)]
    return Scan(
        "frames",
        source.info,
        times,
        [],
        source.damaged_packets,
        source.damaged_frames,
        list(source.notes),
        why_not_yuv,
    )


def _by_packets(source: FileSource, why_not_yuv: str) -> Scan:
    if source.container.format.name not in SEEKABLE_FORMATS:
        raise _UnsureError(f"{source.container.format.name} has no index to trust")
    if source.info.codec not in FRAME_A_PACKET:
        raise _UnsureError(f"{source.info.codec} has packets that are no frame")
    if source.interlaced:
        raise _UnsureError("the video is interlaced")
    if source.damaged_packets or source.damaged_frames:
        raise _UnsureError("the video is damaged")
    raw, keys = _packets(source.path, source.options)
    offset = round(source.time_offset / source.info.time_base)
    options, base = source.options, source.info.time_base
    times = sorted(
        time
        for time in (pts - offset for pts in raw)
        if not (options.start and time < 0) and not options.ends_by(time * base)
    )
    return Scan(
        "packets",
        source.info,
        times,
        [(pts - offset, pts) for pts in sorted(keys)],
        0,
        0,
        list(source.notes),
        why_not_yuv,
    )


def _packets(path: Path, options: ReadOptions) -> tuple[list[int], list[int]]:
    """Times of all packets of the video and of its key frames, as the file has them."""
    times: list[int] = []
    keys: list[int] = []
    with open_input(path, "cpu") as container:
        index = choose_stream(path, container, options.video_stream, lambda line: None).index
        steps = _Steps(container)
        try:
            for packet in container.demux():
                steps.saw(packet)
                if packet.stream.index != index or not packet.size:
                    continue
                pts = packet.pts
                if pts is None:
                    raise _UnsureError("the video has frames without a time")
                if packet.is_discard or packet.is_corrupt:
                    raise _UnsureError("the video has frames that are hidden or damaged")
                times.append(pts)
                if packet.is_keyframe:
                    keys.append(pts)
        except av.FFmpegError as error:
            raise _UnsureError("the file is damaged") from error
    if not times or not keys or keys[0] != times[0]:
        raise _UnsureError("the video does not begin with a key frame")
    if min(times) != times[0]:
        raise _UnsureError("frames are shown before the first key frame")
    if len(set(times)) != len(times):
        raise _UnsureError("the video has frames that share a time")
    return times, keys


class _Steps:
    """Looks for clocks that jump back, as `FileClock` does and costs ten times as much.

    What this lets pass need not be watched again: `JobPlan.is_steady`.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        self._last: dict[int, int] = {}
        self._back = {
            stream.index: math.floor(BACK_ELSEWHERE_S / Fraction(stream.time_base or 1))
            for stream in container.streams
            if stream.type in IN_STEP
        }

    def saw(self, packet: av.Packet[Any]) -> None:
        """Look at a packet.

        Raises:
            _UnsureError: The clock goes back by more than jitter.
        """
        index, time = packet.stream.index, packet.dts if packet.dts is not None else packet.pts
        if time is None or index not in self._back:
            return
        if time < self._last.get(index, time) - self._back[index]:
            raise _UnsureError("the file's clock jumps")
        self._last[index] = time
