"""From high-resolution clips to what a camera or a website would have given.

    low = degrade(clip, PRESETS["camera"], rng)

`chain` holds the order of the stages and their values; each stage is a file of its own (`blur`,
`resize`, `noise`, `jpeg`, `sensor`, `film`, `upload`, `codec`), the named degradations lie in
`presets`.
"""

from .chain import Degradation, Round, degrade, reduce_clip, tone_truth
from .presets import PRESETS, read_degradation

__all__ = [
    "PRESETS",
    "Degradation",
    "Round",
    "degrade",
    "read_degradation",
    "reduce_clip",
    "tone_truth",
]
