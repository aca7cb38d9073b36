"""Short clips as arrays: encode, decode, and single pictures. Long video goes through the runtime.

Used by the demo, by training's compression, by evaluation and by tests.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..arrays import Levels
from ..host.processors import thread_limit
from ..redaction import without_secrets
from .colour import CHROMA_LEFT, Colours, frame_from_rgb, rgb_from_frame
from .pyav import open_input

BT601 = Colours(matrix=6, full_range=False)
"""What small untagged video is read as."""


_VIDEO_ENDINGS = """
264 265 3g2 3gp amv asf av1 avc avi divx dv f4v flv gxf h264 h265 hevc insv ivf jsv lrv m1v m2p m2t
m2ts m2v m4v mjpeg mjpg mk3d mkv mod mov mp4 mp4v mpe mpeg mpg mpv mts mxf nut obu ogm ogv ps qt rm
rmvb tod ts vc1 vob vro webm wmv wtv xvid y4m
"""
VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _VIDEO_ENDINGS.split())
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""File name endings by which folders are searched."""


def media_url(path: Path) -> str:
    """A path as FFmpeg takes it: without the prefix, `10:30.mp4` would be a protocol."""
    return f"file:{path}"


def ffmpeg_reason(error: BaseException) -> str:
    """The human part of an error, with FFmpeg's last words where there are any; no secret in it."""
    said = str(getattr(error, "strerror", None) or error)
    log = getattr(error, "log", None)
    return without_secrets(f"{said} ({log[2].strip()})" if log else said)


def find_media(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """All files of the given kinds below a folder, in a stable order; hidden ones are left out.

    Those are files that are being written, and what some systems put beside every file (`._a.mp4`).
    """
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()
    )


def write_clip(
    target: Path | io.BytesIO,
    frames: Iterable[Levels],
    *,
    rate: Fraction | int = 25,
    crf: int = 18,
    colours: Colours = BT601,
) -> None:
    """Encode frames as H.264 in mp4.

    Args:
        target: File or buffer.
        frames: (H, W, 3) uint8 each, H and W even.
        rate: Frames per second.
        crf: Constant rate factor.
        colours: Matrix and range to write.
    """
    reformatter = VideoReformatter()
    name = target if isinstance(target, io.BytesIO) else media_url(target)
    with av.open(name, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = thread_limit()
        stream.options = {"preset": "veryfast", "crf": str(crf), **CHROMA_LEFT}
        for index, image in enumerate(frames):
            if not index:
                stream.height, stream.width = image.shape[:2]
                context = stream.codec_context
                context.colorspace, context.color_range = colours.matrix, 1 + colours.full_range
            frame = frame_from_rgb(np.ascontiguousarray(image), colours, "yuv420p", reformatter)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_clip(
    source: Path | io.BytesIO, *, start: int = 0, stop: int | None = None
) -> Iterator[Levels]:
    """Yield the frames of a video's first stream, (H, W, 3) uint8 RGB.

    Args:
        source: File or buffer.
        start: First frame to yield.
        stop: Frame to end before; None for all.

    Raises:
        av.FFmpegError: The file cannot be read.
    """
    reformatter = VideoReformatter()
    name = source if isinstance(source, io.BytesIO) else media_url(source)
    with open_input(name) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        container.streams.video[0].thread_type = "AUTO"
        container.streams.video[0].codec_context.thread_count = thread_limit()
        container.streams.video[0].codec_context.options = CHROMA_LEFT
        for frame in islice(container.decode(video=0), start, stop):
            yield rgb_from_frame(frame, reformatter)


def read_image(path: Path) -> Levels:
    """Read a picture, (H, W, 3) uint8 RGB; alpha is left out.

    Raises:
        av.FFmpegError: The file cannot be read.
        ValueError: It holds no picture.
    """
    for image in read_clip(path, stop=1):
        return image
    raise ValueError("no picture")


def write_png(path: Path, image: Levels) -> None:
    """Write a picture, (H, W, 3) uint8 RGB."""
    height, width = image.shape[:2]
    with av.open(media_url(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("png")
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
