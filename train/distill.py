"""Stage 1: the student becomes like its teacher in pixels and in mid-block features.

`L = 0.1 * (L1 + DISTS) + 1.0 * L1 of features` (arXiv 2603.00458, equations 1 to 3 without the
adversarial terms). One linear loop; see pretrain.py.

    adcvsr train distill --config paper-distill --start-from imported.safetensors ... -o runs/d
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ..config import AdcVsrConfig
from ..errors import ConfigError
from ..model import AdcVsr
from .dists import Dists, read_dists
from .features import FeatureEncoder, Student, read_feature_encoder
from .flat_colours import flat_clips
from .initial_weights import open_start
from .losses import area_error, chroma_error, frame_difference, l1
from .recompute import recompute_activations
from .run import ADAM_BETAS, Progress, Run
from .run_log import choose_sample
from .run_state import MovingAverage
from .seen import compare_maps, open_eye
from .settings import DistillSettings
from .teaching import OpenTeacher, target_of, to_signed, with_areas_of
from .validation import ValidationData


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Where the frozen networks of the losses lie; None for a term that is left out."""

    dists: Path | None
    """See read_dists."""

    vae: Path | None = None
    """See read_feature_encoder."""

    half_decoder: Path | None = None
    """See read_feature_encoder."""

    efficientnet: Path | None = None
    """See read_efficientnet."""


