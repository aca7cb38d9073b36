"""AdcVSR on the edge: one-step x4 video super-resolution, from training to a live stream.

    import adcvsr
    with adcvsr.Upscaler("nano") as upscaler:
        big = upscaler(frame)  # uint8 (H, W, 3) -> uint8 (4H, 4W, 3), state carried between calls

Importing this package loads nothing heavy; names are resolved on first use (PEP 562).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from .version import __version__

# ONNX Runtime from 1.29 on sends its maker what is run, on Linux too, and keeps a number of this
# machine for it, unless this is set before it is loaded. What the user set stays.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

if TYPE_CHECKING:
    from .bundle import Bundle, list_bundles, open_bundle
    from .bundle.schema import Variant
    from .config import PRESETS, AdcVsrConfig
    from .errors import (
        AdcVsrError,
        BackendError,
        BundleError,
        InputError,
        OutputError,
        ParityError,
        SettingsError,
        TrainingError,
    )
    from .graph.yuv_ends import YuvEnds
    from .pictures.colour import Colours
    from .pictures.output_size import OutputSize
    from .pictures.yuv_picture import YuvPicture
    from .runtime.live.frame_loop import FrameSink, FrameSource, open_sink, open_source
    from .runtime.live.live_report import LiveOptions, LiveReport
    from .runtime.live.live_run import LiveRun
    from .runtime.live.sink import VideoSink
    from .runtime.sessions.layer_profile import Profile
    from .runtime.sessions.session import Session
    from .runtime.threads.frame_queue import Policy
    from .runtime.trace import Trace
    from .runtime.upscale_report import UpscaleReport
    from .runtime.upscaler import Upscaler
    from .runtime.video.encoders import EncodeOptions
    from .runtime.video.hardware_decode import Decoder
    from .runtime.video.info import VideoInfo
    from .runtime.video.read_options import ReadOptions
    from .runtime.video.sound import AudioMode
    from .variants import VariantName

_MODULES = {
    ".bundle": ("Bundle", "list_bundles", "open_bundle"),
    ".bundle.schema": ("Variant",),
    ".config": ("PRESETS", "AdcVsrConfig"),
    ".errors": (
        "AdcVsrError",
        "BackendError",
        "BundleError",
        "InputError",
        "OutputError",
        "ParityError",
        "SettingsError",
        "TrainingError",
    ),
    ".graph.yuv_ends": ("YuvEnds",),
    ".pictures.output_size": ("OutputSize",),
    ".pictures.yuv_picture": ("YuvPicture",),
    ".runtime.live.frame_loop": ("FrameSink", "FrameSource", "open_sink", "open_source"),
    ".runtime.live.live_report": ("LiveOptions", "LiveReport"),
    ".runtime.live.live_run": ("LiveRun",),
    ".pictures.colour": ("Colours",),
    ".runtime.threads.frame_queue": ("Policy",),
    ".runtime.live.sink": ("VideoSink",),
    ".runtime.video.hardware_decode": ("Decoder",),
    ".runtime.video.info": ("VideoInfo",),
    ".runtime.video.sound": ("AudioMode",),
    ".variants": ("VariantName",),
    ".runtime.sessions.layer_profile": ("Profile",),
    ".runtime.sessions.session": ("Session",),
    ".runtime.trace": ("Trace",),
    ".runtime.upscale_report": ("UpscaleReport",),
    ".runtime.upscaler": ("Upscaler",),
    ".runtime.video.encoders": ("EncodeOptions",),
    ".runtime.video.read_options": ("ReadOptions",),
}
_EXPORTS = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "PRESETS",
    "AdcVsrConfig",
    "AdcVsrError",
    "AudioMode",
    "BackendError",
    "Bundle",
    "BundleError",
    "Colours",
    "Decoder",
    "EncodeOptions",
    "FrameSink",
    "FrameSource",
    "InputError",
    "LiveOptions",
    "LiveReport",
    "LiveRun",
    "OutputError",
    "OutputSize",
    "ParityError",
    "Policy",
    "Profile",
    "ReadOptions",
    "Session",
    "SettingsError",
    "Trace",
    "TrainingError",
    "UpscaleReport",
    "Upscaler",
    "Variant",
    "VariantName",
    "VideoInfo",
    "VideoSink",
    "YuvEnds",
    "YuvPicture",
    "__version__",
    "list_bundles",
    "open_bundle",
    "open_sink",
    "open_source",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'adcvsr' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name], __name__), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
