"""Bundles: a network for devices, its graphs, its manifest, and the proof that they are whole."""

from .bundle import (
    PACKAGED,
    BadBundle,
    Bundle,
    describe,
    find_bundles,
    list_bundles,
    open_bundle,
)

__all__ = [
    "PACKAGED",
    "BadBundle",
    "Bundle",
    "describe",
    "find_bundles",
    "list_bundles",
    "open_bundle",
]