def distill(
    settings: DistillSettings,
    output: Path,
    *,
    clips: Sequence[Path],
    images: Sequence[Path],
    teacher: OpenTeacher,
    cache: Path | None = None,
    weights: LossWeights,
    start: Path | None = None,
    validation: ValidationData | None = None,
    resume: bool = False,
    report: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Distil a student and write its checkpoint.

    Args:
        settings: The recipe.
        output: Folder of the run.
        clips: Folders of videos.
        images: Folders of images.
        teacher: Makes who to become like, on the device of the run.
        cache: That teacher's cache, whose clips are trained on instead of those of the folders.
        weights: Of the losses' frozen networks.
        start: The checkpoint to start from; None for a new network.
        validation: What the weights are measured on whenever they are saved; None for nothing.
        resume: Continue the run in `output`.
        report: Called with lines to show.
        progress: Called after every step.

    Returns:
        The checkpoint's path.

    Raises:
        ConfigError: The recipe, the student and the given weights do not fit each other.
        TrainingDataError: No usable training data.
        TrainingDivergedError: A loss or gradient is not finite; the last saved state stays.
        CheckpointError: Weights cannot be read, or resuming fails.
        OutputNotWritableError: The disk is full; the last saved state stays.
    """
    with (
        Run(
            "distill",
            settings,
            output,
            resume=resume,
            report=report,
            progress=progress,
            sources={"start": start, **vars(weights)},
            validation=validation,
        ) as run,
        teacher(run.device) as taught_by,
    ):
        run.learn_from(taught_by)
        begun = open_start(settings, start, run.report)
        distance, encoder = open_losses(settings, begun.network.config, weights, run)
        eye = open_eye(settings, weights.efficientnet, run.device)
        average = MovingAverage(begun.network.to(run.device), settings.ema_decay)
        bare = Student(begun.network, features=encoder is not None)
        optimizer = torch.optim.Adam(bare.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS)
        if settings.recompute:
            recompute_activations(bare)
        student, optimizer = run.accelerator.prepare(bare, optimizer)
        run.restore(begun.network, average, {"optimizer": optimizer}, begun.provenance)
        pairs = run.open_pairs(clips, images, cache, grey_share=settings.grey_share)
        loader = run.load(pairs, batch=settings.batch)
        sample = choose_sample(pairs)
        run.begin(sample, target_of(sample, taught_by, run.device))

        weigh_by, last = weights_of(settings), settings.accumulate - 1
        while run.continues():
            run.set_rate(optimizer, settings.learning_rate)
            for part in range(settings.accumulate):
                with run.waiting():
                    batch = next(loader)
                target = target_of(batch, taught_by, run.device)
                with run.sharing(student, now=part == last):
                    frames, features = student(to_signed(batch.low, run.device))
                    with run.accelerator.autocast():
                        truth = to_signed(batch.high, run.device)
                        wanted = want(settings, target, truth)
                        terms = compare(frames, features, wanted, distance, encoder)
                        terms |= compare_flat(settings, student, begun.network, run.device)
                        terms |= compare_maps(settings, eye, frames, wanted.teacher, truth)
                    run.backward(weigh(terms, weigh_by), terms, name="loss")
            run.step(optimizer)
            run.end_step()
        return run.finish()


@dataclass(frozen=True)
class Wanted:
    """What the student's clip is compared with."""

    teacher: Tensor
    """The teacher's frames, (N, T, 3, H, W) in [-1, 1]."""

    truth: Tensor
    """The true ones, likewise."""

    first: int = 0
    """First frame whose pixels count."""

    area_px: int = 0
    """Side of the areas whose mean colours count by themselves; 0 for none."""


def want(settings: DistillSettings, target: Tensor, truth: Tensor) -> Wanted:
    """What the recipe compares with, of the teacher's clip and the true one in [-1, 1]."""
    return Wanted(
        with_areas_of(target, truth, settings.match_px),
        truth,
        settings.first_frame,
        settings.match_px if settings.area_weight else 0,
    )


def compare(
    frames: Tensor,
    features: Tensor | None,
    wanted: Wanted,
    distance: Dists | None,
    encoder: FeatureEncoder | None,
) -> dict[str, Tensor]:
    """The terms of equations 2 and 3 that need no discriminator, and those beside them.

    Args:
        frames: The student's, (N, T, 3, H, W) in [-1, 1].
        features: The student's, (N, T, C, H/8, W/8); None without an encoder.
        wanted: What they are compared with.
        distance: DISTS, frame by frame; None to leave it out.
        encoder: Gives the target's features; None to leave the feature domain out.
    """
    shown, target, truth = (
        clip[:, wanted.first :] for clip in (frames, wanted.teacher, wanted.truth)
    )
    terms = {"pixel": l1(shown, target), "truth": l1(shown, truth)}
    terms["chroma"] = chroma_error(shown, truth)
    if wanted.area_px:
        terms["area"] = area_error(shown, truth, wanted.area_px)
    if shown.shape[1] > 1:
        terms["frame_difference"] = frame_difference(shown, truth)
    if distance is not None:
        pictures = ((clip.flatten(0, 1) + 1) / 2 for clip in (shown, target))
        terms["dists"] = distance(*pictures).mean()
    if encoder is not None and features is not None:
        terms["feature"] = l1(features, encoder(wanted.teacher))
    return terms


def compare_flat(
    settings: DistillSettings, student: nn.Module, network: AdcVsr, device: torch.device
) -> dict[str, Tensor]:
    """The term of flat clips of drawn colours, where the recipe wants it."""
    if not settings.flat_weight:
        return {}
    low, high = flat_clips(network.config.size_multiple, device)
    return {"flat": l1(student(low)[0], high)}


def weights_of(settings: DistillSettings) -> dict[str, float]:
    """Weight of each term of `compare`; those the paper has not are 0 unless a recipe says so."""
    return {
        "pixel": settings.pixel_weight,
        "truth": settings.pixel_weight * settings.truth_weight,
        "chroma": settings.pixel_weight * settings.chroma_weight,
        "area": settings.pixel_weight * settings.area_weight,
        "frame_difference": settings.frame_difference_weight,
        "flat": settings.flat_weight,
        "perceptual": settings.pixel_weight * settings.perceptual_weight,
        "perceptual_truth": settings.pixel_weight * settings.perceptual_truth,
        "dists": settings.pixel_weight * settings.dists_weight,
        "feature": settings.feature_weight,
    }


def weigh(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Equation 1: the terms' weighted sum; a term without weight is measured and no more."""
    parts = [weights[name] * term for name, term in terms.items() if weights[name]]
    return torch.stack(parts).sum()


def open_losses(
    settings: DistillSettings, config: AdcVsrConfig, weights: LossWeights, run: Run
) -> tuple[Dists | None, FeatureEncoder | None]:
    """Read the frozen networks the recipe needs, and say which terms are left out.

    Raises:
        ConfigError: Weights are missing that the recipe needs, or given that it does not use.
    """
    if weights.dists is not None and not settings.dists_weight:
        raise ConfigError("weights for DISTS are given, but the recipe's dists_weight is 0")
    if weights.dists is None and settings.dists_weight:
        run.report("without DISTS: the pixel loss is the L1 alone")
    parts = (weights.vae, weights.half_decoder)
    if not settings.feature_weight:
        if any(parts):
            raise ConfigError(
                "a VAE or half decoder is given, but the recipe's feature_weight is 0"
            )
        run.report("without feature loss, as the recipe says")
    elif config.decoder != "vae":
        raise ConfigError(
            f"feature_weight={settings.feature_weight}: '{config.name}' has no VAE decoder whose "
            "features could be compared; set feature_weight = 0"
        )
    elif weights.vae is None or weights.half_decoder is None:
        raise ConfigError(
            f"feature_weight={settings.feature_weight} needs Stable Diffusion's VAE (--vae) and "
            "the half decoder (--half-decoder); or set feature_weight = 0"
        )
    distance = read_dists(weights.dists).to(run.device) if weights.dists else None
    if weights.vae is None or weights.half_decoder is None:
        return distance, None
    return distance, read_feature_encoder(weights.vae, weights.half_decoder).to(run.device)
