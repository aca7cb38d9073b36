"""Pictures as video has them: YUV 4:2:0 of 8 bits, on the way between decoder, network and encoder.

picture = yuv_from_frame(frame, colours, VideoReformatter())  # of a decoded frame
frame = frame_from_yuv(picture, "nv12", VideoReformatter())  # for an encoder
"""

from __future__ import annotations

from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .colour import (
    EXACT,
    RANGE_FULL,
    RANGE_LIMITED,
    REDUCE,
    SWS_MATRIX,
    Colours,
    colours_of,
    frame_from_rgb,
    rgb_from_frame,
    tag_left,
    tagged,
)
from .yuv_picture import AnyPicture, YuvPicture, plane_lines

FORMATS = frozenset({"yuv420p", "yuvj420p", "nv12"})
"""FFmpeg's formats of such pictures."""

PROBE_PX = 32
"""Side of the square in which it is looked where chroma lies."""

_FAST = 0x4 | 0x40000
"""swscale flags where nothing is scaled: planes set otherwise, or another matrix."""


def why_not_yuv(frame: av.VideoFrame) -> str | None:
    """Say why frames like this one are not taken as `YuvPicture` as they are; None where they are.

    Args:
        frame: Decoded, the first of its stream.
    """
    name = frame.format.name
    if name not in FORMATS:
        return f"the source is {name}, not 4:2:0 of 8 bits"
    if not _is_left(frame):
        return "the source's chroma does not lie left"
    return None


def _is_left(frame: av.VideoFrame) -> bool:
    """Whether a frame's chroma lies left. PyAV does not tell, so a drawn edge is looked at.

    The edge is drawn into a copy of the frame's corner, which keeps what the frame says of itself.
    FFmpeg draws in `yuv420p` alone; frames of other formats are looked at as they are.
    """
    if frame.format.name != "yuv420p":
        return _shows_left(frame)
    side = min(frame.width // 2 * 2, frame.height // 2 * 2, PROBE_PX)
    if side < PROBE_PX:
        return True  # no wider than the filter: there is nothing to see
    graph = av.filter.Graph()
    graph.threads = 1
    buffer = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 25),
    )
    edge = f"lum=128:cb='if(lt(X,{side // 4}),80,176)':cr='if(lt(Y,{side // 4}),80,176)'"
    parts = [graph.add("crop", f"{side}:{side}:0:0"), graph.add("geq", edge)]
    graph.link_nodes(buffer, *parts, graph.add("buffersink")).configure()
    graph.push(frame)
    return _shows_left(cast("av.VideoFrame", graph.pull()))


def _shows_left(frame: av.VideoFrame) -> bool:
    found, left = (rgb_from_frame(each, VideoReformatter()) for each in (frame, tag_left(frame)))
    return bool(np.array_equal(found, left))


def yuv_from_frame(
    frame: av.VideoFrame, colours: Colours, reformatter: VideoReformatter
) -> YuvPicture:
    """Copy the planes of a decoded frame; nothing is converted where it is 8-bit 4:2:0 already.

    Decoders may still write to a frame they gave: damaged H.264 is concealed late.

    Args:
        frame: Of any format; one of another format, matrix or range than the stream began with is
            converted by swscale.
        colours: The stream's.
        reformatter: Reused between frames.
    """
    if frame.format.name not in FORMATS or not _alike(colours_of(frame), colours):
        frame = _converted(frame, colours, reformatter)
    height, width = frame.height, frame.width
    rows, columns = (height + 1) // 2, (width + 1) // 2
    planes = [plane_lines(plane) for plane in frame.planes]
    luma = planes[0][:height, :width].copy()
    if len(planes) == 2:
        chroma = planes[1][:rows, : 2 * columns].copy().reshape(rows, columns, 2)
        return YuvPicture(luma, chroma, colours)
    pairs = np.empty((rows, columns, 2), np.uint8)
    for index in range(2):
        pairs[..., index] = planes[1 + index][:rows, :columns]
    return YuvPicture(luma, pairs, colours)


def frame_from_yuv(
    picture: YuvPicture,
    pixel_format: str,
    reformatter: VideoReformatter,
    *,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """Make a frame for an encoder.

    Args:
        picture: Of even sides.
        pixel_format: `nv12`, or another format of 8-bit 4:2:0.
        reformatter: Reused between frames.
        size: Width and height to scale to, by areas where it is smaller, else bicubic; None keeps
            the picture's.

    Returns:
        A frame with all colour tags set; its PTS is not.
    """
    frame = picture.frame()
    scaled = size is not None and size != (frame.width, frame.height)
    if frame.format.name == pixel_format and not scaled:
        return frame
    width, height = size or (frame.width, frame.height)
    flags = REDUCE if width * height < frame.width * frame.height else EXACT
    full = RANGE_FULL if picture.colours.full_range else RANGE_LIMITED
    matrix = SWS_MATRIX[picture.colours.matrix]
    made = reformatter.reformat(
        tag_left(frame) if scaled else frame,
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=full,
        dst_color_range=full,
        interpolation=flags if scaled else _FAST,
        threads=1,
    )
    return tagged(made, picture.colours)


def frame_of(
    picture: AnyPicture,
    colours: Colours,
    pixel_format: str,
    reformatter: VideoReformatter,
    *,
    size: tuple[int, int],
    reader: VideoReformatter | None = None,
) -> av.VideoFrame:
    """Make a frame for an encoder of whatever a picture is.

    Args:
        picture: RGB, or YUV 4:2:0 of even sides, which is never made RGB where 4:2:0 is wanted.
        colours: What the frame's numbers are to mean.
        pixel_format: FFmpeg's.
        reformatter: Reused between pictures.
        size: Width and height to scale to.
        reader: Reused likewise, where YUV has to become RGB.

    Returns:
        A frame with all colour tags set; its PTS is not.
    """
    if isinstance(picture, YuvPicture):
        if pixel_format in FORMATS and _same_numbers(picture.colours, colours):
            return frame_from_yuv(picture, pixel_format, reformatter, size=size)
        picture = picture.rgb(reader or VideoReformatter())
    return frame_from_rgb(picture, colours, pixel_format, reformatter, size=size)


def _same_numbers(found: Colours, wanted: Colours) -> bool:
    return (found.matrix, found.full_range) == (wanted.matrix, wanted.full_range)


def _alike(found: Colours, wanted: Colours) -> bool:
    same = SWS_MATRIX[found.matrix] == SWS_MATRIX[wanted.matrix]
    return same and found.full_range == wanted.full_range


def _converted(
    frame: av.VideoFrame, colours: Colours, reformatter: VideoReformatter
) -> av.VideoFrame:
    found = colours_of(frame)
    return reformatter.reformat(
        frame,
        format="yuv420p",
        src_colorspace=SWS_MATRIX[found.matrix],
        dst_colorspace=SWS_MATRIX[colours.matrix],
        src_color_range=RANGE_FULL if found.full_range else RANGE_LIMITED,
        dst_color_range=RANGE_FULL if colours.full_range else RANGE_LIMITED,
        interpolation=EXACT,
        threads=1,
    )
