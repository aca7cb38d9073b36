"""What a carried state is worth: students that differ in it alone, trained alike, in one table.

    python benchmarks/state_ablation.py --clips my/videos --images my/photos --validate others/ \
        --start-from nano --steps 20000 -o runs/state-ablation

Every student sees the same batches in the same order from the same weights. A state costs
multiply-adds, so it is held against the best student without one that costs as much or more: those
with a block or two more. Students that a config cannot say are in `state_students.py`. The clips
are validated under several degradations, with white noise (`noise`), and noisy but standing still
(`still`); `drift` is what PSNR loses over 1,000 frames without a reset. A student whose checkpoint
is in the folder is not trained again, so the command goes on where it was stopped, and `--only`
shares the students out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from state_clips import Batches, Material, draw, validation
from state_students import NO_STATE, Student, Tap, students
from torch import Tensor, nn

from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.train.data import DataOptions
from adcvsr.train.degradation import PRESETS as DEGRADATIONS
from adcvsr.train.initial_weights import find_start, open_start
from adcvsr.train.losses import charbonnier, frame_difference
from adcvsr.train.run_state import MovingAverage, RunState
from adcvsr.train.schedule import rate_factor, share_done
from adcvsr.train.settings import PretrainSettings
from adcvsr.train.teaching import to_signed
from adcvsr.train.validation import Validation

DRIFT_FRAMES = 1000
CPU = torch.device("cpu")

Rows = dict[str, dict[str, Any]]


def multiply_adds(network: AdcVsr) -> float:
    """Multiply-adds of convolutions, and of what a tap matches, for an input pixel."""
    size, counted = 32, [0.0]

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(module, (nn.Conv2d, Tap))
        each = module.products if isinstance(module, Tap) else module.weight.numel()
        counted[0] += each * out.shape[2] * out.shape[3] / size**2

    handles = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, (nn.Conv2d, Tap))
    ]
    with torch.no_grad():
        network(torch.zeros(1, 1, 3, size, size))
    for handle in handles:
        handle.remove()
    return counted[0]


def train(
    student: Student, settings: PretrainSettings, start: Path, batches: Batches
) -> tuple[AdcVsr, float]:
    """Train a student on the batches, in their order, around and around; gives CPU minutes too."""
    torch.manual_seed(settings.seed)
    began = time.process_time()
    network = student.finish(open_start(settings, start, print).network)
    average = MovingAverage(network, settings.ema_decay)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    state = RunState()
    while state.step < settings.max_steps:
        rate = rate_factor(settings, state.step, share_done(settings, state))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        index = state.step % len(batches[0])
        low, truth = (to_signed(torch.from_numpy(np.array(of[index])), CPU) for of in batches)
        out, truth = (clip[:, settings.first_frame :] for clip in (network(low)[0], truth))
        loss = charbonnier(out, truth)
        loss = loss + settings.frame_difference_weight * frame_difference(out, truth)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(network, state.step)
        state.step += 1
    network.load_state_dict(dict(average.tensors))
    return network.eval(), (time.process_time() - began) / 60


@torch.no_grad()
def drift(network: AdcVsr, low: Tensor, high: Tensor) -> float:
    """PSNR (dB) gained or lost between a clip's second turn, there and back, and its last."""
    turn = [*range(len(low)), *range(len(low) - 2, 0, -1)]
    clip, truth = to_signed(low[turn][None], CPU), to_signed(high[turn][None], CPU)
    state, figures = None, []
    for _ in range(max(DRIFT_FRAMES // len(turn), 3)):
        out, state = network(clip, state)
        error = (out.clamp(-1, 1) - truth).square().mean() / 4
        figures.append(float(-10 * torch.log10(error)))
    return figures[-1] - figures[1]


@torch.no_grad()
def measure(network: AdcVsr, validations: Mapping[str, Validation]) -> dict[str, Any]:
    """Figures of a student by degradation, its cost and its drift."""
    tensors = network.state_dict()
    found: dict[str, Any] = {
        name: clips.measure(network, tensors) for name, clips in validations.items()
    }
    low, high, _ = next(iter(validations.values())).clips[0]
    return {
        **found,
        "multiply_adds": multiply_adds(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        "drift_db": drift(network, low, high) if network(to_signed(low[None, :1], CPU))[1] else 0.0,
    }


def table(rows: Rows, degradations: Sequence[str]) -> str:
    """Markdown: each student beside the best one without a state that costs as much or more.

    Where none costs as much, beside the best there is, and the row says so.
    """
    heads = [f"{name}: PSNR-Y | over same cost | flicker of it" for name in degradations]
    lines = [f"| student | multiply-adds a pixel | {' | '.join(heads)} | drift |"]
    lines.append("|---|---|" + "---|---|---|" * len(degradations) + "---|")
    for name, row in rows.items():
        cells = [name, f"{row['multiply_adds']:,.0f}"]
        stateless = [other for key, other in rows.items() if key.startswith(NO_STATE)]
        rivals = [o for o in stateless if o["multiply_adds"] >= row["multiply_adds"]]
        if stateless and not rivals:
            cells[0] += " (over the best, which costs less)"
            rivals = stateless
        for degradation in degradations:
            figures = row[degradation]
            cells.append(f"{figures['psnr_y']:.2f} dB")
            if name.startswith(NO_STATE) or not rivals:
                cells += ["", f"{figures['flicker']:.3f} levels"]
                continue
            rival = max((r[degradation] for r in rivals), key=lambda one: float(one["psnr_y"]))
            cells.append(f"{figures['psnr_y'] - rival['psnr_y']:+.3f} dB")
            cells.append(f"{figures['flicker'] / rival['flicker']:.3f}")
        cells.append(f"{row['drift_db']:+.3f} dB")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, action="append", required=True)
    parser.add_argument("--images", type=Path, action="append", default=[])
    parser.add_argument("--validate", type=Path, action="append", required=True)
    parser.add_argument("--start-from", type=Path, default=Path("nano"))
    known = sorted({*DEGRADATIONS, "noise"})
    parser.add_argument("--degradation", nargs="+", default=["web"], choices=known)
    parser.add_argument(
        "--measure",
        nargs="*",
        default=["camera", "web"],
        choices=[*known, "still"],
        help="none of them: only train",
    )
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=1000, help="drawn once, then gone around")
    parser.add_argument("--drawn", type=Path, help="folder of the batches [default: the output]")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--first-frame", type=int, default=0, help="the loss begins with it")
    parser.add_argument("--patch", type=int, default=32, help="side of the crops")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="students to train, by name [default: all]")
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    start = find_start(chosen.start_from)
    settings = PretrainSettings(
        data=DataOptions(
            frames=chosen.frames,
            patch_px=chosen.patch,
            strides=(1, 2),
            crops_per_clip=16,
            window_px=192,
        ),
        batch=4,
        max_steps=chosen.steps,
        first_frame=chosen.first_frame,
        learning_rate=5e-4,
        warmup_steps=50,
        ema_decay=0.99,
        frame_difference_weight=0.5,
        start_partly=True,
        seed=chosen.seed,
    )
    wanted = students(load_checkpoint(start)[0].config)
    if unknown := sorted({*(chosen.only or ())} - wanted.keys()):
        parser.error(f"no student {unknown[0]!r}; there are: {', '.join(wanted)}")
    chosen.output.mkdir(parents=True, exist_ok=True)

    def checkpoint(name: str) -> Path:
        return chosen.output / f"{name}.safetensors"

    missing = [name for name in chosen.only or wanted if not checkpoint(name).is_file()]
    material = Material(chosen.clips, chosen.images, chosen.degradation, chosen.batches)
    if missing:
        batches = draw(material, settings, chosen.drawn or chosen.output)
    for name in missing:
        student = wanted[name]
        named = dataclasses.replace(student.config, name=name)
        recipe = dataclasses.replace(settings, network=named)
        network, minutes = train(student, recipe, start, batches)
        save_checkpoint(
            checkpoint(name), network, provenance={"steps": chosen.steps, "seed": chosen.seed}
        )
        print(f"{name}: {chosen.steps} steps in {minutes:.1f} CPU minutes", flush=True)
    validations = {name: validation(name, chosen.validate, settings) for name in chosen.measure}
    rows: Rows = {}
    for name, student in wanted.items():
        if checkpoint(name).is_file() and validations:
            network = student.build()
            network.load_state_dict(load_file(checkpoint(name)))
            rows[name] = measure(network.eval(), validations)
    (chosen.output / "figures.json").write_text(json.dumps(rows, indent=1))
    print(f"\n{chosen.steps} steps each, seed {chosen.seed}\n\n{table(rows, chosen.measure)}")


if __name__ == "__main__":
    main()
