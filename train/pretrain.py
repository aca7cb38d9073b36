"""Pretraining: a student learns x4 from clips and images by pixel loss alone.

One linear loop on Accelerate: CPU, one GPU, or several with `accelerate launch` or `torchrun`.

    adcvsr train pretrain --config nano --clips FOLDER --images FOLDER -o runs/nano
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ..errors import TrainingDivergedError
from ..model import AdcVsr, save_checkpoint
from .data import ClipPairs, PairLoader
from .run_state import (
    CHECKPOINT_FILE,
    MovingAverage,
    RunState,
    load_state,
    prepare_run_folder,
    save_state,
)
from .settings import PretrainSettings

ADAM_BETAS = (0.9, 0.99)
"""A shorter memory of squared gradients than the default suits short schedules."""

FINAL_RATE = 0.01
"""Learning rate at the schedule's end, as a share of its peak."""

Progress = Callable[[RunState, float, float], None]
"""Called after every step with the state, the loss and the share of the schedule done."""


def pretrain(
    settings: PretrainSettings,
    output: Path,
    *,
    clips: Sequence[Path],
    images: Sequence[Path],
    resume: bool,
    report: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Train a student and write its checkpoint.

    Args:
        settings: The recipe.
        output: Folder of the run; its checkpoint and state are replaced atomically.
        clips: Folders of videos.
        images: Folders of images.
        resume: Continue the run in `output` instead of starting one.
        report: Called with lines to show.
        progress: Called after every step.

    Returns:
        The checkpoint's path.

    Raises:
        TrainingDataError: No usable training data.
        TrainingDivergedError: The loss is not finite; the last saved state stays.
        CheckpointError: Resuming and there is no state, or of another network.
    """
    accelerator = Accelerator(mixed_precision=settings.precision)
    torch.manual_seed(settings.seed)
    network = AdcVsr(settings.network)
    network.start_as_interpolation()
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS)
    prepared, optimizer = accelerator.prepare(network, optimizer)
    network = accelerator.unwrap_model(prepared)
    step_network = torch.compile(prepared) if settings.compile else prepared
    average = MovingAverage(network, settings.ema_decay)
    state = RunState()
    prepare_run_folder(output, resume=resume)
    if resume:
        state = load_state(output, network, optimizer, average, accelerator.device)
        report(f"resumed at step {state.step:,}")

    pairs = ClipPairs(
        clips, images, settings.data, settings.degradation, seed=settings.seed, report=report
    )
    report(f"{pairs.summary()}; device {accelerator.device}")
    loader = PairLoader(
        pairs,
        batch=settings.batch,
        start_step=state.step,
        workers=settings.workers,
        process_index=accelerator.process_index,
        num_processes=accelerator.num_processes,
    )

    def save() -> None:
        if accelerator.is_main_process:
            provenance = {"recipe": _recipe(settings), "steps": state.step}
            save_state(output, network, optimizer, average, state)
            save_checkpoint(
                output / CHECKPOINT_FILE, network, provenance=provenance, tensors=average.tensors
            )

    saved_at, began = state.seconds, time.monotonic() - state.seconds
    while (done := _share_done(settings, state)) < 1:
        rate = _learning_rate(settings, state.step, done)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = next(loader)
        output_clip, _ = step_network(_to_signed(batch.low, accelerator.device))
        loss = charbonnier(output_clip, _to_signed(batch.high, accelerator.device))
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(network.parameters(), settings.gradient_clip)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"loss is {value} at step {state.step:,}; the state saved before it is in "
                f"'{output}'. Lower learning_rate ({settings.learning_rate}) and resume"
            )
        optimizer.step()
        average.update(network, state.step)
        state.step += 1
        state.seconds = time.monotonic() - began
        progress(state, value, done)
        if state.seconds - saved_at > settings.checkpoint_minutes * 60:
            save()
            saved_at = state.seconds
    save()
    return output / CHECKPOINT_FILE


def charbonnier(output: Tensor, truth: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2), an L1 that is smooth at zero (Charbonnier 1994)."""
    return torch.sqrt((output.float() - truth) ** 2 + epsilon**2).mean()


def _share_done(settings: PretrainSettings, state: RunState) -> float:
    """Share of the schedule done, by steps or by minutes, whichever is further."""
    by_steps = state.step / settings.max_steps
    if not settings.max_minutes:
        return by_steps
    return max(by_steps, state.seconds / 60 / settings.max_minutes)


def _learning_rate(settings: PretrainSettings, step: int, done: float) -> float:
    """Linear warm-up, then cosine from the peak to `FINAL_RATE` of it."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    warm = min(1.0, (step + 1) / max(settings.warmup_steps, 1))
    return settings.learning_rate * warm * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def _to_signed(clip: Tensor, device: torch.device) -> Tensor:
    """Bring uint8 to float32 in [-1, 1] on the device."""
    return clip.to(device).float() / 127.5 - 1


def _recipe(settings: PretrainSettings) -> dict[str, Any]:
    """The settings as JSON-ready values, without the network, which the checkpoint holds."""
    recipe = {"stage": "pretrain", **asdict(settings)}
    del recipe["network"]
    return recipe
