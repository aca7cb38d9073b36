"""Exact conversion between decoded frames and RGB, with the source's matrix and range.

Used by every part that reads or writes video. swscale's defaults are off by up to 2.7 levels on
flat colours; with accurate rounding and full chroma the error is rounding alone (half a level).

    colours = colours_of(frame)
    rgb = rgb_from_frame(frame, VideoReformatter())  # (H, W, 3) uint8
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
import numpy.typing as npt

from ..arrays import Frame
from ..errors import UnsupportedVideoError
from .pyav import side_data_names

if TYPE_CHECKING:
    from av.video.reformatter import VideoReformatter

# ITU-T H.273 code points, as FFmpeg's AVColorSpace, AVColorTransferCharacteristic and
# AVColorRange use them.
MATRIX_RGB, MATRIX_BT709, MATRIX_UNSPECIFIED, MATRIX_BT601, MATRIX_BT2020 = 0, 1, 2, 6, 9
MATRIX_ICTCP = 14
PRIMARIES_BT709, PRIMARIES_BT2020 = 1, 9
TRANSFER_PQ, TRANSFER_HLG = 16, 18
UNSPECIFIED = 2
SAYS_NOTHING = frozenset({0, UNSPECIFIED, 3})
"""Code points without a meaning: reserved ones, and `UNSPECIFIED`. As a matrix, 0 is RGB's."""
RANGE_LIMITED, RANGE_FULL = 1, 2

HD_LINES = 720
"""Untagged video of at least this many lines is BT.709, below it BT.601 (broadcast practice)."""

SWS_MATRIX = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""swscale's coefficient set for each H.273 matrix it can convert."""

EXACT = 0x4 | 0x40000 | 0x2000
"""swscale flags: bicubic chroma, accurate rounding, full horizontal chroma."""

REDUCE = 0x20 | 0x40000 | 0x2000
"""The same with areas, for pictures that become smaller: nearer to the truth than Lanczos, at two
thirds of its time and without ringing (docs/decisions.md)."""


CHROMA_LEFT = {"chroma_sample_location": "left"}
"""Option of every encoder that is given frames of `frame_from_rgb`, and of every decoder.

An encoder tags its stream with it where it can. A decoder takes it where the stream says nothing
(VP8, VP9, FFV1); those of H.264, HEVC, AV1, MPEG and JPEG know better and say so.
"""


@dataclass(frozen=True)
class Colours:
    """How a frame's numbers mean colours: H.273 code points, resolved where the file is silent."""

    matrix: int
    """YCbCr matrix; never unspecified."""

    full_range: bool
    """Whether 0 is black and 255 white (else 16 and 235)."""

    primaries: int = UNSPECIFIED
    """Colour primaries, as the file tags them."""

    transfer: int = UNSPECIFIED
    """Transfer characteristic, as the file tags them."""


SDR_BT709 = Colours(matrix=MATRIX_BT709, full_range=False, primaries=1, transfer=1)
"""What RGB sources that say nothing are written as."""


def resolved(
    matrix: int,
    primaries: int,
    transfer: int,
    *,
    height: int,
    full_range: bool = False,
    rgb: bool = False,
) -> Colours:
    """What a frame's tags mean, and what is meant where they say nothing.

    A matrix that is not told is BT.2020's where the primaries are, or the transfer is PQ or HLG,
    which come with no other; else that of broadcast practice (`HD_LINES`). RGB, which is written as
    limited YCbCr, keeps primaries and transfer.

    Args:
        matrix: H.273 code point, as all three.
        primaries: Likewise.
        transfer: Likewise.
        height: Lines of the picture.
        full_range: Whether 0 is black; not read of RGB, whose levels always are.
        rgb: Whether the frame holds RGB.
    """
    wide = _is_wide(primaries, transfer)
    if rgb:
        if primaries in SAYS_NOTHING:
            primaries = PRIMARIES_BT2020 if wide else PRIMARIES_BT709
        transfer = SDR_BT709.transfer if transfer in SAYS_NOTHING else transfer
        return Colours(MATRIX_BT2020 if wide else MATRIX_BT709, False, primaries, transfer)
    if matrix in SAYS_NOTHING:
        matrix = MATRIX_BT709 if height >= HD_LINES else MATRIX_BT601
        matrix = MATRIX_BT2020 if wide else matrix
    return Colours(matrix, full_range, primaries, transfer)


def _is_wide(primaries: int, transfer: int) -> bool:
    return primaries == PRIMARIES_BT2020 or transfer in (TRANSFER_PQ, TRANSFER_HLG)


