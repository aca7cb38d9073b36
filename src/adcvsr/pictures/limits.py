"""How large a video may be, and what it will take: refused before the work, with the numbers."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ..config import SCALE
from ..errors import UnsupportedVideoError
from ..host.memory import available_bytes

MAX_PIXELS = 8192 * 4352
"""Pixels of an input frame: 8K with its padding. Beyond it a picture no longer fits a machine."""

MAX_SIDE = 16384
"""Pixels of a side of an input frame; a side of the output is four times that."""

MOST_ENCODED_SIDE = 16_384
"""Pixels of a side that x264 and most other encoders take."""

QUEUE_LENGTH = 8
"""Frames or pictures between two stages at most: where an encoder's picture types change from frame
to frame, four leave network and encoder waiting for each other (docs/decisions.md)."""

QUEUE_BYTES = 128 << 20
"""Pixels between two stages at most, in bytes; large frames get shorter queues, down to one."""

ENCODER_FRAMES = 24
"""4:2:0 pictures an encoder holds (x264: lookahead, references, frame threads)."""

ACTIVATION_BYTES = 1100
"""Bytes of activations an input pixel where the network is not known: `nano`'s, the least of all on
ONNX Runtime. Of a network `graph.memory` tells."""

TILES = (256, 128, 64)
"""Sides that are proposed where whole frames do not fit."""

PROCESS_BYTES = 300 << 20
"""Python, FFmpeg and ONNX Runtime before the first frame."""


def check_frame_size(path: Path, width: int, height: int) -> None:
    """Refuse frames beyond the limits.

    Raises:
        UnsupportedVideoError: With the size and the limit.
    """
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise UnsupportedVideoError(
            f"'{path}' has frames of {width}x{height} = {width * height / 1e6:.0f} megapixels; "
            f"the limit is {MAX_PIXELS / 1e6:.0f} megapixels and {MAX_SIDE} pixels a side: scale "
            "or cut it first, for example: ffmpeg -i IN -vf scale=3840:-2 OUT"
        )


def queue_length(frame_bytes: int) -> int:
    """Frames of a size that may wait between two stages."""
    return max(1, min(QUEUE_LENGTH, QUEUE_BYTES // max(frame_bytes, 1)))


def estimate_bytes(
    width: int,
    height: int,
    *,
    tile: int | None = None,
    output: tuple[int, int] | None = None,
    deep: bool = False,
    scale: int = SCALE,
    activation_bytes: int = ACTIVATION_BYTES,
    weight_bytes: int = 0,
) -> int:
    """Memory of the whole process while it upscales.

    Args:
        width: Input pixels.
        height: Input pixels.
        tile: Largest side the network is given at once; None for whole frames.
        output: Width and height that are encoded; None for what the network makes.
        deep: Whether frames and pictures have more than 8 bits.
        scale: Of the network.
        activation_bytes: Of an input pixel that it is given at once.
        weight_bytes: Of the network.

    Returns:
        Bytes at the peak, rounded up rather than down.
    """
    pixels = width * height
    picture = 3 * pixels * scale**2
    at_once = pixels if tile is None else min(pixels, tile * tile)
    width_bytes = 2 if deep else 1
    frame, held = 3 * pixels * width_bytes, picture * width_bytes
    frames = frame * (queue_length(frame) + 2)
    pictures = held * (queue_length(held) + 2) + (4 * picture if deep else 0)
    written = 3 * output[0] * output[1] if output else picture
    encoder = written * width_bytes // 2 * ENCODER_FRAMES
    network = (
        activation_bytes * at_once + 2 * weight_bytes
    )  # as stored, and as an engine packs them
    return PROCESS_BYTES + frames + pictures + encoder + network


def check_memory(
    path: Path,
    width: int,
    height: int,
    *,
    tile: int | None = None,
    output: tuple[int, int] | None = None,
    deep: bool = False,
    scale: int = SCALE,
    activation_bytes: int = ACTIVATION_BYTES,
    weight_bytes: int = 0,
) -> None:
    """Refuse what is beyond the limits or would run this machine out of memory.

    ADCVSR_IGNORE_MEMORY=1 lets it try the latter.

    Raises:
        UnsupportedVideoError: With the estimate and what is there.
    """
    check_frame_size(path, width, height)
    estimate = partial(
        estimate_bytes,
        width,
        height,
        output=output,
        deep=deep,
        scale=scale,
        activation_bytes=activation_bytes,
        weight_bytes=weight_bytes,
    )
    need = estimate(tile=tile)
    there = available_bytes()
    if there is None or need <= there or os.environ.get("ADCVSR_IGNORE_MEMORY"):
        return
    fits = [(side, size) for side in TILES if (size := estimate(tile=side)) <= min(there, need - 1)]
    hint = (
        f"--tile {fits[0][0]} takes {fits[0][1] / 2**30:.1f} GiB"
        if fits and (tile is None or fits[0][0] < tile)
        else "scale the video down first"
    )
    raise UnsupportedVideoError(
        f"'{path}' ({width}x{height}) takes about {need / 2**30:.1f} GiB of memory, "
        f"{there / 2**30:.1f} GiB are free: {hint}, or set ADCVSR_IGNORE_MEMORY=1 to try"
    )


def encoded_side_line(width: int, height: int) -> str:
    """Say that most encoders refuse pictures of a size and what to do; empty where they take it.

    Args:
        width: Of the output, pixels.
        height: Likewise.
    """
    if max(width, height) <= MOST_ENCODED_SIDE:
        return ""
    return (
        f"most encoders take sides of up to {MOST_ENCODED_SIDE} pixels: ask for a smaller size "
        "(--height, --output-size, --scale)"
    )
