"""Training data: folders of videos and images in, batches of low- and high-resolution clips out.

    pairs = ClipPairs([clips], [images], DataOptions(), PRESETS["camera"], seed=0, report=print)
    for batch in PairLoader(pairs, batch=8, workers=2):
        ...

Parts: `data_options` what clips are like, `data_sources` files and clips from them (`data_decode`,
`data_cuts`), `data_pairs` samples, `data_order` their order, `data_loader` batches.
"""

from .data_loader import PairBatch, PairLoader, Pairs, SharedPairs
from .data_options import DataOptions
from .data_pairs import ClipPair, ClipPairs

__all__ = [
    "ClipPair",
    "ClipPairs",
    "DataOptions",
    "PairBatch",
    "PairLoader",
    "Pairs",
    "SharedPairs",
]
