"""Colour match: the upscaled frame gets the input's mean and deviation, channel by channel.

The post-processing of AdcSR's public test script (Guaishou74851/AdcSR, test.py): per image and
channel `(SR - mean) / std * LR.std + LR.mean`. It works on whole finished frames, so the result is
the same however they were tiled or windowed and whatever backend made them.

    matcher = ColourMatcher(ColourMatch("ema", half_life_frames=15))
    matcher.match(statistics(frame), upscaled)  # in place
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import Doubles, Levels
from ...bundle.schema import ColourMatch

CHUNK_ROWS = 32
"""Rows worked on at a time, so that temporary floats stay in the processor's cache."""

LEAST_DEVIATION = 0.5
"""Levels; an upscaled frame that deviates less is flat but for rounding, and keeps its contrast."""


@dataclass(frozen=True)
class Statistics:
    """Of one frame, a value a channel, in levels."""

    mean: Doubles
    """(3,)."""

    deviation: Doubles
    """(3,), of the sample (divided by n - 1, as torch does); 0 for a single pixel."""


def statistics(frame: Levels) -> Statistics:
    """Mean and deviation of a frame's channels, from exact sums: the same on every machine.

    Args:
        frame: (H, W, 3) uint8.
    """
    height, width, channels = frame.shape
    rows = frame.reshape(height, -1)
    sums = np.zeros((2, width * channels))
    buffer = np.empty((CHUNK_ROWS, width * channels), np.float32)
    for top in range(0, height, CHUNK_ROWS):
        chunk = rows[top : top + CHUNK_ROWS]
        # Integers below 2**24: a float32 sum of 32 squares of levels is exact in any order.
        levels = buffer[: len(chunk)]
        np.copyto(levels, chunk)
        sums[0] += np.add.reduce(levels, axis=0)
        np.multiply(levels, levels, out=levels)
        sums[1] += np.add.reduce(levels, axis=0)
    count = height * width
    total, squares = sums.reshape(2, width, channels).sum(1)
    variance = (squares - total * total / count) / max(count - 1, 1)
    return Statistics(total / count, np.sqrt(np.maximum(variance, 0)))


class ColourMatcher:
    """Matches the frames of one stream.

    With `frame` each frame is matched by its own statistics, as published. With `ema` the four
    statistics are averaged over the stream first, a frame's weight halving after
    `half_life_frames`; the correction then changes slowly and brightness does not pump when
    something bright enters. The first frame of a stream is matched by its own in both.

    Args:
        mode: Which, with the half-life.
    """

    def __init__(self, mode: ColourMatch) -> None:
        self._keep = 0.5 ** (1 / mode.half_life_frames) if mode.mode == "ema" else 0.0
        self.reset()

    def reset(self) -> None:
        """Forget the past: the next frame is the first of a new stream."""
        self._weight = 0.0
        self._averages = np.zeros((4, 3))
        self._shape: tuple[int, ...] = ()

    def match(self, wanted: Statistics, upscaled: Levels) -> None:
        """Match the next upscaled frame of the stream; one of another size starts a new stream.

        Args:
            wanted: Of its input frame.
            upscaled: (H, W, 3) uint8, C-contiguous; changed in place.
        """
        if upscaled.shape != self._shape:
            self.reset()
            self._shape = upscaled.shape
        found = statistics(upscaled)
        now = np.stack([wanted.mean, wanted.deviation, found.mean, found.deviation])
        # Weights are normalised by their sum, so that a stream does not start from black.
        self._weight = self._keep * self._weight + 1
        self._averages += (now - self._averages) / self._weight
        mean, deviation, found_mean, found_deviation = self._averages
        flat = found_deviation < LEAST_DEVIATION
        gain = np.where(flat, 1, deviation / np.where(flat, 1, found_deviation))
        _apply(upscaled, gain, mean - gain * found_mean)


def _apply(frame: Levels, gain: Doubles, offset: Doubles) -> None:
    """`frame * gain + offset` a channel, rounded to nearest and clamped to [0, 255], in place."""
    height, width, _ = frame.shape
    rows = frame.reshape(height, -1)
    gains = np.tile(gain.astype(np.float32), width)
    # The half makes truncation round to nearest.
    offsets = np.tile((offset + 0.5).astype(np.float32), width)
    buffer = np.empty((CHUNK_ROWS, rows.shape[1]), np.float32)
    for top in range(0, height, CHUNK_ROWS):
        chunk = rows[top : top + CHUNK_ROWS]
        levels = buffer[: len(chunk)]
        np.copyto(levels, chunk)
        levels *= gains
        levels += offsets
        np.clip(levels, 0, 255.5, out=levels)
        np.copyto(chunk, levels, casting="unsafe")
