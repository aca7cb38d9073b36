"""The pruned UNet: levels of residual, transformer and temporal blocks with skips.

Module paths are those of diffusers' UNet2DConditionModel (`down_blocks.0.resnets.1` and so on);
temporal blocks stand beside what they follow, as `temporal_resnets` and `temporal_attentions`.
"""

from __future__ import annotations

from torch import Tensor, cat, nn

from ..config import AdcVsrConfig
from .blocks import UNET_EPS, Downsample, ResnetBlock, Transformer2D, Upsample, group_norm
from .temporal import StateFlow, TemporalBlock


class UNetLevel(nn.Module):
    """Residual blocks of one level, each with its transformer and temporal blocks, then resampling.

    Args:
        config: The network's config.
        path: Module path in the UNet, such as `down_blocks.0`; names temporal sites.
        in_channels: C of each residual block's input, one a block (skips included).
        level: Index of the level, 0 the finest.
        attention: Whether each residual block is followed by a transformer block.
        resample: Module stored as `downsamplers.0` or `upsamplers.0`, applied by the UNet.
    """

    def __init__(
        self,
        config: AdcVsrConfig,
        path: str,
        in_channels: list[int],
        *,
        level: int,
        attention: int,
        resample: nn.Module | None = None,
    ) -> None:
        super().__init__()
        width = config.widths[level]
        divisor = config.unshuffle * 2**level
        self.resnets = nn.ModuleList(
            ResnetBlock(c, width, norm=config.norm, activation=config.activation)
            for c in in_channels
        )
        self.attentions = nn.ModuleList(
            Transformer2D(width, config.attention_heads[level]) for _ in range(attention)
        )
        if isinstance(resample, Downsample):
            self.downsamplers = nn.ModuleList([resample])
        elif isinstance(resample, Upsample):
            self.upsamplers = nn.ModuleList([resample])

        def temporal(kind: str, count: int) -> nn.ModuleDict:
            sites = {str(i): f"{path}.{kind}.{i}" for i in range(count)}
            return nn.ModuleDict(
                {
                    index: TemporalBlock(
                        width,
                        kernel=config.temporal_kernel,
                        convs=config.temporal_convs,
                        causal=config.causal,
                        site=site,
                        divisor=divisor,
                        side=config.temporal_side,
                        recurrent=config.temporal_past == "recurrent",
                    )
                    for index, site in sites.items()
                    if config.temporal_sites == "all" or site in config.temporal_sites
                }
            )

        self.temporal_resnets = temporal("resnets", len(in_channels))
        self.temporal_attentions = temporal("attentions", attention)

    def block(self, index: int, x: Tensor, flow: StateFlow) -> Tensor:
        """Run residual block `index` with the transformer and temporal blocks that follow it."""
        return self.attend(index, self.residual(index, x, flow), flow)

    def residual(self, index: int, x: Tensor, flow: StateFlow) -> Tensor:
        """Run residual block `index` and its temporal block."""
        x = self.resnets[index](x)
        if str(index) in self.temporal_resnets:
            x = self.temporal_resnets[str(index)](x, flow)
        return x

    def attend(self, index: int, x: Tensor, flow: StateFlow) -> Tensor:
        """Run transformer block `index`, where there is one, and its temporal block."""
        if index < len(self.attentions):
            x = self.attentions[index](x)
            if str(index) in self.temporal_attentions:
                x = self.temporal_attentions[str(index)](x, flow)
        return x


