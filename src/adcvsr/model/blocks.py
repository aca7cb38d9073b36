"""The 2D building blocks: residual block, self-attention transformer block, resampling.

Attribute names are those of diffusers, so that Stable Diffusion and AdcSR checkpoints keep their
keys. What AdcSR removed is not here: no text, no time embedding, no cross-attention.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

UNET_EPS = 1e-5
"""GroupNorm epsilon of the SD UNet's residual blocks and output norm."""

VAE_EPS = 1e-6
"""GroupNorm epsilon of the SD VAE and of the UNet's transformer input norm."""


GROUP_COUNTS = (32, 24, 16, 12, 8, 6, 4, 2, 1)
"""Tried in this order, as AdcSR's pruning does."""


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """GroupNorm with the published group counts: 32 where that divides, 24 for 240 and 720."""
    groups = next(g for g in GROUP_COUNTS if channels % g == 0)
    return nn.GroupNorm(groups, channels, eps=eps)


class ResnetBlock(nn.Module):
    """Residual block of two 3x3 convolutions.

    With GroupNorm it is SD's: `norm, act, conv, norm, act, conv`. Without norms the leading
    activation goes too, `conv, act, conv` (EDSR, arXiv 1707.02921): an activation on the
    shortcut's source costs a full pass over memory and cannot be fused.

    Args:
        in_channels: C of the input.
        out_channels: C of the output; a 1x1 shortcut convolution adapts where they differ.
        norm: `group` or `none`.
        activation: `silu` or `relu`.
        eps: GroupNorm epsilon.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        norm: str = "group",
        activation: str = "silu",
        eps: float = UNET_EPS,
    ) -> None:
        super().__init__()
        self.normed = norm == "group"
        self.act = nn.SiLU() if activation == "silu" else nn.ReLU()
        if self.normed:
            self.norm1 = group_norm(in_channels, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if self.normed:
            self.norm2 = group_norm(out_channels, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H, W)."""
        y = self.act(self.norm1(x)) if self.normed else x
        y = self.conv1(y)
        y = self.act(self.norm2(y)) if self.normed else self.act(y)
        y = self.conv2(y)
        shortcut = self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x
        out: Tensor = shortcut + y
        return out


class Attention(nn.Module):
    """Multi-head self-attention over tokens (N, L, C).

    Args:
        channels: C; the head dimension is C / heads (48 in the pruned UNet), which also sets the
            scale 1/sqrt(C / heads).
        heads: Number of heads.
        bias: Whether query, key and value have biases (the VAE's do, the UNet's do not).
    """

    def __init__(self, channels: int, heads: int, *, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, channels, bias=bias)
        self.to_k = nn.Linear(channels, channels, bias=bias)
        self.to_v = nn.Linear(channels, channels, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend: (N, L, C) -> (N, L, C)."""
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (N, heads, L, C/heads)
            for layer in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out[0](mixed.transpose(1, 2).flatten(2))
        return out


class SpatialAttention(nn.Module):
    """The VAE mid block's attention: GroupNorm, one head, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = group_norm(channels, VAE_EPS)
        attention = Attention(channels, 1, bias=True)
        # The published keys hold the projections beside the norm, without a level between.
        self.to_q, self.to_k, self.to_v = attention.to_q, attention.to_k, attention.to_v
        self.to_out = attention.to_out

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (N, H*W, C)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)
        mixed = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        out: Tensor = x + self.to_out[0](mixed).transpose(1, 2).reshape(x.shape)
        return out


class FeedForward(nn.Module):
    """GEGLU feed-forward of the transformer block: C -> 2 x 4C -> C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [GEGLU(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels)]
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, L, C) to (N, L, C)."""
        out: Tensor = self.net[2](self.net[0](tokens))
        return out


class GEGLU(nn.Module):
    """`value * gelu(gate)` of one projection (arXiv 2002.05202)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, L, C) to (N, L, inner)."""
        value, gate = self.proj(tokens).chunk(2, -1)
        out: Tensor = value * F.gelu(gate)
        return out


class SelfTransformerBlock(nn.Module):
    """SD's BasicTransformerBlock without its cross-attention (`attn2`, `norm2`)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(channels, heads, bias=False)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (N, L, C) to (N, L, C)."""
        tokens = tokens + self.attn1(self.norm1(tokens))
        out: Tensor = tokens + self.ff(self.norm3(tokens))
        return out


class Transformer2D(nn.Module):
    """SD's Transformer2DModel: GroupNorm, tokens, linear in, one block, linear out, residual."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, VAE_EPS)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([SelfTransformerBlock(channels, heads)])
        self.proj_out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H, W)."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (N, H*W, C)
        tokens = self.transformer_blocks[0](self.proj_in(tokens))
        out: Tensor = x + self.proj_out(tokens).transpose(1, 2).reshape(x.shape)
        return out


class Downsample(nn.Module):
    """Halve height and width by a strided 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, H/2, W/2)."""
        out: Tensor = self.conv(x)
        return out


class Upsample(nn.Module):
    """Double height and width by nearest neighbour, then a 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C_in, H, W) to (N, C_out, 2H, 2W)."""
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out
