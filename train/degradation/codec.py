"""Real video codecs: a clip is encoded and decoded again in memory by PyAV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, cast

import av
import numpy as np
import torch
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter
from torch import Tensor

from ...arrays import Levels
from ...errors import ConfigError
from ...pictures.colour import CHROMA_LEFT, MATRIX_BT601, Colours, frame_from_rgb, rgb_from_frame
from .draw import Range, check_range, check_share, check_weights, draw_kind
from .resize import resize_planes

if TYPE_CHECKING:
    from av.video.stream import VideoStream

    Packets = list[av.Packet[VideoStream]]


PUBLISHED_TRUTH_PX = 256
"""Side of the crops RealBasicVSR degrades; its bit rates are for those."""

QUALITY_RATE_FPS = 30
"""Frames a second while encoding at constant quality: what cameras record."""

LEAST_BIT_RATE = 1000
"""Bits a second; libx264 counts in thousands and refuses none."""

LEAST_SIDE_PX = 64
"""Smaller clips are padded while in the codec: libx265 takes no less than a coding tree block."""


@dataclass(frozen=True)
class Encoder:
    """How one of PyAV's encoders is set to constant quality."""

    quality: Literal["crf", "qscale"]
    options: Mapping[str, str] = field(default_factory=dict)
    pixel_format: str = "yuv420p"

    @property
    def full_range(self) -> bool:
        """Whether the format uses all of 0 to 255, as Motion JPEG does."""
        return self.pixel_format.startswith("yuvj")


ENCODERS = {
    # Hardware encoders search about as little as these presets. One thread each: the loader's
    # workers share the processors, and x264's result depends on its number of threads.
    # cpu-independent: the same bits whichever instructions a processor has.
    "libx264": Encoder(
        "crf",
        {
            "preset": "veryfast",
            "x264-params": "threads=1:lookahead-threads=1:sync-lookahead=0:cpu-independent=1",
        },
    ),
    "libx265": Encoder(
        "crf",
        {"preset": "ultrafast", "x265-params": "log-level=error:pools=none:frame-threads=1"},
    ),
    "libvpx-vp9": Encoder("crf", {"deadline": "realtime", "cpu-used": "8", "b": "0"}),
    # VP8 in real time chooses its effort by the clock, unless it is fixed by a negative number.
    "libvpx": Encoder("crf", {"deadline": "realtime", "cpu-used": "-8", "b": "1M"}),
    "mpeg4": Encoder("qscale"),
    "mpeg2video": Encoder("qscale"),
    "mjpeg": Encoder("qscale", pixel_format="yuvj422p"),
}
"""PyAV's encoders by FFmpeg's names; `mjpeg` with the 4:2:2 chroma of USB cameras."""


