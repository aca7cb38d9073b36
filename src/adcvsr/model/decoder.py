"""From UNet features to the x4 frame: the light pixel-shuffle decoder and the half VAE decoder.

Both return the frame "packed": (N, 3*s*s, 4H/s, 4W/s) with channels in the order (row, column,
colour). `unpack_frames` turns it into pixels; the exporter turns it into NHWC bytes directly, which
saves one full-resolution transpose.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import SCALE
from .blocks import VAE_EPS, ResnetBlock, SpatialAttention, Upsample, group_norm


def unpack_frames(packed: Tensor, factor: int) -> Tensor:
    """Rearrange (N, 3*s*s, H, W), channels ordered (row, column, colour), to (N, 3, H*s, W*s)."""
    n, _, h, w = packed.shape
    blocks = packed.view(n, factor, factor, 3, h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, 3, h * factor, w * factor)


def pack_frames(frames: Tensor, factor: int) -> Tensor:
    """Undo `unpack_frames`: (N, 3, H*s, W*s) to (N, 3*s*s, H, W)."""
    n, _, h, w = frames.shape
    blocks = frames.view(n, 3, h // factor, factor, w // factor, factor)
    return blocks.permute(0, 3, 5, 1, 2, 4).reshape(n, -1, h // factor, w // factor)


NEAR_ZERO = 0.02
"""Scale of the weights that would disturb the initial interpolation; not zero, so they learn."""


class PixelShuffleDecoder(nn.Module):
    """One 3x3 convolution to all output pixels of a position.

    Args:
        channels: C of the UNet's features.
        unshuffle: The stem's pixel-unshuffle factor u; the packing factor is 4u.
    """

    def __init__(self, channels: int, unshuffle: int) -> None:
        super().__init__()
        self.pack_factor = SCALE * unshuffle
        self.conv_out = nn.Conv2d(channels, 3 * self.pack_factor**2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, h, w) to the packed frame (N, 3*s*s, h, w), nominally in [-1, 1]."""
        out: Tensor = self.conv_out(features)
        return out

    @torch.no_grad()
    def interpolation_init(self, stem: nn.Conv2d, unshuffle: int) -> None:
        """Make the untrained network an interpolation, so that training starts from a picture.

        The stem's first 3*u*u outputs become its inputs; this convolution upscales them as bilinear
        interpolation does (exactly, a 3x3 is enough), and hardly sees the other channels.

        Args:
            stem: The UNet's first convolution, in_channels 3*u*u.
            unshuffle: u.
        """
        lanes = stem.in_channels
        assert stem.bias is not None
        assert self.conv_out.bias is not None
        stem.bias.zero_()
        stem.weight[:lanes].zero_()
        for lane in range(lanes):
            stem.weight[lane, lane, 1, 1] = 1.0
        self.conv_out.bias.zero_()
        self.conv_out.weight.mul_(NEAR_ZERO)
        self.conv_out.weight[:, :lanes] = _interpolation_kernel(unshuffle)


def _interpolation_kernel(unshuffle: int) -> Tensor:
    """Response of x4 interpolation as a 3x3 convolution on pixel-unshuffled input.

    Returns:
        (3*(4u)^2, 3*u*u, 3, 3): output channels ordered as `unpack_frames` reads them, input
        channels as `nn.PixelUnshuffle` writes them.
    """
    size = 9 * unshuffle  # the centre 3x3 positions of a 9x9 grid see no border
    rows = []
    for lane in range(3 * unshuffle**2):
        grid = torch.zeros(1, 3 * unshuffle**2, 9, 9)
        grid[0, lane, 4, 4] = 1.0
        image = F.pixel_shuffle(grid, unshuffle)
        big = F.interpolate(image, size=(size * SCALE,) * 2, mode="bilinear", align_corners=False)
        packed = pack_frames(big, SCALE * unshuffle)[0]  # (3*(4u)^2, 9, 9)
        # Convolution is correlation: the weight at offset d is the response at position -d.
        rows.append(packed[:, 3:6, 3:6].flip(1, 2))
    return torch.stack(rows, 1)


class UpBlock(nn.Module):
    """One level of the VAE decoder: residual blocks, then doubling (not at the finest)."""

    def __init__(self, in_channels: int, out_channels: int, blocks: int, *, upsample: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            ResnetBlock(in_channels if i == 0 else out_channels, out_channels, eps=VAE_EPS)
            for i in range(blocks)
        )
        if upsample:
            self.upsamplers = nn.ModuleList([Upsample(out_channels, out_channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, 2H, 2W), or the same size without doubling."""
        for resnet in self.resnets:
            x = resnet(x)
        if hasattr(self, "upsamplers"):
            x = self.upsamplers[0](x)
        return x


class MidBlock(nn.Module):
    """The VAE decoder's mid block: residual, attention, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, eps=VAE_EPS) for _ in range(2))
        self.attentions = nn.ModuleList([SpatialAttention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        x = self.resnets[0](x)
        x = self.attentions[0](x)
        out: Tensor = self.resnets[1](x)
        return out


class VaeDecoder(nn.Module):
    """The half-width Stable Diffusion VAE decoder, entered at its mid block (AdcSR, model.py).

    Args:
        widths: Channels of the levels, finest first; (64, 128, 256, 256) as published.
    """

    pack_factor = 1

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        reversed_widths = list(reversed(widths))
        self.mid_block = MidBlock(reversed_widths[0])
        inputs = [reversed_widths[0], *reversed_widths[:-1]]
        self.up_blocks = nn.ModuleList(
            UpBlock(c_in, c_out, 3, upsample=i < len(widths) - 1)
            for i, (c_in, c_out) in enumerate(zip(inputs, reversed_widths, strict=True))
        )
        self.conv_norm_out = group_norm(widths[0], VAE_EPS)
        self.conv_act = nn.SiLU()
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map link features (N, C, h, w) to the frame (N, 3, 8h, 8w), nominally in [-1, 1]."""
        x = self.mid_block(features)
        for block in self.up_blocks:
            x = block(x)
        out: Tensor = self.conv_out(self.conv_act(self.conv_norm_out(x)))
        return out
