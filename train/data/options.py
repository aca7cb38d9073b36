"""What training clips are cut from the data folders: sizes, lengths, shares and memory."""

from __future__ import annotations

from dataclasses import dataclass

from ...config import SCALE
from ...errors import ConfigError

CROP_MULTIPLE = 8
"""High-resolution sizes are cut to this: x1/4 stays even, as H.264's 4:2:0 needs."""

BYTES_A_PIXEL = 3 * (1 + 1 / SCALE**2)
"""RGB of the truth and of its low-resolution twin."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How training clips are made of videos and images.

    A *degraded clip* is a stretch of a video (or a pan over an image) with one draw of the
    degradation; `crops_per_clip` samples of an epoch are cut from each. Decoding and degrading
    whole frames once for many crops is what keeps the loader ahead of a small network.
    """

    frames: int = 6
    """T, frames of every training clip; 25 in the paper."""

    patch_px: int = 48
    """Side of the low-resolution crops; 128 in the paper. Smaller sources are skipped."""

    strides: tuple[int, ...] = (1,)
    """Steps between the frames taken of a video, one drawn a clip: 2 shows twice the motion. Where
    a video is too short for the one drawn, the smallest is taken."""

    segments_per_clip: int = 12
    """Degraded clips an epoch takes from every video, spread over its length."""

    crops_per_clip: int = 64
    """Samples an epoch cuts from every degraded clip; 1 for a large network, whose step leaves time
    to decode and degrade for each sample."""

    clips_at_once: int = 64
    """Degraded clips held in memory, whose crops are mixed: more mix better and cost memory. Best a
    multiple of batch x processes, and of the workers; see docs/training-data.md."""

    image_share: float = 0.5
    """Share of samples from images where there are videos too, in [0, 1): they show more detail a
    pixel than video frames."""

    max_side_px: int = 960
    """Videos with a longer side are reduced to it: removes camera and codec blur from the truth.
    Images with a longer side are cut to it."""

    window_px: int = 0
    """Side of the part of a frame that is degraded (a multiple of 8); 0 for the whole frame, which
    the compression sees as in a real camera. Smaller costs less time and memory a degraded clip."""

    image_scale: tuple[float, float] = (0.6, 1.0)
    """Range of the random reduction of each image, for variety of scale."""

    pan_px: int = 6
    """Largest shift a frame of the pan that makes a clip of an image, high-resolution pixels; 0
    leaves every image static, as in the paper."""

    still_share: float = 0.15
    """Share of image clips that do not move at all."""

    sharpen: float = 0.0
    """Weight of the unsharp mask (sigma 8, threshold 10) on the truth; RealBasicVSR: 0.5."""

    cut_threshold: float = 0.25
    """Score from which two frames belong to different scenes (`scene_cuts`); 0.25 lies
    between the largest of steady scenes (0.19) and the smallest of cuts (0.30) in the clips it was
    set on."""

    keep_decoded: bool = False
    """Place the segments once instead of anew every epoch, and keep their frames, and the images,
    decoded: faster for small sets, less varied. What exceeds `memory_gib` is decoded again."""

    memory_gib: float = 4.0
    """Most memory that degraded clips and sources kept decoded may take, all workers together."""

    @property
    def reach_px(self) -> int:
        """Largest way of a pan over the whole clip, high-resolution pixels."""
        return self.pan_px * (self.frames - 1)

    @property
    def least_px(self) -> int:
        """Smallest usable side of a frame: a crop's, up to a size that is degraded."""
        return -(-SCALE * self.patch_px // CROP_MULTIPLE) * CROP_MULTIPLE

    @property
    def side_px(self) -> int:
        """Longest side of what is degraded at once."""
        return self.window_px or self.max_side_px

    @property
    def lanes(self) -> int:
        """Degraded clips in use at a time; one where each is used once."""
        return self.clips_at_once if self.crops_per_clip > 1 else 1

    @property
    def held_bytes(self) -> int:
        """Most memory the degraded clips take: square frames of the longest side."""
        return int(self.lanes * self.frames * self.side_px**2 * BYTES_A_PIXEL)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense, or the degraded clips would not fit the memory.
        """
        for name in ("frames", "patch_px", "segments_per_clip", "crops_per_clip", "clips_at_once"):
            _check(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        _check(
            bool(self.strides) and min(self.strides, default=0) >= 1,
            "strides",
            list(self.strides),
            "numbers of 1 or more",
        )
        _check(0 <= self.image_share < 1, "image_share", self.image_share, "a share below 1")
        _check(0 <= self.still_share <= 1, "still_share", self.still_share, "a share in [0, 1]")
        low, high = self.image_scale
        _check(0 < low <= high <= 1, "image_scale", [low, high], "0 < low <= high <= 1")
        for name in ("pan_px", "sharpen", "cut_threshold", "memory_gib"):
            _check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more")
        least = self.least_px
        _check(
            self.window_px == 0 or self.window_px >= least,
            "window_px",
            self.window_px,
            f"0 or at least {least}, four times patch_px",
        )
        _check(self.window_px % CROP_MULTIPLE == 0, "window_px", self.window_px, "a multiple of 8")
        _check(self.max_side_px >= least, "max_side_px", self.max_side_px, f"at least {least}")
        if self.held_bytes > self.memory_gib * 2**30:
            raise ConfigError(
                f"clips_at_once={self.clips_at_once} clips of {self.frames} frames of "
                f"{self.side_px} pixels take up to {self.held_bytes / 2**30:.1f} GiB, more than "
                f"memory_gib={self.memory_gib:g}; lower clips_at_once or window_px, or raise it"
            )


def _check(fine: bool, name: str, value: object, expected: str) -> None:
    if not fine:
        raise ConfigError(f"{name}={value}, expected {expected}")
