"""What a video is, found from its first decoded frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av

from ...pictures.colour import Colours, colours_of
from .input_file import has_layer
from .planes import Planes, planes_of

FALLBACK_RATE = Fraction(25)
"""Frame rate where neither the container nor the codec tells one."""

QUARTER_TURN = 90


@dataclass(frozen=True)
class VideoInfo:
    """What a source knows of its video after the first frame."""

    width: int
    """Pixels, as stored (before rotation)."""

    height: int
    """Pixels, as stored."""

    rate: Fraction
    """Nominal frames per second; times come from the frames, never from this."""

    time_base: Fraction
    """Seconds a PTS tick."""

    colours: Colours
    """Matrix, range, primaries, transfer."""

    rotation: int
    """Degrees counter-clockwise to turn the picture for display; a multiple of 90."""

    sample_aspect: Fraction
    """Width over height of a pixel."""

    frames: int
    """Estimated number of frames, 0 when unknown."""

    codec: str
    """Codec name."""

    pixel_format: str
    """FFmpeg's pixel format of the decoded frames."""

    planes: Planes
    """What frames of that format hold."""


def describe(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    frame: av.VideoFrame,
    note: Callable[[str], None],
) -> VideoInfo:
    """Describe a video by its first frame.

    Raises:
        UnsupportedVideoError: It is of a colour matrix that cannot be converted.
    """
    colours = colours_of(frame)
    rate = stream.guessed_rate or stream.average_rate or FALLBACK_RATE
    frames = stream.frames
    if not frames and container.duration:
        frames = round(Fraction(container.duration, av.time_base) * (stream.average_rate or rate))
    aspect = stream.sample_aspect_ratio
    return VideoInfo(
        width=frame.width,
        height=frame.height,
        rate=Fraction(rate),
        time_base=Fraction(stream.time_base or Fraction(1, 90000)),
        colours=colours,
        rotation=_rotation(frame, note),
        sample_aspect=Fraction(aspect) if aspect else Fraction(1),
        frames=max(frames, 0),
        codec=str(stream.codec_context.name),
        pixel_format=frame.format.name,
        planes=planes_of(frame.format, layered=has_layer(stream)),
    )


def _rotation(frame: av.VideoFrame, note: Callable[[str], None]) -> int:
    rotation = frame.rotation
    if rotation % QUARTER_TURN or abs(rotation) > 360:
        note(f"the rotation tag of {rotation} degrees makes no sense: ignored")
        return 0
    return rotation % 360
