"""`--preset auto`: the slowest preset of an encoder that keeps real time on this machine.

What presets cost is a table that `benchmarks/encoder_presets.py` made; how fast this machine is
beside that table's is measured in some tens of milliseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import Any

import av

from ...errors import ConfigError
from ...host.processors import usable_processors
from ...pictures.synthetic import draw_clip
from .encoders import EncodeOptions

AUTO = "auto"

PRESET_MS: dict[str, dict[str, float]] = {
    "libx264": {
        "ultrafast": 6.9,
        "superfast": 11.3,
        "veryfast": 23.2,
        "faster": 36.4,
        "fast": 48.9,
        "medium": 57.7,
        "slow": 76.1,
    },
    "libx265": {
        "ultrafast": 65.5,
        "superfast": 116.5,
        "veryfast": 127.0,
        "faster": 127.0,
        "fast": 152.0,
        "medium": 187.0,
    },
    "libsvtav1": {"11": 31.0, "10": 32.3, "9": 34.1, "8": 46.2, "7": 74.4, "6": 88.7},
}
"""CPU-ms for a megapixel by encoder and preset, fastest first, of a 720p film at crf 20, each run
scaled by `reference_ms` to the machine of `REFERENCE_MS`. Ten bits are a little more."""

REFERENCE_MS = 29.4
"""CPU-ms that `reference_ms` took on the machine of the table."""

SHARE = 0.5
"""Of the processors' time that an encoder may take: the network and all else take the rest."""

REFERENCE_FRAMES, REFERENCE_SIZE = 12, (640, 360)


def fit_preset(
    encoder: str,
    options: EncodeOptions,
    size: tuple[int, int],
    rate: Fraction,
    note: Callable[[str], None],
) -> EncodeOptions:
    """Put a preset in the place of `auto`; other options come back as they are.

    Args:
        encoder: Its name.
        options: Encoder choices.
        size: Width and height of the output, pixels.
        rate: Frames a second.
        note: Called with a line that says which and why.

    Raises:
        ConfigError: Nothing is known of the encoder's presets.
    """
    if options.preset != AUTO:
        return options
    costs = PRESET_MS.get(encoder)
    if costs is None:
        raise ConfigError(
            f"preset auto knows {', '.join(PRESET_MS)}; name one of '{encoder}', or leave it out"
        )
    megapixels, cores = size[0] * size[1] / 1e6, usable_processors()
    slower = reference_ms() / REFERENCE_MS
    budget = cores * SHARE * 1000 / float(rate)
    fitting = [name for name, ms in costs.items() if ms * megapixels * slower <= budget]
    chosen = fitting[-1] if fitting else next(iter(costs))
    cost = costs[chosen] * megapixels * slower
    verdict = "of" if fitting else "more than the"
    note(
        f"preset {chosen}: about {cost:.0f} CPU-ms a frame of {size[0]}x{size[1]}, {verdict} "
        f"{budget:.0f} that {float(rate):g} fps leave an encoder on {cores} "
        f"processor{'s' * (cores > 1)}"
    )
    return replace(options, preset=chosen)


@cache
def reference_ms() -> float:
    """CPU-ms that encoding a small drawn clip takes here."""
    width, height = REFERENCE_SIZE
    frames = [
        av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
        for image in draw_clip(REFERENCE_FRAMES, height, width)
    ]
    took = []
    for _ in range(2):
        context: Any = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = width, height, "yuv420p"
        context.time_base, context.thread_count = Fraction(1, 25), 1
        context.options = {"preset": "superfast", "crf": "20"}
        began = time.process_time()
        for index, frame in enumerate(frames):
            frame.pts = index
            context.encode(frame)
        context.encode(None)
        took.append(time.process_time() - began)
    return 1000 * min(took)
