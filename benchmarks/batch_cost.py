"""A batch of N streams' frames against N runs of one: time, processor time, bits; ORT on the CPU.

    python benchmarks/batch_cost.py --streams 4 --width 160 --height 90

Rounds are interleaved, and ratios are medians of pairs: what else the machine does meets both.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import ExitStack

import numpy as np

from adcvsr.bundle import open_bundle
from adcvsr.graph.yuv_ends import YuvEnds
from adcvsr.pictures.colour import SDR_BT709
from adcvsr.pictures.synthetic import draw_clip
from adcvsr.pictures.yuv_picture import AnyPicture, YuvPicture
from adcvsr.runtime.processing.backends import create_session
from adcvsr.runtime.sessions.batch_slots import run_ahead
from adcvsr.runtime.sessions.stream_session import StreamSession

LARGEST_RATIO = 1.0


def drawn(height: int, width: int, *, yuv: bool) -> list[AnyPicture]:
    """Frames of a clip; of YUV its red is luma, the others chroma: for the time alone."""
    clip = draw_clip(8, height, width)
    if not yuv:
        return list(clip)
    return [YuvPicture(each[..., 0].copy(), each[::2, ::2, 1:].copy(), SDR_BT709) for each in clip]


def run(session: StreamSession, frame: AnyPicture) -> AnyPicture:
    """Upscale a frame."""
    if isinstance(frame, YuvPicture):
        return session.infer_yuv(frame)
    return session.infer(frame)


def same_bits(one: AnyPicture, other: AnyPicture) -> bool:
    """Whether two pictures are equal."""
    if isinstance(one, YuvPicture) and isinstance(other, YuvPicture):
        planes = ((one.luma, other.luma), (one.chroma, other.chroma))
        return all(np.array_equal(a, b) for a, b in planes)
    return np.array_equal(one, other)  # type: ignore[arg-type]


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
    parser.add_argument("--pixels", choices=("rgb", "yuv"), default="rgb")
    chosen = parser.parse_args()
    yuv = chosen.pixels == "yuv"
    clip = drawn(chosen.height, chosen.width, yuv=yuv)
    ratios: dict[str, list[float]] = {"time": [], "processor time": []}
    sizes: list[int] = []
    same = True
    with ExitStack() as stack:
        loaded = stack.enter_context(
            create_session(
                open_bundle(chosen.model),
                backend="ort-cpu",
                variant=chosen.variant,
                threads=chosen.threads,
            )
        )
        assert isinstance(loaded, StreamSession)
        if yuv:
            loaded = stack.enter_context(loaded.of_yuv(YuvEnds(SDR_BT709.matrix, full_range=False)))
        if why := loaded.prepare_batches():
            sys.exit(why)
        together, alone = (
            [loaded.another_stream().__enter__() for _ in range(chosen.streams)] for _ in range(2)
        )
        for each in (*together, *alone):
            run(each, clip[0])
        for number in range(chosen.rounds):
            frames = [clip[(number + index) % len(clip)] for index in range(chosen.streams)]
            before = (time.perf_counter(), time.process_time())
            sizes = run_ahead(list(zip(together, frames, strict=True)))
            batch = [run(each, frame) for each, frame in zip(together, frames, strict=True)]
            between = (time.perf_counter(), time.process_time())
            single = [run(each, frame) for each, frame in zip(alone, frames, strict=True)]
            after = (time.perf_counter(), time.process_time())
            for index, name in enumerate(ratios):
                took = between[index] - before[index]
                ratios[name].append(took / (after[index] - between[index]))
            same = same and all(map(same_bits, batch, single))
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
