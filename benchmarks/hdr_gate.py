"""Whether a variant of 8 bits may run HDR: its pictures against FP32's, in light.

Drawn gradients of PQ and HLG and the clips that are named, in the range in which the network sees
them (`pictures.hdr`), rounded to 8 bits for the variant and not for FP32. INT8 runs no HDR unless
all are within both limits; the shipped bundles' is refused (docs/decisions.md).

    python benchmarks/hdr_gate.py clips/hdr10.mp4 clips/hlg.mp4 --model nano --variant int8-ort
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from adcvsr.arrays import Doubles, Frame
from adcvsr.bundle import open_bundle
from adcvsr.pictures.colour import TRANSFER_HLG, TRANSFER_PQ, to_eight_bits
from adcvsr.pictures.hdr import WHITE, hlg_to_light, network_to_nits, pq_to_network_table
from adcvsr.runtime.sessions.ort_cpu import OrtCpuSession
from adcvsr.runtime.video.read_options import ReadOptions
from adcvsr.runtime.video.source import FileSource, SourceFrame

LEAST_DB = 42.0
"""PSNR to FP32 in the network's range; what INT8 has to have on SDR, too."""

MOST_LIGHT = 0.01
"""Median error of luminance: what the mapping itself is held to."""

DARKEST = 0.005
"""Of the brightest light; darker errors are counted as if they were as bright."""

FRAMES, SIDE = 4, 192
"""Frames of each clip, and pixels of a side from their middles."""


def main() -> None:
    """Print a table, and end with 1 where a clip is beyond a limit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variant", default="int8-ort")
    given = parser.parse_args()
    bundle = open_bundle(given.model)
    refused = 0
    with ExitStack() as stack:
        reference, judged = (
            stack.enter_context(OrtCpuSession(bundle, bundle.variant(name), deep=deep, threads=1))
            for name, deep in (("fp32-onnx", True), (given.variant, False))
        )
        for name, transfer, frames in (*gradients(), *map(read, given.clips)):
            reference.reset()
            judged.reset()
            squares, light = [], []
            for frame in frames:
                seen = pq_to_network_table()[frame] if transfer == TRANSFER_PQ else frame
                wanted = reference.infer(seen) / WHITE
                found = judged.infer(to_eight_bits(seen)) / 255
                squares.append(np.mean((found - wanted) ** 2))
                light.append(error_of_light(wanted, found, transfer))
            db = -10 * np.log10(max(np.mean(squares), 1e-12))
            off = float(np.median(np.concatenate(light)))
            passes = db >= LEAST_DB and off <= MOST_LIGHT
            refused += not passes
            verdict = "passes" if passes else "refused"
            print(f"{name:34.34} {db:5.1f} dB, light {100 * off:5.2f} % off (median): {verdict}")
    print(f"{given.variant} of {given.model}: {'refused' if refused else 'may run HDR'}")
    sys.exit(1 if refused else 0)


def error_of_light(wanted: Doubles, found: Doubles, transfer: int) -> Doubles:
    """Relative errors of light, a number a pixel and colour."""
    to_light = network_to_nits if transfer == TRANSFER_PQ else hlg_to_light
    one, two = to_light(wanted), to_light(found)
    return (np.abs(two - one) / np.maximum(one, DARKEST * one.max())).ravel()


def gradients() -> Iterator[tuple[str, int, list[Frame]]]:
    """Every level of gray from left to right, in ten bits, the same in each frame."""
    ramp = np.rint(np.linspace(0, 1, 1024) * 1023) / 1023 * WHITE
    frame = np.broadcast_to(ramp[::4, None], (32, 256, 3)).astype(np.uint16)
    for name, transfer in (("PQ", TRANSFER_PQ), ("HLG", TRANSFER_HLG)):
        yield f"gradient of {name}", transfer, [frame] * FRAMES


def read(path: Path) -> tuple[str, int, list[Frame]]:
    """The middle of a clip's first frames."""
    found: list[Frame] = []
    with FileSource(path, ReadOptions(hdr="keep")) as source:
        source.keep(deep=True)
        for item in source:
            if isinstance(item, SourceFrame) and len(found) < FRAMES:
                height, width = item.picture.shape[:2]
                top, left = max(height - SIDE, 0) // 2, max(width - SIDE, 0) // 2
                found.append(np.ascontiguousarray(item.rgb[top : top + SIDE, left : left + SIDE]))
            if len(found) == FRAMES:
                break
        return path.name, source.info.colours.transfer, found


if __name__ == "__main__":
    main()
