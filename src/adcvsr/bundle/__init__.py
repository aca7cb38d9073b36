"""Bundles: a network for devices, its graphs, its manifest, and the proof that they are whole.

Names are resolved on first use (PEP 562): a command's help needs the manifest's words alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bundle import PACKAGED, Bundle
    from .catalogue import BadBundle, describe, find_bundles, list_bundles, open_bundle

__all__ = [
    "PACKAGED",
    "BadBundle",
    "Bundle",
    "describe",
    "find_bundles",
    "list_bundles",
    "open_bundle",
]


def __getattr__(name: str) -> object:
    """Import a name on first use."""
    if name not in __all__:
        raise AttributeError(f"module 'adcvsr.bundle' has no attribute '{name}'")
    module = ".bundle" if name in ("PACKAGED", "Bundle") else ".catalogue"
    return getattr(importlib.import_module(module, __name__), name)