@dataclass(frozen=True, kw_only=True)
class VideoCodec:
    """How a clip is compressed as video; the defaults are RealBasicVSR's."""

    share: float = 1.0
    """Share of clips that are compressed."""

    encoders: Mapping[str, float] = field(default_factory=lambda: {"libx264": 2.0, "mpeg4": 1.0})
    """Weight of each of `ENCODERS`. RealBasicVSR draws libx264, h264 and mpeg4 alike; h264 is the
    name by which FFmpeg finds libx264."""

    rate: Literal["bit_rate", "quality"] = "bit_rate"
    """Whether `bit_rate` governs, as published, or constant quality (`crf`, `qscale`)."""

    bit_rate: Range = (1e4, 1e5)
    """Bits a frame of a clip whose truth has 256x256 pixels, in proportion to its area elsewhere.
    RealBasicVSR: 1e4 to 1e5 bits a second at one frame a second."""

    crf: Range = (18.0, 34.0)
    """Constant rate factor of libx264, libx265 (0 to 51) and libvpx (0 to 63); higher is worse."""

    qscale: Range = (2.0, 9.0)
    """Quantiser of mpeg4, mpeg2video and mjpeg, 1 to 31; higher is worse."""

    lead_in_frames: tuple[int, int] = (0, 0)
    """Frames encoded before the clip (its own, mirrored in time) and left out again, so that it
    begins anywhere between two keyframes; published: none, every clip begins with a keyframe."""

    gop_frames: tuple[int, int] = (250, 250)
    """Frames from one keyframe to the next; 250 is libx264's own."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("codec.share", self.share)
        check_weights("codec.encoders", self.encoders, tuple(ENCODERS))
        check_range("codec.bit_rate", self.bit_rate, 1)
        check_range("codec.crf", self.crf, 0, 51)
        check_range("codec.qscale", self.qscale, 1, 31)
        check_range("codec.lead_in_frames", self.lead_in_frames)
        check_range("codec.gop_frames", self.gop_frames, 1)
        if self.rate not in ("bit_rate", "quality"):
            raise ConfigError(f"codec.rate='{self.rate}', expected 'bit_rate' or 'quality'")


def check_encoders(codec: VideoCodec) -> None:
    """Check that this build of PyAV has every encoder that may be drawn.

    Raises:
        ConfigError: One is missing.
    """
    for name, weight in codec.encoders.items():
        if weight and name not in av.codecs_available:
            raise ConfigError(
                f"this PyAV has no encoder '{name}'; leave it out of [degradation.codec.encoders], "
                f"or install a PyAV that has it (the wheels on the package index do)"
            )


def compress_frames(
    frames: list[Tensor], codec: VideoCodec, rng: np.random.Generator, *, truth_px: int
) -> list[Tensor]:
    """Encode a clip with a drawn codec and decode it again.

    Args:
        frames: T planes (3, H, W) float32 RGB in levels of 255; where their sizes drifted apart all
            take the first one's.
        codec: The ranges.
        rng: Decides everything drawn.
        truth_px: Pixels of a frame of the clip's truth, which scales the bit rate.

    Returns:
        T planes of one size, whole levels.
    """
    if rng.random() >= codec.share:
        return frames
    name = draw_kind(rng, codec.encoders)
    quality = codec.crf if ENCODERS[name].quality == "crf" else codec.qscale
    level = round(rng.uniform(*quality))
    bits = rng.uniform(*codec.bit_rate) * truth_px / PUBLISHED_TRUTH_PX**2
    lead_in = int(rng.integers(codec.lead_in_frames[0], codec.lead_in_frames[1] + 1))
    gop = int(rng.integers(codec.gop_frames[0], codec.gop_frames[1] + 1))
    size = (frames[0].shape[-2], frames[0].shape[-1])
    clip = levels_from_planes([resize_planes(frame, size, "bicubic") for frame in frames])
    mirrored = [_mirror(index, len(clip)) for index in range(-lead_in, len(clip))]
    decoded = recode(
        clip[mirrored],
        name,
        level=level if codec.rate == "quality" else None,
        bits_per_frame=bits if codec.rate == "bit_rate" else None,
        gop=gop,
    )
    return planes_from_levels(decoded[lead_in:])


def recode(
    clip: Levels,
    name: str,
    *,
    level: int | None = None,
    bits_per_frame: float | None = None,
    gop: int = 250,
) -> Levels:
    """Encode and decode a clip.

    Args:
        clip: (T, H, W, 3) uint8 RGB, any size.
        name: One of `ENCODERS`.
        level: Its constant quality, crf or qscale; or else
        bits_per_frame: its mean rate.
        gop: Frames from one keyframe to the next.

    Returns:
        (T, H, W, 3) uint8 RGB.
    """
    height, width = clip.shape[1:3]
    padded = _pad(clip)
    encoder = ENCODERS[name]
    context = cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.height, context.width = padded.shape[1:3]
    context.pix_fmt = encoder.pixel_format
    # At one frame a second, as published, rate control answers within a few frames.
    context.framerate = Fraction(1 if level is None else QUALITY_RATE_FPS)
    context.time_base = 1 / context.framerate
    context.thread_count = 1
    context.options = {**encoder.options, "g": str(gop), **_quality(encoder, level)}
    if bits_per_frame is not None:
        context.options.pop("b", None)
        context.bit_rate = max(int(bits_per_frame), LEAST_BIT_RATE)
        # FFmpeg's default of 4 Mbit lets mpeg4 ignore the rate for the length of such a clip.
        context.bit_rate_tolerance = context.bit_rate
    decoded = _decode(context, _encode(context, padded, encoder), encoder)
    if len(decoded) != len(clip):
        raise RuntimeError(f"{name} gave {len(decoded)} frames of {len(clip)}")
    return np.stack(decoded)[:, :height, :width]


def levels_from_planes(frames: list[Tensor]) -> Levels:
    """Bring T planes (3, H, W) of one size to (T, H, W, 3) uint8, rounded."""
    stacked = torch.stack([frame.add(0.5).clamp_(0, 255).byte() for frame in frames])
    return stacked.permute(0, 2, 3, 1).contiguous().numpy()


def planes_from_levels(clip: Levels) -> list[Tensor]:
    """Bring (T, H, W, 3) uint8 to T planes (3, H, W) float32."""
    return list(torch.from_numpy(clip).permute(0, 3, 1, 2).contiguous().float())


def _encode(context: VideoCodecContext, clip: Levels, encoder: Encoder) -> Packets:
    colours = Colours(matrix=MATRIX_BT601, full_range=encoder.full_range)
    context.colorspace, context.color_range = colours.matrix, 1 + colours.full_range
    reformatter, packets = VideoReformatter(), []
    for index, image in enumerate(clip):
        frame = frame_from_rgb(
            np.ascontiguousarray(image), colours, encoder.pixel_format, reformatter
        )
        frame.pts = index
        packets += context.encode(frame)
    return [*packets, *context.encode(None)]


def _decode(encoded: VideoCodecContext, packets: Packets, encoder: Encoder) -> list[Levels]:
    context = cast("VideoCodecContext", av.CodecContext.create(encoded.codec.canonical_name, "r"))
    context.extradata, context.thread_count = encoded.extradata, 1
    context.options = dict(CHROMA_LEFT)
    reformatter, images = VideoReformatter(), []
    for packet in [*packets, None]:
        for frame in context.decode(packet):
            # Not every codec carries tags, and an untagged tall frame would pass for BT.709.
            frame.colorspace, frame.color_range = MATRIX_BT601, 1 + encoder.full_range
            images.append(rgb_from_frame(frame, reformatter))
    return images


def _quality(encoder: Encoder, level: int | None) -> dict[str, str]:
    if level is None:
        return {}
    if encoder.quality == "crf":
        return {"crf": str(level)}
    return {"qmin": str(level), "qmax": str(level)}


def _pad(clip: Levels) -> Levels:
    """Pad right and bottom by replication to even sizes of at least `LEAST_SIDE_PX`."""
    grow = [(0, max(extent % 2, LEAST_SIDE_PX - extent)) for extent in clip.shape[1:3]]
    return np.pad(clip, [(0, 0), *grow, (0, 0)], mode="edge") if any(map(any, grow)) else clip


def _mirror(index: int, length: int) -> int:
    """Fold an index before the clip back into it: ... 2 1 [0 1 2 ...]."""
    period = max(2 * (length - 1), 1)
    index %= period
    return min(index, period - index) if length > 1 else 0
