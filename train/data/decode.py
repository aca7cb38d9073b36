"""Reading stretches of videos: sought out by time, without a cut, without a broken frame.

Nothing of a video is read that is not needed: a stretch is decoded from the keyframe before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import torch
import torch.nn.functional as F
from av.video.reformatter import VideoReformatter

from ...arrays import Levels
from ...pictures.clips import media_url
from ...pictures.colour import CHROMA_LEFT, TRANSFER_HLG, TRANSFER_PQ, rgb_from_frame
from ...pictures.pyav import open_input
from ...pictures.scene_cuts import Small, score_cut, small_luma


@dataclass
class Stretch:
    """Frames asked for, and those found so far."""

    at: float
    """Where it should begin, as a share of the video from 0 to 1."""

    frames: int
    """T, frames to keep."""

    stride: int
    """Frames from one kept to the next."""

    found: list[Levels] = field(default_factory=list)
    """Frames kept, (H, W, 3) uint8 RGB."""

    seen: int = 0
    """Frames in a row that belong to one scene."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return len(self.found) == self.frames

    @property
    def length(self) -> int:
        """Frames of the video it covers."""
        return (self.frames - 1) * self.stride + 1

    def restart(self) -> None:
        """Begin anew with the next frame: a cut, or damage, came between."""
        self.found.clear()
        self.seen = 0


def read_stretches(
    path: Path, stretches: Sequence[Stretch], *, max_side_px: int, cut_threshold: float
) -> None:
    """Decode stretches of one video in one pass, each from where it should begin on.

    A stretch that meets a cut, a damaged frame or a change of size starts again behind it; at the
    video's end it may stay incomplete.

    Args:
        path: The video.
        stretches: What to read; their frames are filled in.
        max_side_px: Larger frames are reduced to it.
        cut_threshold: See `adcvsr.pictures.scene_cuts.score_cut`.

    Raises:
        av.FFmpegError: The file cannot be read.
        ValueError: It holds nothing to train on: no video, interlaced or HDR.
    """
    with open_input(media_url(path)) as container:
        stream = _video_stream(container)
        last = max(stretch.length for stretch in stretches)
        starts, timeline = _seek(container, stream, [s.at for s in stretches], last, path)
        reformatter = VideoReformatter()
        scene = _SceneWatch(cut_threshold)
        for time, frame in timeline:
            waiting = [
                stretch
                for stretch, start in zip(stretches, starts, strict=True)
                if time >= start and not stretch.complete
            ]
            if waiting:
                _extend(waiting, frame, scene, reformatter, max_side_px)
            elif all(stretch.complete for stretch in stretches):
                return


def _extend(
    stretches: Sequence[Stretch],
    frame: av.VideoFrame,
    scene: _SceneWatch,
    reformatter: VideoReformatter,
    max_side_px: int,
) -> None:
    """Offer a frame to stretches that have begun."""
    if not scene.continues(frame):
        for stretch in stretches:
            stretch.restart()
    if scene.damaged:
        return
    image: Levels | None = None
    for stretch in stretches:
        if stretch.seen % stretch.stride == 0:
            if image is None:
                image = _reduce(rgb_from_frame(frame, reformatter), max_side_px)
            stretch.found.append(image)
        stretch.seen += 1


class _SceneWatch:
    """Tells whether each frame continues the scene of the one before."""

    def __init__(self, threshold: float) -> None:
        self.damaged = False
        self._threshold = threshold
        self._size = (0, 0)
        self._before: Small | None = None

    def continues(self, frame: av.VideoFrame) -> bool:
        """Look at the next frame."""
        if frame.interlaced_frame:
            raise ValueError("interlaced video; deinterlace it first (ffmpeg -vf bwdif)")
        self.damaged = bool(frame.is_corrupt)
        size, small = (frame.width, frame.height), small_luma(frame)
        same = size == self._size and self._before is not None and not self.damaged
        if same and self._before is not None:
            same = score_cut(self._before, small, self._threshold) < self._threshold
        self._size, self._before = size, None if self.damaged else small
        return same


def _video_stream(container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise ValueError("no video stream")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise ValueError("no decoder for its video stream")
    if int(stream.codec_context.color_trc) in (TRANSFER_PQ, TRANSFER_HLG):
        raise ValueError("HDR video; training is on SDR")
    stream.codec_context.options = dict(CHROMA_LEFT)
    stream.thread_type = "SLICE"  # frame threads would decode ahead of what is needed
    return stream


def _seek(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    shares: Sequence[float],
    last: int,
    path: Path,
) -> tuple[list[float], Iterator[tuple[float, av.VideoFrame]]]:
    """Go to the first stretch; return where each begins and the frames with their times.

    The clock is the presentation time; in streams without one (raw H.264) the frame's number.
    """
    seconds = _duration_seconds(container, stream)
    if seconds and stream.average_rate and stream.time_base:
        span = max(seconds - float(last / stream.average_rate), 0.0)
        starts = [share * span for share in shares]
        first = stream.start_time or 0
        if any(starts):
            container.seek(first + int(min(starts) / stream.time_base), stream=stream)
        return starts, _timed(container.decode(stream), first, stream.time_base)
    room = max(_count_frames(path) - last, 0)
    numbered = ((float(index), frame) for index, frame in enumerate(container.decode(stream)))
    return [share * room for share in shares], numbered


def _duration_seconds(
    container: av.container.InputContainer, stream: av.VideoStream
) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


def _timed(
    frames: Iterator[av.VideoFrame], first: int, unit: Fraction
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Give each frame its seconds from the stream's beginning; one without has its neighbour's."""
    time = 0.0
    for frame in frames:
        if frame.pts is not None:
            time = float((frame.pts - first) * unit)
        yield time, frame


def _count_frames(path: Path) -> int:
    """Count the frames of a stream that does not say how long it is."""
    with open_input(media_url(path)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _reduce(image: Levels, max_side_px: int) -> Levels:
    ratio = max_side_px / max(image.shape[:2])
    if ratio >= 1:
        return image
    return resize_levels(image, round(image.shape[0] * ratio), round(image.shape[1] * ratio))


def resize_levels(image: Levels, height: int, width: int) -> Levels:
    """Antialiased bicubic of (H, W, 3) uint8 in whole numbers: fast, equal on any thread."""
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    return resized[0].permute(1, 2, 0).contiguous().numpy()
