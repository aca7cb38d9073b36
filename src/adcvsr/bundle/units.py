"""The units of a variant's channels, where they are others than the FP32 graph's.

`adcvsr quantize` scales the channels of tensors, or mixes them, and undoes it in the next weights
(docs/quantization.md); it says so in a file of the bundle.

    declared_units(bundle, "int8-ort")["conv2d"]  # factors (C,), or a matrix (C, C)
"""

from __future__ import annotations

import numpy as np

from ..arrays import Floats
from ..errors import BundleError
from ..reading import PROFILE, Item, parse_json
from .bundle import Bundle


def declared_units(bundle: Bundle, variant: str) -> dict[str, Floats]:
    """Factors (C,) and matrices (C, C) by tensor that the bundle says of a variant; else none.

    They give the variant's channels from those of the FP32 graph.

    Raises:
        BundleError: The file that says so is damaged.
    """
    entry = bundle.manifest["variants"][variant].get("units")
    if not entry:
        return {}
    source = f"'{bundle.path}': '{entry['file']}'"
    data = bundle.read(entry["file"])
    groups = parse_json(data, source=source, error=BundleError, limits=PROFILE)
    return {
        name.text(): _group_values(group)
        for group in groups.items()
        for name in group["tensors"].items()
    }


def _group_values(group: Item) -> Floats:
    """A group's factors (C,) or matrix (C, C)."""
    factors = group.get("factors")
    if factors is not None:
        return np.asarray([each.number() for each in factors.items(least=1)], np.float32)
    rows = group["matrix"].items(least=1)
    return np.asarray(
        [[e.number() for e in row.items(least=len(rows), most=len(rows))] for row in rows],
        np.float32,
    )
