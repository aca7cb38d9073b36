"""What a video goes through before it is found on the web: fields woven, made small, made again.

A clip that was uploaded, fetched and uploaded again has been compressed twice, once at another
size; one that came from television still shows the lines of two moments in one frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .codec import VideoCodec, compress_frames
from .draw import Range, check_range, check_share, check_weights, draw_kind
from .resize import FILTERS, LEAST_SIDE_PX, resize_planes

INTERLACE_KINDS = ("weave", "blend", "bob")


@dataclass(frozen=True, kw_only=True)
class Interlace:
    """Remains of interlacing, at the resolution of the input."""

    share: float = 1.0
    """Share of clips that have them."""

    kinds: Mapping[str, float] = field(
        default_factory=lambda: {"weave": 0.4, "blend": 0.3, "bob": 0.3}
    )
    """`weave`: every other line is the frame before; `blend`: two frames mixed; `bob`: one field's
    lines, the others between them."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("interlace.share", self.share)
        check_weights("interlace.kinds", self.kinds, INTERLACE_KINDS)


@dataclass(frozen=True, kw_only=True)
class Upload:
    """An earlier compression of the same clip, at a smaller size."""

    share: float = 1.0
    """Share of clips that went through it."""

    scale: Range = (0.5, 1.0)
    """Its size, in sizes of the input."""

    down: Mapping[str, float] = field(default_factory=lambda: {"area": 1.0, "antialiased": 1.0})
    """Weight of each of `FILTERS` on the way down."""

    up: Mapping[str, float] = field(default_factory=lambda: {"bilinear": 1.0, "bicubic": 1.0})
    """Weight of each on the way back."""

    codec: VideoCodec = field(default_factory=VideoCodec)
    """Its compression."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("upload.share", self.share)
        check_range("upload.scale", self.scale, 0.05, 1)
        check_weights("upload.down", self.down, FILTERS)
        check_weights("upload.up", self.up, FILTERS)


def interlace_frames(
    frames: list[Tensor], interlace: Interlace, rng: np.random.Generator
) -> list[Tensor]:
    """Leave remains of interlacing in a clip, or none.

    The first frame has no frame before it and takes the one after.

    Args:
        frames: T planes (3, H, W) float32.
        interlace: The shares.
        rng: Decides everything drawn.

    Returns:
        T planes of the same sizes.
    """
    if rng.random() >= interlace.share:
        return frames
    kind, field_line = draw_kind(rng, interlace.kinds), int(rng.integers(0, 2))
    others = [frames[min(1, len(frames) - 1)], *frames[:-1]]
    if kind == "blend":
        return [(frame + other) / 2 for frame, other in zip(frames, others, strict=True)]
    if kind == "bob":
        return [_bob(frame, field_line) for frame in frames]
    woven = []
    for frame, other in zip(frames, others, strict=True):
        rows = frame.clone()
        rows[:, field_line::2] = other[:, field_line::2]
        woven.append(rows)
    return woven


def upload_frames(
    frames: list[Tensor], upload: Upload, rng: np.random.Generator, *, truth_px: int
) -> list[Tensor]:
    """Pass a clip through an earlier compression.

    Args:
        frames: T planes (3, H, W) float32 in levels of 255, of one size.
        upload: The ranges.
        rng: Decides everything drawn.
        truth_px: Pixels of a frame of the clip's truth, see `compress_frames`.

    Returns:
        T planes of the same size.
    """
    if rng.random() >= upload.share:
        return frames
    scale = rng.uniform(*upload.scale)
    down, up = draw_kind(rng, upload.down), draw_kind(rng, upload.up)
    size = (frames[0].shape[-2], frames[0].shape[-1])
    small = tuple(max(round(extent * scale), LEAST_SIDE_PX) for extent in size)
    reduced = [resize_planes(frame, (small[0], small[1]), down) for frame in frames]
    coded = compress_frames(reduced, upload.codec, rng, truth_px=round(truth_px * scale**2))
    return [resize_planes(frame, size, up) for frame in coded]


def _bob(frame: Tensor, line: int) -> Tensor:
    """Every other line, from `line` on, is put between its neighbours."""
    above = torch.roll(frame, 1, 1)
    below = torch.roll(frame, -1, 1)
    above[:, 0], below[:, -1] = below[:, 0], above[:, -1]
    between = (above + below) / 2
    out = frame.clone()
    out[:, line::2] = between[:, line::2]
    return out
