"""From high-resolution clips to what a camera or a website would have given.

    low = degrade(clip, PRESETS["camera"], rng)

`stages` holds the values of a degradation and `chain` runs them in order; each stage is a file of
its own (`blur`, `resize`, `noise`, `jpeg`, `sensor`, `film`, `upload`, `codec`), the named
degradations lie in `presets`.
"""

from .chain import degrade, reduce_clip, tone_truth
from .presets import PRESETS, read_degradation
from .stages import Degradation, Round

__all__ = [
    "PRESETS",
    "Degradation",
    "Round",
    "degrade",
    "read_degradation",
    "reduce_clip",
    "tone_truth",
]
