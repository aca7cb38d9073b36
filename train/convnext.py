"""The trunk of an OpenCLIP image tower: ConvNeXt (arXiv 2201.03545), read from its public weights.

Written out here because open_clip and timm need torchvision. Module names are timm's, so weights
load by their own keys, with OpenCLIP's prefix `visual.trunk.` or without.

    trunk = read_convnext(Path("open_clip_pytorch_model.bin"))
    maps = trunk(images)  # (N, 3, H, W) in [-1, 1] -> maps at H/4, H/8, H/16
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import CheckpointError
from ..model.checkpoint import check_tensors
from ..model.published import read_tensors

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""What OpenCLIP's models take their input by, for RGB in [0, 1]."""

STAGES = 3
"""Stages whose maps are used, of four; the last one's are at H/32 and know what, not where."""

XXLARGE_WIDTH, XXLARGE_EPS, EPS = 384, 1e-5, 1e-6
"""timm's LayerNorm epsilons: `convnext_xxlarge` is the one size with another; the files hold none.
"""


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every position over its channels."""
        out: Tensor = super().forward(x.permute(0, 2, 3, 1))
        return out.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linear layers with a GELU between, on (N, H, W, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, 4 * channels)
        self.fc2 = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) to (N, H, W, C)."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class Block(nn.Module):
    """7x7 depthwise convolution, LayerNorm, MLP, layer scale, residual."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=eps)
        self.mlp = Mlp(channels)
        self.gamma = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))
        y = self.mlp(y) * self.gamma
        out: Tensor = x + y.permute(0, 3, 1, 2)
        return out


class Stage(nn.Module):
    """Halving (but in the first stage) and blocks."""

    def __init__(self, in_channels: int, channels: int, depth: int, eps: float) -> None:
        super().__init__()
        if in_channels != channels:
            self.downsample = nn.Sequential(
                LayerNorm2d(in_channels, eps=eps), nn.Conv2d(in_channels, channels, 2, stride=2)
            )
        self.blocks = nn.Sequential(*(Block(channels, eps) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C, H/2, W/2); the first stage keeps the size."""
        x = self.downsample(x) if hasattr(self, "downsample") else x
        out: Tensor = self.blocks(x)
        return out


class ConvNeXt(nn.Module):
    """Stem and stages; gives the map of every stage.

    Args:
        depths: Blocks of each stage.
        widths: Channels of each stage.
        eps: LayerNorm epsilon.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, depths: Sequence[int], widths: Sequence[int], *, eps: float) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 4, stride=4), LayerNorm2d(widths[0], eps=eps)
        )
        inputs = [widths[0], *widths[:-1]]
        self.stages = nn.ModuleList(
            Stage(c_in, c, depth, eps)
            for c_in, c, depth in zip(inputs, widths, depths, strict=True)
        )
        for name, values in (("mean", CLIP_MEAN), ("std", CLIP_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) in [-1, 1] to (N, C, H/4, W/4), (N, 2C, H/8, W/8) and so on."""
        x = self.stem(((images + 1) / 2 - self.mean) / self.std)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


def read_convnext(path: Path, stages: int = STAGES) -> ConvNeXt:
    """Read the first stages of a ConvNeXt of any size; depths and widths follow from the tensors.

    Args:
        path: OpenCLIP's or timm's weights, safetensors or pickle (in which no code is run).
        stages: Stages to build; the others are left out.

    Returns:
        The trunk, frozen, in float32 on the CPU.

    Raises:
        CheckpointError: The file cannot be read or holds no such trunk.
    """
    tensors = _trunk_tensors(path, stages)
    widths = [
        tensors[f"stages.{i}.blocks.0.conv_dw.weight"].shape[0]
        for i in range(stages)
        if f"stages.{i}.blocks.0.conv_dw.weight" in tensors
    ]
    depths = [_count_blocks(tensors, i) for i in range(len(widths))]
    if not widths:
        raise CheckpointError(
            f"'{path}' holds no blocks such as stages.0.blocks.0.conv_dw; expected a ConvNeXt"
        )
    eps = XXLARGE_EPS if widths[0] == XXLARGE_WIDTH else EPS
    trunk = ConvNeXt(depths, widths, eps=eps)
    check_tensors(tensors, trunk.state_dict(), source=str(path))
    trunk.load_state_dict({key: value.float() for key, value in tensors.items()})
    return trunk.requires_grad_(False).eval()


def _trunk_tensors(path: Path, stages: int) -> dict[str, Tensor]:
    """The stem's and first stages' tensors under timm's names."""
    found = read_tensors(path)
    stem = next((key for key in found if key.endswith("stem.0.weight")), None)
    if stem is None:
        raise CheckpointError(
            f"'{path}' holds no stem.0.weight; expected the weights of an OpenCLIP ConvNeXt model"
        )
    prefix = stem.removesuffix("stem.0.weight")
    wanted = ("stem.", *(f"stages.{i}." for i in range(stages)))
    own = {k.removeprefix(prefix): v for k, v in found.items() if k.startswith(prefix)}
    return {key: value for key, value in own.items() if key.startswith(wanted)}


def _count_blocks(tensors: Mapping[str, Tensor], stage: int) -> int:
    found = {
        int(match[1])
        for key in tensors
        if (match := re.match(rf"stages\.{stage}\.blocks\.(\d+)\.", key))
    }
    return max(found) + 1
