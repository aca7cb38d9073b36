"""Pictures of the page: worst frames and crops, difference maps, temporal slices.

Crops are PNG, every pixel as it is; whole frames and slices are JPEG, to be looked at.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

from ...arrays import Levels
from ...metrics import limit_size
from ..evaluate.strip import CROP_PX, worst_crop
from .quality import ClipQuality

MOST_SIDE_PX = 640
"""Of whole frames on the page; larger ones are reduced."""

DIFFERENCE_GAIN = 16
"""Levels of the map for each level of difference; grey is none."""

JPEG_QUALITY = 4
"""FFmpeg's qscale: 2 is best."""


@dataclass(frozen=True)
class ClipPictures:
    """What the page shows of one clip and one variant, as data URIs."""

    frame: int
    top_left: tuple[int, int]
    """Of the crop, x and y in output pixels."""

    crops: dict[str, str]
    """Reference, variant, input, and truth where it is known; CROP_PX square or smaller."""

    frames: dict[str, str]
    """Reference and variant, whole."""

    difference: str
    slices: dict[str, str]
    """Reference, variant and their difference: one row over time, downwards."""

    slice_y: int
    """Which row."""

    @property
    def bytes(self) -> int:
        """Of all of them."""
        texts = [*self.crops.values(), *self.frames.values(), *self.slices.values()]
        return sum(map(len, texts)) + len(self.difference)


def draw_pictures(clip: ClipQuality, reference: str, variant: str) -> ClipPictures:
    """Make the pictures of the worst frame of a variant."""
    worst = clip.worst[variant]
    exact, own = worst.pictures[reference], worst.pictures[variant]
    _, top, left = worst_crop(own, exact)
    low = worst.pictures["input"]
    scale = len(exact) // len(low)
    enlarged = low.repeat(scale, axis=0).repeat(scale, axis=1)
    shown = {"input": enlarged, reference: exact, variant: own}
    if "truth" in worst.pictures:
        shown["truth"] = worst.pictures["truth"]
    crops = {name: png_uri(_crop(image, top, left)) for name, image in shown.items()}
    slices, row = _slices(clip, reference, variant)
    return ClipPictures(
        frame=worst.frame,
        top_left=(left, top),
        crops=crops,
        frames={
            name: jpeg_uri(limit_size(image, MOST_SIDE_PX))
            for name, image in ((reference, exact), (variant, own))
        },
        difference=jpeg_uri(limit_size(difference_map(own, exact), MOST_SIDE_PX)),
        slices=slices,
        slice_y=row,
    )


def difference_map(output: Levels, reference: Levels) -> Levels:
    """Signed difference, `DIFFERENCE_GAIN` levels for each, around grey."""
    signed = (output.astype(np.int16) - reference) * DIFFERENCE_GAIN + 128
    shown: Levels = signed.clip(0, 255).astype(np.uint8)
    return shown


def png_uri(image: Levels) -> str:
    """A picture (H, W, 3) as a lossless data URI."""
    return _uri("png", "rgb24", np.ascontiguousarray(image), "image/png")


def jpeg_uri(image: Levels) -> str:
    """A picture (H, W, 3) as a data URI to look at."""
    return _uri("mjpeg", "yuvj444p", np.ascontiguousarray(image), "image/jpeg")


def _uri(encoder: str, pixels: str, image: Levels, kind: str) -> str:
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.height, context.width = image.shape[:2]
    context.pix_fmt, context.time_base = pixels, Fraction(1, 25)
    if encoder == "mjpeg":
        context.options = {"qmin": str(JPEG_QUALITY), "qmax": str(JPEG_QUALITY)}
        context.color_range = 2
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
        format=pixels, dst_color_range=2 if encoder == "mjpeg" else None
    )
    data = b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _crop(image: Levels, top: int, left: int) -> Levels:
    return image[top : top + CROP_PX, left : left + CROP_PX]


def _slices(clip: ClipQuality, reference: str, variant: str) -> tuple[dict[str, str], int]:
    """The row whose error moves most from frame to frame, one line a frame."""
    exact, own = (np.stack(clip.rows[name]) for name in (reference, variant))  # (T, R, W, 3)
    error = (own.astype(np.float32) - exact).mean(-1)
    row = int(np.square(np.diff(error, axis=0)).mean((0, 2)).argmax())
    lines = {reference: exact[:, row], variant: own[:, row]}
    lines["difference"] = difference_map(lines[variant], lines[reference])
    height = max(1, 128 // len(exact))
    uris = {
        name: jpeg_uri(limit_size(_taller(image, height), MOST_SIDE_PX))
        for name, image in lines.items()
    }
    return uris, row


def _taller(image: Levels, times: int) -> npt.NDArray[np.uint8]:
    return image.repeat(times, axis=0)
