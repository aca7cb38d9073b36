"""AdcVSR on the edge: one-step x4 video super-resolution, from training to a live stream.

    import adcvsr
    with adcvsr.Upscaler("nano") as upscaler:
        big = upscaler(frame)  # uint8 (H, W, 3) -> uint8 (4H, 4W, 3), state carried between calls

Importing this package loads nothing heavy; names are resolved on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .version import __version__

if TYPE_CHECKING:
    from .bundle import Bundle, list_bundles, open_bundle
    from .config import PRESETS, AdcVsrConfig
    from .errors import AdcVsrError
    from .runtime.upscaler import Upscaler

_EXPORTS = {
    "PRESETS": ".config",
    "AdcVsrConfig": ".config",
    "AdcVsrError": ".errors",
    "Bundle": ".bundle",
    "Upscaler": ".runtime.upscaler",
    "list_bundles": ".bundle",
    "open_bundle": ".bundle",
}

__all__ = [
    "PRESETS",
    "AdcVsrConfig",
    "AdcVsrError",
    "Bundle",
    "Upscaler",
    "__version__",
    "list_bundles",
    "open_bundle",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'adcvsr' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name], __name__), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
