"""Pretraining: a student learns x4 from clips and images by pixel loss alone.

One linear loop on Accelerate: CPU, one GPU, or several with `accelerate launch` or `torchrun`.

    adcvsr train pretrain --config nano --clips FOLDER --images FOLDER -o runs/nano
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from .flat_colours import flat_clips
from .initial_weights import open_start
from .losses import PIXEL_LOSSES, frame_difference
from .recompute import recompute_activations
from .run import ADAM_BETAS, Progress, Run
from .run_log import choose_sample
from .run_state import MovingAverage
from .settings import PretrainSettings
from .teaching import to_signed
from .validation import ValidationData


def pretrain(
    settings: PretrainSettings,
    output: Path,
    *,
    clips: Sequence[Path],
    images: Sequence[Path],
    start: Path | None = None,
    validation: ValidationData | None = None,
    resume: bool = False,
    report: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Train a student and write its checkpoint.

    Args:
        settings: The recipe.
        output: Folder of the run; its checkpoint and state are replaced atomically.
        clips: Folders of videos.
        images: Folders of images.
        start: A checkpoint to start from instead of an interpolation.
        validation: What the weights are measured on whenever they are saved; None for nothing.
        resume: Continue the run in `output` instead of starting one.
        report: Called with lines to show.
        progress: Called after every step.

    Returns:
        The checkpoint's path.

    Raises:
        ConfigError: The recipe contradicts itself or the checkpoint.
        TrainingDataError: No usable training data.
        TrainingDivergedError: A loss or gradient is not finite; the last saved state stays.
        CheckpointError: Resuming and there is no state, or of another network.
        OutputNotWritableError: The disk is full; the last saved state stays.
    """
    with Run(
        "pretrain",
        settings,
        output,
        resume=resume,
        report=report,
        progress=progress,
        sources={"start": start},
        validation=validation,
    ) as run:
        begun = open_start(settings, start, run.report)
        average = MovingAverage(begun.network.to(run.device), settings.ema_decay)
        optimizer = torch.optim.Adam(
            begun.network.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS
        )
        if settings.recompute:
            recompute_activations(begun.network)
        network, optimizer = run.accelerator.prepare(begun.network, optimizer)
        run.restore(begun.network, average, {"optimizer": optimizer}, begun.provenance)
        forward = torch.compile(network, dynamic=False) if settings.compile else network
        pairs = run.open_pairs(clips, images)
        loader = run.load(pairs, batch=settings.batch)
        last = settings.accumulate - 1
        pixel_loss = PIXEL_LOSSES[settings.loss]
        sample = choose_sample(pairs)
        run.begin(sample, to_signed(sample.high, run.device))

        while run.continues():
            run.set_rate(optimizer, settings.learning_rate)
            for part in range(settings.accumulate):
                with run.waiting():
                    batch = next(loader)
                low, truth = (to_signed(clip, run.device) for clip in (batch.low, batch.high))
                with run.sharing(network, now=part == last):
                    output_clip, _ = forward(low)
                    output_clip, truth = (
                        clip[:, settings.first_frame :] for clip in (output_clip, truth)
                    )
                    terms = {"pixel": pixel_loss(output_clip, truth)}
                    loss = terms["pixel"]
                    if settings.frame_difference_weight:
                        terms["frame_difference"] = frame_difference(output_clip, truth)
                        loss = loss + settings.frame_difference_weight * terms["frame_difference"]
                    if settings.flat_weight:
                        flat, colours = flat_clips(begun.network.config.size_multiple, run.device)
                        terms["flat"] = pixel_loss(forward(flat)[0], colours)
                        loss = loss + settings.flat_weight * terms["flat"]
                    run.backward(loss, terms, name="loss")
            run.step(optimizer)
            run.end_step()
        return run.finish()
