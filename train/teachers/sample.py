"""One cached sample: low, high and teacher clips in one file, exact to the bit.

UT Video (intra-coded, planar RGB) in AVI: any player shows it, any frame is read without its
neighbours, and of the lossless formats measured it was the fastest to read (docs/decisions.md).

    data = encode_sample([low, high, taught])
    low, high, taught = decode_sample(data, start=2, stop=7)
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ...pictures.pyav import open_input

Clip = npt.NDArray[np.uint8]
"""(T, 3, H, W) RGB."""

GBRP_ORDER = (1, 2, 0)
"""FFmpeg's planar RGB keeps green first, then blue, then red."""

FRAME_RATE = 25
"""For players; samples have no time of their own."""


def encode_sample(clips: Sequence[Clip]) -> bytes:
    """Encode clips of equally many frames, losslessly, as the video streams of one file.

    Args:
        clips: (T, 3, H, W) uint8 RGB each; sizes may differ.

    Returns:
        The file's bytes.
    """
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as container:
        streams = []
        for clip in clips:
            stream = container.add_stream("utvideo", rate=FRAME_RATE, options={"pred": "median"})
            stream.height, stream.width = clip.shape[2:]
            stream.pix_fmt = "gbrp"
            streams.append(stream)
        for index, images in enumerate(zip(*clips, strict=True)):
            for stream, image in zip(streams, images, strict=True):
                container.mux(stream.encode(_frame_from_planes(image, index)))
        for stream in streams:
            container.mux(stream.encode())
    return buffer.getvalue()


def decode_sample(data: bytes, *, start: int = 0, stop: int | None = None) -> list[Clip]:
    """Decode the clips of `encode_sample`.

    Args:
        data: The file's bytes.
        start: First frame; those outside are not decoded.
        stop: Frame to end before; None for all.

    Returns:
        (T, 3, H, W) uint8 RGB each.

    Raises:
        ValueError: The bytes are no such file, or damaged.
    """
    try:
        with open_input(io.BytesIO(data), format="avi") as container:
            found: list[list[Clip]] = [[] for _ in container.streams.video]
            for stream, image in _decode(container, start, math.inf if stop is None else stop):
                found[stream].append(image)
    except av.FFmpegError as error:
        raise ValueError(f"not a readable sample: {error.strerror}") from error
    if not found or any(len(clip) != len(found[0]) or not clip for clip in found):
        raise ValueError(f"a damaged sample: {[len(clip) for clip in found]} frames a stream")
    return [np.stack(clip) for clip in found]


def _decode(
    container: av.container.InputContainer, start: int, stop: float
) -> Iterator[tuple[int, Clip]]:
    """Yield stream index and (3, H, W) planes of the wanted frames; the others stay encoded."""
    for stream in container.streams.video:
        stream.codec_context.thread_count = 1  # loaders run many of these side by side
    seen = [0] * len(container.streams.video)
    for packet in container.demux():
        if not packet.size:  # the demuxer's end mark; every frame came out with its own packet
            continue
        index = seen[packet.stream_index]
        seen[packet.stream_index] += 1
        if start <= index < stop:
            for frame in packet.decode():
                assert isinstance(frame, av.VideoFrame)
                yield packet.stream_index, _planes_from_frame(frame)


def _frame_from_planes(image: npt.NDArray[np.uint8], index: int) -> av.VideoFrame:
    _, height, width = image.shape
    frame = av.VideoFrame(width, height, "gbrp")
    frame.pts = index
    for plane, channel in zip(frame.planes, GBRP_ORDER, strict=True):
        _rows(plane)[:height, :width] = image[channel]
    return frame


def _planes_from_frame(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    image = np.empty((3, frame.height, frame.width), np.uint8)
    for plane, channel in zip(frame.planes, GBRP_ORDER, strict=True):
        image[channel] = _rows(plane)[: frame.height, : frame.width]
    return image


def _rows(plane: Any) -> npt.NDArray[np.uint8]:
    """A plane's memory, padding included; writing to it writes to the frame."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
