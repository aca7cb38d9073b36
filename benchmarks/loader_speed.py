"""What the training data costs beside a training step, and whether the loader keeps ahead of it.

Measures in one run: CPU-milliseconds a sample of making samples and of training on them (forward,
backward, Adam), which a busy machine does not change much; then samples a second of the step alone,
of the loader alone, and of both together. The loader must be the faster one, and the two together
little slower than the step alone.

    python benchmarks/loader_speed.py --clips FOLDER [--images FOLDER] [--config nano]
        [--workers 1] [--steps 100] [--no-compile]

Network, batch, workers and compilation are the recipe's own; it must be one of `pretrain`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch

from adcvsr.train.data import ClipPairs, PairBatch, PairLoader
from adcvsr.train.initial_weights import open_start
from adcvsr.train.settings import PretrainSettings, read_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="nano", help="recipe, a name or a TOML file")
    parser.add_argument("--clips", type=Path, action="append", default=[])
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--workers", type=int, help="instead of the recipe's")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--no-compile", action="store_true", help="whatever the recipe says")
    arguments = parser.parse_args()
    settings = read_settings(arguments.config, PretrainSettings)
    workers = settings.workers if arguments.workers is None else arguments.workers
    pairs = ClipPairs(
        arguments.clips,
        arguments.images,
        settings.data,
        settings.degradation,
        seed=settings.seed,
        report=print,
    )
    print(pairs.summary())
    compiled = settings.compile and not arguments.no_compile
    how = "compiled" if compiled else "not compiled"
    print(f"recipe {arguments.config}, batch {settings.batch}, {how}")
    step = training_step(settings, compiled=compiled)
    measure_costs(pairs, step, settings.batch)
    measure_rates(pairs, step, settings.batch, workers, arguments.steps)


def measure_costs(pairs: ClipPairs, step: Callable[[PairBatch], None], batch_size: int) -> None:
    """CPU-milliseconds a sample; a degraded clip's cost is shared by its crops."""
    options, clips = pairs.options, 8
    made, cut = (
        cpu_ms(lambda: [pairs.pair(0, index) for index in range(clips)]) / clips for _ in range(2)
    )
    batch = next(PairLoader(pairs, batch=batch_size))
    for _ in range(3):
        step(batch)
    trained = cpu_ms(lambda: [step(batch) for _ in range(10)]) / 10 / batch_size
    sample = (made - cut) / options.crops_per_clip + cut
    print("CPU-ms:")
    print(f"  a degraded clip {made - cut:.0f}, shared by {options.crops_per_clip} crops")
    print(f"  a crop {cut:.2f}, so a sample {sample:.2f}")
    print(f"  a sample's training {trained:.2f}   training / loading {trained / sample:.1f}")


def measure_rates(
    pairs: ClipPairs, step: Callable[[PairBatch], None], batch_size: int, workers: int, steps: int
) -> None:
    """Samples a second; on a busy machine only their ratios mean something."""
    loader = PairLoader(pairs, batch=batch_size, workers=workers)
    began = time.perf_counter()
    for _ in range(-(-pairs.options.lanes // batch_size)):  # every lane holds a clip then
        batch = next(loader)
    filled = time.perf_counter() - began
    samples = batch_size * steps
    loaded = samples / seconds(lambda: next(loader), steps)
    time.sleep(3)  # the workers load ahead for a moment
    trained = samples / seconds(lambda: step(batch), steps)
    together = samples / seconds(lambda: step(next(loader)), steps)
    print(f"{len(os.sched_getaffinity(0))} processors, {workers} workers, samples/s:")
    print(
        f"  loader alone {loaded:7.1f}   after {filled:.1f} s to fill {pairs.options.lanes} clips"
    )
    print(f"  step alone   {trained:7.1f}   loader / step {loaded / trained:.2f}")
    print(f"  together     {together:7.1f}   together / step {together / trained:.2f}")


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of this process, all threads."""
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began)


def training_step(settings: PretrainSettings, *, compiled: bool) -> Callable[[PairBatch], None]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = open_start(settings, None).network.to(device)
    forward = torch.compile(network) if compiled else network
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def step(batch: PairBatch) -> None:
        low, high = (clip.to(device).float() / 127.5 - 1 for clip in (batch.low, batch.high))
        output, _ = forward(low)
        loss = (output - high).abs().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def seconds(work: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
