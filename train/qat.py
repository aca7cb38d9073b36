"""The last stage: weights that lose less by INT8 on CPUs (quantization-aware training).

The student runs as its INT8 variant rounds it and becomes like what it was in float itself, in its
pictures and in how they change from frame to frame: Jacob et al. 2018 (arXiv 1712.05877), with the
float network as the teacher. Where nothing moves, its flicker is left out of what is aimed at. Some
steps round nothing, so that FP32 stays what it was as well.

    adcvsr train qat --config qat --start-from small --rounded-as small ... -o runs/qat
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from ..bundle import Bundle
from .distill import weigh
from .flat_colours import flat_clips
from .initial_weights import open_start
from .losses import mse
from .recompute import recompute_activations
from .rounding import RoundedStreams, read_roundings
from .run import ADAM_BETAS, Progress, Run
from .run_log import choose_sample
from .run_state import MovingAverage
from .settings import QatSettings
from .teaching import to_signed
from .validation import ValidationData

LEVELS = 127.5
"""Of one unit of the network's pictures: the losses are in squared levels, where a step of eight
bits is about 1."""


def qat(
    settings: QatSettings,
    output: Path,
    *,
    clips: Sequence[Path],
    images: Sequence[Path],
    start: Path,
    rounded_as: Bundle,
    validation: ValidationData | None = None,
    resume: bool = False,
    report: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Train a student with the rounding of its INT8 variant and write its checkpoint.

    Args:
        settings: The recipe.
        output: Folder of the run; its checkpoint and state are replaced atomically.
        clips: Folders of videos.
        images: Folders of images.
        start: The student's checkpoint; what it does in float is what is aimed at.
        rounded_as: A bundle of it with `int8-ort`, whose rounding is trained with.
        validation: What the weights, rounded, are measured on whenever they are saved; None for
            nothing.
        resume: Continue the run in `output` instead of starting one.
        report: Called with lines to show.
        progress: Called after every step.

    Returns:
        The checkpoint's path.

    Raises:
        ConfigError: The recipe, the checkpoint and the bundle do not fit each other.
        BundleError: A file of the bundle is damaged.
        TrainingDataError: No usable training data.
        TrainingDivergedError: A loss or gradient is not finite; the last saved state stays.
        CheckpointError: Resuming and there is no state, or of another network.
        OutputNotWritableError: The disk is full; the last saved state stays.
    """
    with Run(
        "qat",
        settings,
        output,
        resume=resume,
        report=report,
        progress=progress,
        sources={"start": start, "rounded_as": rounded_as.path},
        validation=validation,
    ) as run:
        begun = open_start(settings, start, run.report)
        wanted = copy.deepcopy(begun.network).eval().requires_grad_(False).to(run.device)
        average = MovingAverage(begun.network.to(run.device), settings.ema_decay)
        roundings = read_roundings(rounded_as, begun.network, run.device)
        run.report(f"{len(roundings)} convolutions round as '{rounded_as.name}' does in INT8")
        streams = RoundedStreams(begun.network, roundings)
        optimizer = torch.optim.Adam(
            begun.network.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS
        )
        if settings.recompute:
            recompute_activations(begun.network)
        student, optimizer = run.accelerator.prepare(begun.network, optimizer)
        run.restore(begun.network, average, {"optimizer": optimizer}, begun.provenance)
        pairs = run.open_pairs(clips, images)
        loader = run.load(pairs, batch=settings.batch)
        sample = choose_sample(pairs)
        run.begin(sample, to_signed(sample.high, run.device))

        weigh_by, last = weights_of(settings), settings.accumulate - 1
        while run.continues():
            run.set_rate(optimizer, settings.learning_rate)
            rounds = (run.state.step + 1) % settings.exact_every != 0
            for part in range(settings.accumulate):
                with run.waiting():
                    batch = next(loader)
                low = to_signed(batch.low, run.device)
                with torch.no_grad():
                    target = steady(wanted(low)[0], batch.high)
                with (
                    run.sharing(student, now=part == last),
                    nullcontext() if rounds else streams.exact(),
                ):
                    terms = compare(settings, student(low)[0], target)
                    if settings.flat_weight:
                        flat, _ = flat_clips(begun.network.config.size_multiple, run.device)
                        with torch.no_grad():
                            flat_target = wanted(flat)[0]
                        terms["flat"] = LEVELS**2 * mse(student(flat)[0], flat_target)
                    run.backward(weigh(terms, weigh_by), terms, name="loss")
            run.step(optimizer)
            run.end_step()
        return run.finish()


def steady(target: Tensor, truth: Tensor) -> Tensor:
    """The target without its own flicker where nothing moves: the mean over its frames.

    Args:
        target: Clips (N, T, 3, H, W).
        truth: The true ones, (N, T, 3, H, W) on any device; those whose frames are all the same
            stand still.
    """
    still = (truth == truth[:, :1]).flatten(1).all(1).to(target.device)
    mean = target.mean(1, keepdim=True).expand_as(target)
    return torch.where(still[:, None, None, None, None], mean, target)


def compare(settings: QatSettings, frames: Tensor, target: Tensor) -> dict[str, Tensor]:
    """How far a clip (N, T, 3, H, W) in [-1, 1] is from what it is to be, in squared levels.

    `pixel` is that of the pictures, `frame_difference` of their changes from frame to frame, in
    which the rounding of a part that stands still shows.
    """
    shown, wanted = (clip[:, settings.first_frame :] for clip in (frames, target))
    terms = {"pixel": LEVELS**2 * mse(shown, wanted)}
    if settings.frame_difference_weight:
        terms["frame_difference"] = LEVELS**2 * mse(shown.diff(dim=1), wanted.diff(dim=1))
    return terms


def weights_of(settings: QatSettings) -> dict[str, float]:
    """Weight of each term, beside that of the pictures."""
    return {
        "pixel": 1.0,
        "frame_difference": settings.frame_difference_weight,
        "flat": settings.flat_weight,
    }
