"""The layer lists of the engines in the cache, for predictions.

plan_bundle(bundle, target, source, compiled=compiled_graphs(EngineCache()))
"""

from __future__ import annotations

from ...plan.compiled import CompiledGraph
from .engine_cache import CacheEntry, EngineCache


def compiled_graphs(cache: EngineCache) -> list[CompiledGraph]:
    """Engines of stream networks and one size whose compiler listed its layers; others tell less.

    Args:
        cache: Where engines are.
    """
    found = (_compiled(entry) for entry in cache.entries())
    return [each for each in found if each is not None]


def _compiled(entry: CacheEntry) -> CompiledGraph | None:
    facts, identity = entry.facts, entry.identity
    try:
        layers = facts["layers"]
        width, height = (int(side) for side in facts["size"].split("x"))
        if facts["part"] != "stream" or identity["options"].get("dla") is not None:
            return None
        return CompiledGraph(
            key=entry.key,
            onnx=identity["onnx"],
            backend=identity["backend"],
            sms=tuple(identity["device"]["sms"]),
            width=width,
            height=height,
            bytes=float(layers["bytes"]),
            kernels=int(layers["kernels"]),
        )
    except (KeyError, TypeError, ValueError):
        return None  # a range of sizes, no list, or one of another version
