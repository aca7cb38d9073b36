"""The two discriminators with two heads each (arXiv 2603.00458, section 3.2).

A backbone, three alternating 2D and 1D convolutions, and two 1x1 heads: "detail" judges how frames
look, "consistency" how they follow each other. Each head gives maps, not one number.

    verdicts = Discriminators(pixel, feature)(frames, features)
    verdicts["pixel"].detail  # (N, T, 192, h, w)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..model.temporal import StateFlow, TemporalConv
from ..model.unet import UNet
from .convnext import ConvNeXt
from .efficientnet import EfficientNetLite

TAIL_CHANNELS, DETAIL_CHANNELS, CONSISTENCY_CHANNELS = 256, 192, 64
"""As published; 192 to 64 is how much detail and consistency count."""

SMALL_WIDTHS, SMALL_TAIL_CHANNELS = (32, 64, 128), 64
"""Channels of the small backbone, each at half the size of the one before, and of its tail: an
eighth of the work, so that a CPU can train against it. The heads stay as they are."""

SLOPE = 0.2
"""Of the leaky rectifiers, the common choice for discriminators."""


class Verdict(NamedTuple):
    """What a discriminator says of a clip; higher is more real."""

    detail: Tensor
    """(N, T, 192, h, w)."""

    consistency: Tensor
    """(N, T, 64, h, w)."""


class Tail(nn.Module):
    """A 2D, a 1D and a 2D convolution, then the heads.

    The first convolution takes maps of several sizes: each has its own, and the results meet at the
    finest size. Kernel 3 and no causality: a discriminator judges whole clips.

    Args:
        channels: C of each map of the backbone, finest first.
        width: C of the three convolutions.
    """

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(nn.Conv2d(c, width, 3, padding=1) for c in channels)
        self.temporal = TemporalConv(width, kernel=3, causal=False, site="tail", divisor=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.detail = nn.Conv2d(width, DETAIL_CHANNELS, 1)
        self.consistency = nn.Conv2d(width, CONSISTENCY_CHANNELS, 1)

    def forward(self, maps: Sequence[Tensor], frames: int) -> Verdict:
        """Judge the maps (N*T, C, h, w) of clips of T frames."""
        size = maps[0].shape[-2:]
        x = self.first[0](maps[0])
        for conv, coarse in zip(list(self.first)[1:], maps[1:], strict=True):
            x = x + F.interpolate(conv(coarse), size, mode="bilinear", align_corners=False)
        x = self.temporal(F.leaky_relu(x, SLOPE), StateFlow(frames))
        x = F.leaky_relu(self.last(F.leaky_relu(x, SLOPE)), SLOPE)
        detail, consistency = (
            head(x).unflatten(0, (-1, frames)) for head in (self.detail, self.consistency)
        )
        return Verdict(detail, consistency)


class SmallBackbone(nn.Module):
    """Three strided convolutions trained along, for machines without the ConvNeXt's weights.

    Spectral norm (arXiv 1802.05957) keeps it from running ahead of the student.
    """

    widths = SMALL_WIDTHS[-1:]
    """As ConvNeXt's: C of the maps it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            spectral_norm(nn.Conv2d(c_in, c_out, 3, stride=2, padding=1))
            for c_in, c_out in zip((3, *SMALL_WIDTHS[:-1]), SMALL_WIDTHS, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) in [-1, 1] to one map (N, 128, H/8, W/8)."""
        x = images
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
        return [x]


class PixelDiscriminator(nn.Module):
    """Judges frames.

    Args:
        backbone: Gives maps of (N, 3, H, W) in [-1, 1]; a frozen one stays frozen.
    """

    def __init__(self, backbone: ConvNeXt | EfficientNetLite | SmallBackbone) -> None:
        super().__init__()
        self.backbone = backbone
        large = isinstance(backbone, ConvNeXt)
        self.tail = Tail(backbone.widths, TAIL_CHANNELS if large else SMALL_TAIL_CHANNELS)

    def forward(self, clip: Tensor) -> Verdict:
        """Judge clips (N, T, 3, H, W) in [-1, 1]."""
        verdict: Verdict = self.tail(self.backbone(clip.flatten(0, 1)), clip.shape[1])
        return verdict


class FeatureDiscriminator(nn.Module):
    """Judges mid-block features with a frozen copy of the starting student's UNet.

    Only its first convolution is new, since it takes features instead of pictures.

    Args:
        unet: The UNet to copy, with a link convolution to a VAE decoder.
        channels: C of the features.
    """

    def __init__(self, unet: UNet, channels: int) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(unet).requires_grad_(False)
        self.backbone.conv_in = nn.Conv2d(channels, unet.conv_in.out_channels, 3, padding=1)
        self.tail = Tail([unet.conv_out.out_channels], TAIL_CHANNELS)

    def forward(self, features: Tensor) -> Verdict:
        """Judge features (N, T, C, h, w)."""
        frames = features.shape[1]
        maps = self.backbone(features.flatten(0, 1), StateFlow(frames))
        verdict: Verdict = self.tail([maps], frames)
        return verdict


class Discriminators(nn.Module):
    """Both discriminators as one module, so that several processes exchange gradients once."""

    def __init__(self, pixel: PixelDiscriminator, feature: FeatureDiscriminator | None) -> None:
        super().__init__()
        self.pixel, self.feature = pixel, feature
        # Taken once: `held` switches the flags, and frozen weights stay out of checkpoints.
        self.trained = {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, frames: Tensor, features: Tensor | None) -> dict[str, Verdict]:
        """Judge clips (N, T, 3, H, W) in [-1, 1] and their features (N, T, C, h, w)."""
        verdicts = {"pixel": self.pixel(frames)}
        if self.feature is not None:
            verdicts["feature"] = self.feature(features)
        return verdicts

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let gradients pass to the student and reach no weight here."""
        for parameter in self.trained.values():
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.trained.values():
                parameter.requires_grad_(True)
