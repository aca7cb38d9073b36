"""What a carried state is worth: students that differ in it alone, trained alike, in one table.

    python benchmarks/state_ablation.py --clips my/videos --images my/photos --validate others/ \
        --start-from nano --steps 20000 -o runs/state-ablation

Every student sees the same batches in the same order from the same weights. A state costs
multiply-adds, so it is held against the best student without one that costs as much or more: those
with a block or two more. The clips are validated under several degradations; `drift` is what PSNR
loses over 1,000 frames without a reset. A student whose checkpoint is in the folder is not trained
again, so the command goes on where it was stopped, and `--only` shares the students out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from adcvsr.config import AdcVsrConfig
from adcvsr.model import AdcVsr, load_checkpoint, save_checkpoint
from adcvsr.train.data import ClipPairs, DataOptions, PairLoader
from adcvsr.train.degradation import PRESETS as DEGRADATIONS
from adcvsr.train.initial_weights import find_start, open_start
from adcvsr.train.losses import charbonnier, frame_difference
from adcvsr.train.run_state import MovingAverage, RunState
from adcvsr.train.schedule import rate_factor, share_done
from adcvsr.train.settings import PretrainSettings
from adcvsr.train.teaching import to_signed
from adcvsr.train.validation import Validation, ValidationData

DRIFT_FRAMES = 1000
CPU = torch.device("cpu")
NO_STATE = "no state"

Rows = dict[str, dict[str, Any]]


def students(base: AdcVsrConfig) -> dict[str, AdcVsrConfig]:
    """The networks by what they are called in the table."""
    one, every = (
        base.temporal_sites,
        tuple(
            f"down_blocks.{level}.resnets.{block}"
            for level, count in enumerate(base.down_blocks)
            for block in range(count)
        ),
    )
    longer = [(*base.down_blocks[:-1], base.down_blocks[-1] + extra) for extra in (1, 2)]
    kinds: Mapping[str, dict[str, Any]] = {
        NO_STATE: {"temporal_sites": ()},
        f"{NO_STATE}, a block more": {"temporal_sites": (), "down_blocks": longer[0]},
        f"{NO_STATE}, two blocks more": {"temporal_sites": (), "down_blocks": longer[1]},
        "1x1 tap": {"temporal_sites": one},
        "3x3 tap": {"temporal_sites": one, "temporal_side": 3},
        "3x3 taps, every block": {"temporal_sites": every, "temporal_side": 3},
        "recurrent 3x3": {
            "temporal_sites": one,
            "temporal_side": 3,
            "temporal_past": "recurrent",
        },
        "recurrent 3x3, every block": {
            "temporal_sites": every,
            "temporal_side": 3,
            "temporal_past": "recurrent",
        },
    }
    return {name: dataclasses.replace(base, **kind) for name, kind in kinds.items()}


def multiply_adds(network: AdcVsr) -> float:
    """Multiply-adds of convolutions for an input pixel."""
    size, counted = 32, [0.0]

    def count(module: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        counted[0] += module.weight.numel() * out.shape[2] * out.shape[3] / size**2

    handles = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        network(torch.zeros(1, 1, 3, size, size))
    for handle in handles:
        handle.remove()
    return counted[0]


def train(
    settings: PretrainSettings, start: Path, batches: Sequence[tuple[Tensor, Tensor]]
) -> tuple[AdcVsr, float]:
    """Train a student on the batches, in their order, around and around; gives CPU minutes too."""
    torch.manual_seed(settings.seed)
    began = time.process_time()
    network = open_start(settings, start, print).network
    average = MovingAverage(network, settings.ema_decay)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99))
    state = RunState()
    while state.step < settings.max_steps:
        rate = rate_factor(settings, state.step, share_done(settings, state))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        low, truth = (to_signed(clip, CPU) for clip in batches[state.step % len(batches)])
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


def measure(network: AdcVsr, validations: Mapping[str, Validation]) -> dict[str, Any]:
    """Figures of a student by degradation, its cost and its drift."""
    tensors = network.state_dict()
    found: dict[str, Any] = {
        name: validation.measure(network, tensors) for name, validation in validations.items()
    }
    low, high = next(iter(validations.values())).clips[0]
    return {
        **found,
        "multiply_adds": multiply_adds(network),
        "parameters": sum(p.numel() for p in network.parameters()),
        "drift_db": drift(network, low, high) if network.config.temporal_sites else 0.0,
    }


def table(rows: Rows, degradations: Sequence[str]) -> str:
    """Markdown: each student beside the best one without a state that costs as much or more."""
    heads = [f"{name}: PSNR-Y | over same cost | flicker of it" for name in degradations]
    lines = [f"| student | multiply-adds a pixel | {' | '.join(heads)} | drift |"]
    lines.append("|---|---|" + "---|---|---|" * len(degradations) + "---|")
    for name, row in rows.items():
        cells = [name, f"{row['multiply_adds']:,.0f}"]
        rivals = [
            other
            for key, other in rows.items()
            if key.startswith(NO_STATE) and other["multiply_adds"] >= row["multiply_adds"]
        ]
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
    parser.add_argument("--degradation", default="web", choices=sorted(DEGRADATIONS))
    parser.add_argument("--measure", nargs="+", default=["camera", "web"])
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batches", type=int, default=1000, help="drawn once, then gone around")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", help="students to train, by name [default: all]")
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    start = find_start(chosen.start_from)
    settings = PretrainSettings(
        data=DataOptions(
            frames=chosen.frames, patch_px=32, strides=(1, 2), crops_per_clip=8, window_px=192
        ),
        degradation=DEGRADATIONS[chosen.degradation],
        batch=4,
        max_steps=chosen.steps,
        learning_rate=5e-4,
        warmup_steps=50,
        ema_decay=0.99,
        frame_difference_weight=0.5,
        start_partly=True,
        seed=chosen.seed,
    )
    wanted = students(load_checkpoint(start)[0].config)
    chosen.output.mkdir(parents=True, exist_ok=True)
    missing = [
        name
        for name in chosen.only or wanted
        if not (chosen.output / f"{name}.safetensors").is_file()
    ]
    batches: list[tuple[Tensor, Tensor]] = []
    if missing:
        pairs = ClipPairs(
            chosen.clips,
            chosen.images,
            settings.data,
            settings.degradation,
            seed=settings.seed,
            report=print,
        )
        loader = PairLoader(pairs, batch=settings.batch)
        drawn = (next(loader) for _ in range(chosen.batches))
        batches = [(one.low, one.high) for one in drawn]
        print(f"{len(batches)} batches drawn", flush=True)
    validations = {
        name: Validation(
            ValidationData(chosen.validate),
            dataclasses.replace(settings, degradation=DEGRADATIONS[name]),
            multiple=4,
            device=CPU,
            report=print,
        )
        for name in chosen.measure
    }
    record = chosen.output / "figures.json"
    rows: Rows = json.loads(record.read_text()) if record.is_file() else {}
    for name, config in wanted.items():
        path = chosen.output / f"{name}.safetensors"
        if name in missing:
            named = dataclasses.replace(config, name=name)
            recipe = dataclasses.replace(settings, network=named)
            network, minutes = train(recipe, start, batches)
            save_checkpoint(path, network, provenance={"steps": chosen.steps, "seed": chosen.seed})
            print(f"{name}: {chosen.steps} steps in {minutes:.1f} CPU minutes", flush=True)
        if path.is_file() and (name in missing or name not in rows):
            rows[name] = measure(load_checkpoint(path)[0], validations)
            record.write_text(json.dumps(rows, indent=1))
    shown = {name: rows[name] for name in wanted if name in rows}
    print(f"\n{chosen.steps} steps each, seed {chosen.seed}\n\n{table(shown, chosen.measure)}")


if __name__ == "__main__":
    main()
