"""Speed of the teacher `ncnn` beside ncnn itself, clip by clip in turns.

    python benchmarks/teacher_speed.py --model realesrgan-x4plus --size 48x48 --frames 4

The teacher takes a clip's frames side by side, one thread each; ncnn itself takes them one after
the other on all threads, which is how its own programs run. Said are medians over turns by wall
time and by the processors' time, the median of each turn's ratio, and how far the pictures differ.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from adopted_speed import ncnn_runner
from torch import Tensor

from adcvsr.pictures.synthetic import draw_clip
from adcvsr.train.teachers.ncnn import NcnnTeacher, find_model


def timed(run: Callable[[], Tensor]) -> tuple[Tensor, float, float]:
    """What was made, and the seconds by the clock and by the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = run()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="realesrgan-x4plus", help="a name, or a .param file")
    parser.add_argument("--size", default="48x48")
    parser.add_argument("--frames", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    clip = np.stack(draw_clip(options.frames, height, width)).transpose(0, 3, 1, 2)
    low = torch.from_numpy(np.ascontiguousarray(clip, np.float32) / 255)[None]
    theirs = ncnn_runner(find_model(options.model)[0], options.threads)
    teacher = NcnnTeacher(options.model, threads=options.threads)
    walls, processors = [], []
    with teacher:
        for _ in range(options.turns):
            alone, *its = timed(
                lambda: torch.from_numpy(np.stack([theirs(frame) for frame in low[0].numpy()]))
            )
            taught, *ours = timed(lambda: teacher.teach(low, None)[0])
            walls.append((its[0], ours[0]))
            processors.append((its[1], ours[1]))
    for name, pairs in (("wall", walls), ("processors", processors)):
        first, second = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name}: ncnn {first:.2f} s, teacher {second:.2f} s, ncnn over teacher {ratio:.2f}")
    print(f"largest difference {float((alone.clamp(0, 1) - taught.clamp(0, 1)).abs().max()):.1e}")


if __name__ == "__main__":
    main()