def is_rgb(frame: av.VideoFrame) -> bool:
    """Whether a frame holds RGB (or palette) rather than YCbCr or grey."""
    return bool(frame.format.is_rgb) or frame.format.name == "pal8"


def hdr_kind(frame: av.VideoFrame, colours: Colours) -> str | None:
    """Name the kind of HDR of a decoded frame with these colours; None for SDR."""
    kinds = {TRANSFER_PQ: "PQ, as in HDR10", TRANSFER_HLG: "HLG"}
    kind = kinds.get(colours.transfer)
    if any("DOVI" in name for name in side_data_names(frame)):
        # Profile 5 is tagged as nothing else and green and violet without its metadata.
        return f"Dolby Vision, {kind}" if kind else "Dolby Vision"
    return kind


def colours_of(frame: av.VideoFrame) -> Colours:
    """Read a decoded frame's colour tags and resolve what is missing.

    The frame is trusted, not the container: they can disagree, and the decoder knows better. RGB
    frames give the way they will be written.

    Raises:
        UnsupportedVideoError: The matrix is one swscale cannot convert (YCgCo, ICtCp).
    """
    colours = resolved(
        int(frame.colorspace),
        int(frame.color_primaries),
        int(frame.color_trc),
        height=frame.height,
        full_range=int(frame.color_range) == RANGE_FULL or frame.format.name.startswith("yuvj"),
        rgb=is_rgb(frame),
    )
    if colours.matrix not in SWS_MATRIX:
        wide = _is_wide(colours.primaries, colours.transfer)
        to = "2020_ncl" if wide or colours.matrix == MATRIX_ICTCP else "709"
        raise UnsupportedVideoError(
            f"the video's colour matrix is H.273 code {colours.matrix}, which cannot be converted "
            f"exactly; convert it first, for example: ffmpeg -i IN -vf zscale=matrix={to} OUT"
        )
    return colours


def rgb_from_frame(
    frame: av.VideoFrame,
    reformatter: VideoReformatter,
    *,
    size: tuple[int, int] | None = None,
    deep: bool = False,
) -> npt.NDArray[np.uint8]:
    """Convert a decoded frame to RGB, chroma taken from where the frame says that it lies.

    Args:
        frame: Any decoded frame, of a decoder opened with `CHROMA_LEFT`.
        reformatter: Reused between frames; holds swscale's tables.
        size: Width and height to scale to; None keeps the frame's.
        deep: Whether more than 8 bits are wanted.

    Returns:
        (H, W, 3) uint8, or uint16 (see `arrays.Frame`) where `deep`; full range, owned by the
        caller.

    Raises:
        UnsupportedVideoError: See `colours_of`.
    """
    width, height = size or (frame.width, frame.height)
    colours = colours_of(frame)
    matrix = SWS_MATRIX[colours.matrix]
    source_full = colours.full_range or is_rgb(frame)
    converted = reformatter.reformat(
        frame,
        width=width,
        height=height,
        format="rgb48le" if deep else "rgb24",
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=RANGE_FULL if source_full else RANGE_LIMITED,
        dst_color_range=RANGE_FULL,
        interpolation=EXACT,
        threads=1,
    )
    return cast("npt.NDArray[np.uint8]", converted.to_ndarray())


def to_eight_bits(picture: Frame) -> Frame:
    """The same picture in uint8, rounded.

    Args:
        picture: Of any shape, uint8, or uint16 with 256 a level (see `arrays.Frame`).
    """
    if picture.dtype == np.uint8:
        return picture
    levels: Frame = np.minimum((picture.astype(np.uint32) + 128) >> 8, 255).astype(np.uint8)
    return levels


def to_sixteen_bits(picture: Frame) -> Frame:
    """The same picture in uint16, 256 a level (see `arrays.Frame`).

    Args:
        picture: Of any shape, uint8, or uint16, which is given back as it is.
    """
    if picture.dtype == np.uint16:
        return picture
    return cast("Frame", picture.astype(np.uint16) << 8)


def alpha_from_frame(
    frame: av.VideoFrame, reformatter: VideoReformatter
) -> npt.NDArray[np.uint8] | None:
    """Alpha of a decoded frame, (H, W) uint8; None where it has none."""
    if not any(component.is_alpha for component in frame.format.components):
        return None
    rgba = reformatter.reformat(frame, format="rgba", threads=1).to_ndarray()
    return np.ascontiguousarray(rgba[..., 3])


