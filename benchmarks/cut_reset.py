"""What starting anew at scene cuts does: PSNR-Y of the frames after each cut, with and without.

Joins stretches of clips, reduces them four times, upscales the result twice. Also tells how often
the detector misses a joint or finds a cut within a stretch.

    python benchmarks/cut_reset.py FOLDER...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from adcvsr.metrics.fidelity import psnr_y
from adcvsr.metrics.resample import limit_size, resize_bicubic
from adcvsr.pictures.clips import find_media, read_clip
from adcvsr.runtime.processing.cut_reset import CutResetProcessor
from adcvsr.runtime.upscaler import Upscaler

LENGTH, SIZE = 8, (360, 640)
"""Frames of a stretch; height and width of the truth."""

SUFFIXES = frozenset({".mp4", ".webm", ".264", ".mkv"})


def stretches(folders: list[Path]) -> Iterator[np.ndarray]:
    for path in (path for folder in folders for path in find_media(folder, SUFFIXES)):
        frames = [limit_size(frame, 1280) for frame in islice(read_clip(path), 10, 10 + LENGTH)]
        if len(frames) == LENGTH and min(frames[0].shape[:2]) >= SIZE[0]:
            yield np.stack([resize_bicubic(frame, *SIZE) for frame in frames])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="nano")
    arguments = parser.parse_args()
    truth = list(stretches(arguments.folders))
    low = [resize_bicubic(f, SIZE[0] // 4, SIZE[1] // 4) for clip in truth for f in clip]
    scores = {}
    with Upscaler(arguments.model, threads=1) as upscaler:
        watched = CutResetProcessor(upscaler._processor)
        for name, processor in (("carried on", upscaler._processor), ("reset", watched)):
            pictures, found = [], []
            for index, frame in enumerate(low):
                before = watched.cuts
                pictures += list(processor.push(frame))
                found += [index] if watched.cuts > before else []
            processor.finish()
            upscaler.reset()
            values = [psnr_y(a, b) for a, b in zip(pictures, np.concatenate(truth), strict=True)]
            scores[name] = np.array(values).reshape(len(truth), LENGTH)[1:]
    joints = set(range(LENGTH, len(low), LENGTH))
    print(f"{len(truth)} stretches of {LENGTH} frames: {len(joints & set(found))} of {len(joints)}")
    print(f"joints found, {len(set(found) - joints)} cuts within stretches\n")
    print("frame after the cut " + " ".join(f"{i:>7}" for i in range(LENGTH)))
    for name, values in scores.items():
        print(f"{name:>19} " + " ".join(f"{v:7.3f}" for v in values.mean(0)))
    gain = scores["reset"] - scores["carried on"]
    print(f"{'gain':>19} " + " ".join(f"{v:+7.3f}" for v in gain.mean(0)))
    print(f"{'worst clip':>19} " + " ".join(f"{v:+7.3f}" for v in gain.min(0)))


if __name__ == "__main__":
    main()