class UNet(nn.Module):
    """Stem convolution, way down, middle, way up, and the link convolution of a VAE decoder.

    Args:
        config: The network's config.
        link_channels: C of the link to a VAE decoder; None leaves the finest level's features.
    """

    def __init__(self, config: AdcVsrConfig, link_channels: int | None) -> None:
        super().__init__()
        self.skip = config.skip
        widths, levels = config.widths, len(config.widths)
        self.conv_in = nn.Conv2d(3 * config.unshuffle**2, widths[0], 3, padding=1)

        skips = [widths[0]]  # channels of each tensor a `concat` way up takes
        channels = widths[0]
        self.down_blocks = nn.ModuleList()
        for level in range(levels):
            count, last = config.down_blocks[level], level == levels - 1
            # SD halves at constant width; the light presets widen in the same convolution.
            wide = widths[level] if config.skip == "concat" or last else widths[level + 1]
            self.down_blocks.append(
                UNetLevel(
                    config,
                    f"down_blocks.{level}",
                    [channels, *[widths[level]] * (count - 1)][:count],
                    level=level,
                    attention=count if level in config.attention_levels else 0,
                    resample=None if last else Downsample(widths[level], wide),
                )
            )
            channels = widths[level] if last else wide
            skips += [widths[level]] * count + ([] if last else [wide])

        if config.mid_blocks:
            self.mid_block = UNetLevel(
                config,
                "mid_block",
                [widths[-1]] * config.mid_blocks,
                level=levels - 1,
                attention=int(config.mid_attention),
            )

        self.up_blocks = nn.ModuleList()
        for index, level in enumerate(reversed(range(levels))):
            inputs = []
            for _ in range(config.up_blocks[level]):
                inputs.append(channels + (skips.pop() if config.skip == "concat" else 0))
                channels = widths[level]
            wide = widths[level] if config.skip == "concat" or level == 0 else widths[level - 1]
            self.up_blocks.append(
                UNetLevel(
                    config,
                    f"up_blocks.{index}",
                    inputs,
                    level=level,
                    attention=len(inputs) if level in config.attention_levels else 0,
                    resample=None if level == 0 else Upsample(channels, wide),
                )
            )
            channels = wide

        self.out_channels = link_channels or channels
        """C of the features."""
        if link_channels is not None:
            self.conv_norm_out = group_norm(channels, UNET_EPS)
            self.conv_out = nn.Conv2d(channels, link_channels, 3, padding=1)
            self.act = nn.SiLU()

    def forward(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Map (N*T, 3*u*u, H/u, W/u) to features (N*T, C, H/u, W/u)."""
        x = self.conv_in(x)
        skips = [x]
        x = self._way_down(x, flow, skips)
        if hasattr(self, "mid_block"):
            x = self._middle(x, flow)
        x = self._way_up(x, flow, skips)
        if self.skip == "add":
            x = x + skips.pop()  # around the whole body
        if hasattr(self, "conv_out"):
            x = self.conv_out(self.act(self.conv_norm_out(x)))
        return x

    def _way_down(self, x: Tensor, flow: StateFlow, skips: list[Tensor]) -> Tensor:
        """Run the down blocks; `concat` keeps every tensor, `add` one before each halving."""
        concat, add = self.skip == "concat", self.skip == "add"
        for level in self.down_blocks:
            assert isinstance(level, UNetLevel)
            for index in range(len(level.resnets)):
                x = level.block(index, x, flow)
                if concat:
                    skips.append(x)
            if hasattr(level, "downsamplers"):
                if add:
                    skips.append(x)
                x = level.downsamplers[0](x)
                if concat:
                    skips.append(x)
        return x

    def _way_up(self, x: Tensor, flow: StateFlow, skips: list[Tensor]) -> Tensor:
        """Run the up blocks, taking the skips back last in, first out."""
        for level in self.up_blocks:
            assert isinstance(level, UNetLevel)
            for index in range(len(level.resnets)):
                if self.skip == "concat":
                    x = cat([x, skips.pop()], 1)
                x = level.block(index, x, flow)
            if hasattr(level, "upsamplers"):
                x = level.upsamplers[0](x)
                if self.skip == "add":
                    x = x + skips.pop()
        return x

    def _middle(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Residual, attention, residual, as SD's mid block orders them."""
        level = self.mid_block
        for index in range(len(level.resnets)):
            if index:
                x = level.attend(index - 1, x, flow)
            x = level.residual(index, x, flow)
        return x