def set_alpha(
    frame: av.VideoFrame, alpha: npt.NDArray[np.uint8], reformatter: VideoReformatter
) -> None:
    """Give a frame alpha, scaled to it bicubically, or by areas where it becomes smaller.

    Args:
        frame: Of a planar format with alpha, such as `yuva420p`; changed in place.
        alpha: (h, w) uint8 of any size, C-contiguous.
        reformatter: Reused between frames.
    """
    smaller = frame.width * frame.height < alpha.size
    scaled = reformatter.reformat(
        av.VideoFrame.from_ndarray(alpha, format="gray"),
        width=frame.width,
        height=frame.height,
        interpolation=REDUCE if smaller else EXACT,
        threads=1,
    ).to_ndarray()
    most = (1 << frame.format.components[3].bits) - 1
    levels = scaled if most == 255 else (scaled.astype(np.uint32) * most + 127) // 255
    _fill(frame.planes[3], levels)


def set_gray(frame: av.VideoFrame) -> None:
    """Take all colour out of a YCbCr frame."""
    for plane, component in zip(frame.planes[1:3], frame.format.components[1:3], strict=False):
        neutral = np.full((plane.height, plane.width), 1 << (component.bits - 1))
        if len(frame.planes) == 2:  # both in one, as in NV12
            neutral = neutral.repeat(2, 1)
        if frame.format.name.startswith("p0"):
            neutral <<= 16 - component.bits
        _fill(plane, neutral)


def _fill(plane: av.video.plane.VideoPlane, levels: npt.NDArray[Any]) -> None:
    kind = np.uint8 if plane.line_size < 2 * levels.shape[1] else np.uint16
    rows = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
    rows[:, : levels.shape[1]] = levels
    plane.update(rows.tobytes())


def frame_from_rgb(
    rgb: npt.NDArray[np.uint8],
    colours: Colours,
    pixel_format: str,
    reformatter: VideoReformatter,
    *,
    size: tuple[int, int] | None = None,
) -> av.VideoFrame:
    """Convert RGB to a frame an encoder takes.

    Subsampled chroma lies left, midway between its two lines, as H.264, HEVC and MPEG have it where
    nothing is said; in the formats of JPEG (`yuvj…`) in the middle of its pixels.

    Args:
        rgb: (H, W, 3) uint8 or uint16 (see `arrays.Frame`), C-contiguous; not copied, so it must
            not change before this returns.
        colours: Matrix, range and tags of the result.
        pixel_format: FFmpeg pixel format, such as `yuv420p`.
        reformatter: Reused between frames.
        size: Width and height to scale to, in the same pass: by areas where it is smaller, else
            bicubic; None keeps the picture's.

    Returns:
        A frame with all four colour tags set; its PTS is not.
    """
    kind = "rgb24" if rgb.dtype == np.uint8 else "rgb48le"
    source = av.VideoFrame.from_numpy_buffer(rgb, format=kind)
    if not pixel_format.startswith("yuvj"):
        source = tag_left(source)
    matrix = SWS_MATRIX[colours.matrix]
    width, height = size or (source.width, source.height)
    reduced = width * height < source.width * source.height
    frame = reformatter.reformat(
        source,
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=RANGE_FULL,
        dst_color_range=RANGE_FULL if colours.full_range else RANGE_LIMITED,
        interpolation=REDUCE if reduced else EXACT,
        threads=1,
    )
    return tagged(frame, colours)


def tagged(frame: av.VideoFrame, colours: Colours) -> av.VideoFrame:
    """Say in a frame's tags how its numbers mean colours; returns it."""
    frame.colorspace = colours.matrix
    frame.color_range = RANGE_FULL if colours.full_range else RANGE_LIMITED
    frame.color_primaries = colours.primaries
    frame.color_trc = colours.transfer
    return frame


_taggers = threading.local()  # filter graphs belong to one thread each


def tag_left(source: av.VideoFrame) -> av.VideoFrame:
    """The same pixels, tagged as left: swscale puts the chroma of the result where its input says.

    PyAV has no way to set a frame's chroma location but FFmpeg's filter `setparams`.
    """
    size = (source.width, source.height, source.format.name)
    graph = getattr(_taggers, "graph", None)
    if graph is None or _taggers.size != size:
        graph = av.filter.Graph()
        # A graph with threads cannot be freed in a forked process, which has none of them: it would
        # wait for them forever (the training's workers are forked).
        graph.threads = 1
        buffer = graph.add_buffer(
            width=source.width,
            height=source.height,
            format=source.format,
            time_base=Fraction(1, 25),
        )
        graph.link_nodes(
            buffer, graph.add("setparams", "chroma_location=left"), graph.add("buffersink")
        ).configure()
        _taggers.graph, _taggers.size = graph, size
    graph.push(source)
    tagged = cast("av.VideoFrame", graph.pull())
    tagged.time_base = Fraction(0)  # the graph's own would rescale the caller's PTS
    return tagged
