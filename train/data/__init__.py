"""Training data: folders of videos and images in, batches of low- and high-resolution clips out.

    pairs = ClipPairs([clips], [images], DataOptions(), PRESETS["camera"], seed=0, report=print)
    for batch in PairLoader(pairs, batch=8, workers=2):
        ...

Parts: `options` what clips are like, `sources` files and clips from them (`decode`),
`pairs` samples, `order` their order, `loader` batches, `workers` what becomes of them,
`lines` what they have to say.
"""

from .loader import PairBatch, PairLoader, Pairs, SharedPairs
from .options import DataOptions
from .pairs import ClipPair, ClipPairs
from .workers import worker_failure

__all__ = [
    "ClipPair",
    "ClipPairs",
    "DataOptions",
    "PairBatch",
    "PairLoader",
    "Pairs",
    "SharedPairs",
    "worker_failure",
]
