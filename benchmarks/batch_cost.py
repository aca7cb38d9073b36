"""A batch of N streams' frames against N runs of one: time, processor time, bits; ORT on the CPU.

    python benchmarks/batch_cost.py --streams 4 --width 160 --height 90

Rounds are interleaved, and ratios are medians of pairs: what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from adcvsr.bundle import open_bundle
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.batch_slots import run_ahead
from adcvsr.runtime.sessions.session import StreamSession

LARGEST_RATIO = 1.0


def main() -> None:
    """Run and print; exit 1 where bits differ or a batch takes longer than its frames."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=90)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--variant", default="int8-ort")
    parser.add_argument("--threads", type=int, default=0)
    chosen = parser.parse_args()
    clip = draw_clip(8, chosen.height, chosen.width)
    ratios: dict[str, list[float]] = {"time": [], "processor time": []}
    sizes: list[int] = []
    same = True
    with create_session(
        open_bundle(chosen.model),
        backend="ort-cpu",
        variant=chosen.variant,
        threads=chosen.threads,
    ) as loaded:
        assert isinstance(loaded, StreamSession)
        if why := loaded.prepare_batches():
            sys.exit(why)
        together, alone = (
            [loaded.another_stream().__enter__() for _ in range(chosen.streams)] for _ in range(2)
        )
        for each in (*together, *alone):
            each.infer(clip[0])
        for number in range(chosen.rounds):
            frames = [clip[(number + index) % len(clip)].copy() for index in range(chosen.streams)]
            before = (time.perf_counter(), time.process_time())
            sizes = run_ahead(list(zip(together, frames, strict=True)))
            batch = [each.infer(frame) for each, frame in zip(together, frames, strict=True)]
            between = (time.perf_counter(), time.process_time())
            single = [each.infer(frame) for each, frame in zip(alone, frames, strict=True)]
            after = (time.perf_counter(), time.process_time())
            for index, name in enumerate(ratios):
                took = between[index] - before[index]
                ratios[name].append(took / (after[index] - between[index]))
            same = same and all(map(np.array_equal, batch, single))
        for each in (*together, *alone):
            each.__exit__(None, None, None)
    print(f"{chosen.streams} streams of {chosen.width}x{chosen.height}, batches of {sizes or 1}")
    for name, found in ratios.items():
        low, mid, high = statistics.quantiles(found, n=4)
        print(f"{name} of a batch over single runs: {mid:.3f} (quartiles {low:.3f} to {high:.3f})")
    print("bits are equal" if same else "bits DIFFER")
    sys.exit(not same or statistics.median(ratios["time"]) > LARGEST_RATIO)


if __name__ == "__main__":
    main()
