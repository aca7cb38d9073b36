"""CPU-ms a frame of encoders' presets, and what they make of it: for docs and `--preset auto`.

Frames of a clip are encoded as `adcvsr upscale` encodes them, every preset of an encoder in turn,
over and over; the least CPU time of a preset counts.

    python benchmarks/encoder_presets.py CLIP [--encoder libx264 ...] [--frames N] [--rounds N]
"""

from __future__ import annotations

import argparse
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from adcvsr.runtime.video.encoders import EncodeOptions, encoder_options
from adcvsr.runtime.video.preset_fit import reference_ms

PRESETS = {
    "libx264": ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"),
    "libx265": ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium"),
    "libsvtav1": ("11", "10", "9", "8", "7", "6"),
}

DECODERS = {"av1": "libdav1d"}
"""For codecs whose own decoder in FFmpeg needs a GPU."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--encoder", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    with av.open(str(given.clip)) as container:
        decoded = container.decode(video=0)
        frames = [f.reformat(format="yuv420p") for f in islice(decoded, given.frames)]
        rate = Fraction(container.streams.video[0].average_rate or 25)
    width, height = frames[0].width, frames[0].height
    print(f"{len(frames)} frames of {width}x{height}; reference {reference_ms():.1f} CPU-ms")
    print("| encoder | preset | CPU-ms a frame | CPU-ms a megapixel | kbit/s | luma PSNR, dB |")
    print("|---|---|---|---|---|---|")
    for encoder in given.encoder:
        best: dict[str, tuple[float, int, float]] = {}
        for _ in range(given.rounds):
            for preset in PRESETS[encoder]:
                result = encode(encoder, preset, frames, rate)
                best[preset] = min(best.get(preset, result), result)
        for preset, (seconds, size, psnr) in best.items():
            ms = 1000 * seconds / len(frames)
            kbits = size * 8 / 1000 / (len(frames) / float(rate))
            print(
                f"| {encoder} | {preset} | {ms:.1f} | {ms / (width * height / 1e6):.1f} | "
                f"{kbits:.0f} | {psnr:.2f} |",
                flush=True,
            )


def encode(
    encoder: str, preset: str, frames: list[av.VideoFrame], rate: Fraction
) -> tuple[float, int, float]:
    """CPU seconds and bytes of all frames, and the PSNR of their luma."""
    context: Any = av.CodecContext.create(encoder, "w")
    context.width, context.height, context.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
    context.time_base, context.framerate, context.thread_count = 1 / rate, rate, 0
    context.options = encoder_options(encoder, EncodeOptions(preset=preset))
    began = time.process_time()
    packets = []
    for index, frame in enumerate(frames):
        frame.pts, frame.time_base = index, 1 / rate
        packets += context.encode(frame)
    packets += context.encode(None)
    seconds = time.process_time() - began
    codec = context.codec.canonical_name
    decoder: Any = av.CodecContext.create(DECODERS.get(codec, codec), "r")
    decoder.extradata = context.extradata
    found = [frame for packet in packets for frame in decoder.decode(packet)]
    found += decoder.decode(None)
    found.sort(key=lambda frame: int(frame.pts or 0))
    errors = [np.mean((luma(a) - luma(b)) ** 2) for a, b in zip(frames, found, strict=True)]
    psnr = 10 * np.log10(255**2 / max(float(np.mean(errors)), 1e-9))
    return seconds, sum(packet.size for packet in packets), float(psnr)


def luma(frame: av.VideoFrame) -> Any:
    """(H, W) float."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, -1)
    return rows[:, : plane.width].astype(float)


if __name__ == "__main__":
    main()
