"""What a degradation is made of: its stages, in the order they run, and their values.

Degradation(reduction={"antialiased": 1.0})  # the field's clean bicubic reduction
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .blur import Blur
from .codec import VideoCodec
from .draw import check_share, check_weights
from .film import Grain, Tone
from .jpeg import Jpeg
from .noise import Noise
from .resize import FILTERS, Resize
from .sensor import Sensor, Sharpen
from .upload import Interlace, Upload

CLEAN_FILTER = "antialiased"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of blur, resize, noise and JPEG, each of which may be left out."""

    blur: Blur | None = None
    """Before everything else."""

    resize: Resize | None = None
    """Up or down, by a factor that drifts."""

    noise: Noise | None = None
    """New in every frame."""

    jpeg: Jpeg | None = None
    """Each frame by itself."""


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How low-resolution clips are made; stages that are None are left out, and all are by default.

    So `Degradation()` is the field's clean bicubic reduction.
    """

    clean_share: float = 0.0
    """Share of clips that only get the clean reduction, whatever else is set, in [0, 1]."""

    others: Mapping[str, float] = field(default_factory=dict)
    """Shares of clips that other named degradations make, together at most 1."""

    tone: Tone | None = None
    """Grey and dark clips, truth and input alike; a grey clip's input is grey until it is
    compressed."""

    first: Round | None = None
    """First round, at the truth's resolution."""

    second: Round | None = None
    """Second round, at the size the first one left."""

    reduction: Mapping[str, float] = field(default_factory=lambda: {CLEAN_FILTER: 1.0})
    """Weights of the filters that bring the clip to a quarter of its truth."""

    sinc: Blur | None = None
    """Filter after the reduction."""

    sensor: Sensor | None = None
    """A camera's noise, after the reduction."""

    grain: Grain | None = None
    """Film grain, after the sensor."""

    interlace: Interlace | None = None
    """Remains of interlacing, after the grain."""

    upload: Upload | None = None
    """An earlier compression at a smaller size, before the sharpening."""

    sharpen: Sharpen | None = None
    """A camera's (or website's) sharpening, the last stage before the codec."""

    codec: VideoCodec | None = None
    """Video compression."""

    codec_last_share: float = 1.0
    """Share of clips compressed after the reduction, as in a camera; the others before it, as when
    a video is made smaller. RealBasicVSR shuffles the two: 0.5."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: One makes no sense.
        """
        check_share("clean_share", self.clean_share)
        check_share("codec_last_share", self.codec_last_share)
        check_weights("reduction", self.reduction, FILTERS)
        for name, share in self.others.items():
            check_share(f"others.{name}", share)
        check_share("others, together", round(sum(self.others.values()), 9))
