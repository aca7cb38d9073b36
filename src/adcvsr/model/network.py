"""The whole network: pixel-unshuffle, UNet, decoder; frames and state in, frames and state out."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from ..config import AdcVsrConfig
from ..errors import ConfigError
from .blocks import ResnetBlock
from .decoder import PixelShuffleDecoder, VaeDecoder, unpack_frames
from .temporal import StateFlow, TemporalConv
from .unet import UNet


class AdcVsr(nn.Module):
    """One network of any size, as its config says.

    A causal network is a pure function `(frames, state) -> (frames, state)`: a clip whole, frame by
    frame or in any chunks gives the same result, and state None means "no past".

    Args:
        config: What to build.

    Raises:
        ConfigError: A temporal site names no block of this network.
    """

    def __init__(self, config: AdcVsrConfig) -> None:
        super().__init__()
        self.config = config
        self.decoder: PixelShuffleDecoder | VaeDecoder
        if config.decoder == "vae":
            self.unet = UNet(config, link_channels=config.decoder_widths[-1])
            self.decoder = VaeDecoder(config.decoder_widths)
        else:
            self.unet = UNet(config, link_channels=None)
            self.decoder = PixelShuffleDecoder(config.widths[0], config.unshuffle)
        self._check_sites()

    def _check_sites(self) -> None:
        if self.config.temporal_sites == "all":
            return
        built = {path.rsplit(".", 1)[0] for path, _ in self._temporal_convs()}
        wanted = {
            site.replace("resnets", "temporal_resnets") for site in self.config.temporal_sites
        }
        wanted = {site.replace("attentions", "temporal_attentions") for site in wanted}
        if wanted != built:
            unknown = sorted(wanted - built)
            raise ConfigError(
                f"config '{self.config.name}': temporal_sites name no block of this network: "
                f"{', '.join(unknown)}; blocks look like down_blocks.0.resnets.1"
            )

    def _temporal_convs(self) -> list[tuple[str, TemporalConv]]:
        return [(p, m) for p, m in self.unet.named_modules() if isinstance(m, TemporalConv)]

    def state_shapes(self, height: int, width: int) -> dict[str, tuple[int, int, int]]:
        """Shapes (C, H, W) of the carried state for an input of the given size, by state name.

        Args:
            height: Input height in pixels, a multiple of `config.size_multiple`.
            width: Input width, likewise.
        """
        return {
            name: (channels, height // divisor, width // divisor)
            for name, (channels, divisor) in self.state_divisors().items()
        }

    def state_divisors(self) -> dict[str, tuple[int, int]]:
        """Channels and size divisor of each state tensor, by state name."""
        if not self.config.causal:
            return {}
        return {c.state_name: (c.state_channels, c.divisor) for _, c in self._temporal_convs()}

    def start_as_interpolation(self) -> None:
        """Initialise a pixel-shuffle network as plain interpolation, so training starts from it.

        Residual blocks start as identity (their last convolution at a tenth), the decoder as the
        upscaling of the stem's copy of the input. VAE decoders keep their random start.
        """
        if not isinstance(self.decoder, PixelShuffleDecoder):
            return
        for module in self.unet.modules():
            if isinstance(module, ResnetBlock):
                module.conv2.weight.data.mul_(0.1)
        self.decoder.interpolation_init(self.unet.conv_in, self.config.unshuffle)

    def features(self, frames: Tensor, flow: StateFlow) -> Tensor:
        """Run the network up to its decoder; only this part couples frames.

        Args:
            frames: (N*T, 3, H, W) in [-1, 1].
            flow: T and the carried state.

        Returns:
            (N*T, `feature_channels`, H/u, W/u) with u the stem's unshuffle factor.
        """
        if self.config.unshuffle > 1:
            frames = F.pixel_unshuffle(frames, self.config.unshuffle)
        out: Tensor = self.unet(frames, flow)
        return out

    @property
    def feature_channels(self) -> int:
        """C of `features`."""
        return self.unet.out_channels

    def forward_packed(self, frames: Tensor, flow: StateFlow) -> Tensor:
        """Run the network on frames as batch.

        Args:
            frames: (N*T, 3, H, W) in [-1, 1].
            flow: T and the carried state.

        Returns:
            (N*T, 3*s*s, 4H/s, 4W/s) with s the decoder's pack factor, not clamped.
        """
        out: Tensor = self.decoder(self.features(frames, flow))
        return out

    def forward(
        self, clip: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Upscale a clip.

        Args:
            clip: (N, T, 3, H, W) float in [-1, 1]; H, W multiples of `config.size_multiple`.
            state: What the previous call returned, or None for no past. Not causal: must be None.

        Returns:
            The upscaled clip (N, T, 3, 4H, 4W), not clamped, and the state after its last frame
            (empty when not causal).

        Raises:
            ConfigError: The size is no multiple, or state was given to a network without causality.
        """
        n, frames, _, height, width = clip.shape
        multiple = self.config.size_multiple
        if height % multiple or width % multiple:
            raise ConfigError(
                f"input of {width}x{height} pixels, expected multiples of {multiple} "
                f"for '{self.config.name}'; pad by edge replication and crop the output"
            )
        if state is not None and not self.config.causal:
            raise ConfigError(
                f"'{self.config.name}' is not causal and carries no state; pass the whole clip"
            )
        flow = StateFlow(frames, state)
        packed = self.forward_packed(clip.flatten(0, 1), flow)
        out = unpack_frames(packed, self.decoder.pack_factor)
        return out.view(n, frames, *out.shape[1:]), flow.next
