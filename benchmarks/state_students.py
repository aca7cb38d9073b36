"""The students of `state_ablation.py`, with states that the product's network does not know.

    network = students(PRESETS["nano"])["recurrent 3x3, gated"].build()

Each takes a network without a state and computes the same until it has been trained. They keep its
contract, `(clip, state) -> (out, state)`, and gradients go through the whole clip. They are not
exported: an idea has to win before the product learns it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adcvsr.config import AdcVsrConfig
from adcvsr.model import AdcVsr
from adcvsr.model.decoder import PixelShuffleDecoder, unpack_frames
from adcvsr.model.temporal import StateFlow
from adcvsr.model.unet import UNetLevel

REACH = 2
"""Pixels to each side where `MatchedTap` looks for what has moved."""

SHARPNESS = 30.0
"""Initial factor on the mean squared difference of two features before the softmax."""


NO_STATE = "no state"


class Tap(nn.Module):
    """A recurrent block, `y[t] = x[t] + now(x[t]) + recall(x[t], y[t-1])`, identity at the start.

    Args:
        channels: C of input and output.
        name: Of the state tensor, (N, C, H, W).
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__()
        self.name = name
        self.now = nn.Conv2d(channels, channels, 1)
        self.before = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    @property
    def products(self) -> float:
        """Multiply-adds a position beside those of convolutions."""
        return 0.0

    def recall(self, x: Tensor, last: Tensor) -> Tensor:
        """What the result of the frame before, `last`, adds to `x`: (N, C, H, W) all three."""
        raise NotImplementedError

    def forward(self, x: Tensor, flow: StateFlow) -> Tensor:
        """Go through a clip, (N*T, C, H, W) to the same, frame by frame."""
        frames = x.view(-1, flow.frames, *x.shape[1:])
        own = (x + self.now(x)).view_as(frames)
        last = torch.zeros_like(frames[:, 0]) if flow.past is None else flow.past[self.name]
        results: list[Tensor] = []
        for frame, kept in zip(frames.unbind(1), own.unbind(1), strict=True):
            last = kept + self.recall(frame, last)
            results.append(last)
        flow.next[self.name] = last
        return torch.stack(results, 1).view_as(x)


class GatedTap(Tap):
    """A gate a channel and pixel lets the past in; it sees how far past and present differ."""

    def __init__(self, channels: int, name: str) -> None:
        super().__init__(channels, name)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1)

    def recall(self, x: Tensor, last: Tensor) -> Tensor:
        """See `Tap`."""
        gate: Tensor = self.gate((x - last).abs()).sigmoid()
        return gate * self.before(last)


class WideTap(Tap):
    """A second 3x3 tap at half the resolution, which meets motion of twice as many pixels."""

    def __init__(self, channels: int, name: str) -> None:
        super().__init__(channels, name)
        self.coarse = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(self.coarse.weight)

    def recall(self, x: Tensor, last: Tensor) -> Tensor:
        """See `Tap`."""
        coarse: Tensor = F.interpolate(self.coarse(F.avg_pool2d(last, 2)), scale_factor=2.0)
        return self.before(last) + coarse


class MatchedTap(Tap):
    """The past is first moved to where it fits: attention within a window of 5x5.

    Its weights are a softmax over shifts, by the difference of features around a pixel (3x3).
    """

    def __init__(self, channels: int, name: str) -> None:
        super().__init__(channels, name)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())
        self.prior = nn.Parameter(torch.zeros((2 * REACH + 1) ** 2))

    @property
    def products(self) -> float:
        """A square and a weighted value for each channel and shift."""
        return 2.0 * self.now.in_channels * len(self.prior)

    def recall(self, x: Tensor, last: Tensor) -> Tensor:
        """See `Tap`."""
        n, c, h, w = last.shape
        side = 2 * REACH + 1
        padded = F.pad(last, (REACH,) * 4, mode="replicate")
        shifted = F.unfold(padded, side).view(n, c, side * side, h, w)
        apart = F.avg_pool2d((x[:, :, None] - shifted).square().mean(1), 3, 1, 1)
        weights = (self.prior[:, None, None] - self.sharpness.exp() * apart).softmax(1)
        moved: Tensor = self.before((weights[:, None] * shifted).sum(2))
        return moved


def add_taps(network: AdcVsr, sites: Sequence[str], kind: type[Tap]) -> AdcVsr:
    """Put a tap after each of the named residual blocks of a network that has none.

    Args:
        network: Without temporal sites; it is changed.
        sites: Module paths in the UNet, such as `down_blocks.0.resnets.1`.
        kind: Of the taps.
    """
    for site in sites:
        path, _, index = site.rsplit(".", 2)
        level = network.unet.get_submodule(path)
        assert isinstance(level, UNetLevel)
        channels = level.resnets[int(index)].conv2.out_channels
        assert isinstance(channels, int)
        level.temporal_resnets[index] = kind(channels, "state_" + site.replace(".", "_"))
    return network


class FedBack(AdcVsr):
    """The output and the features of the frame before are further inputs of the stem.

    So does RLSP (arXiv 1909.08080), which also sees a frame to come; this one is causal.

    Args:
        config: Of the network without a state; `pixel_shuffle` decoder.
    """

    def __init__(self, config: AdcVsrConfig) -> None:
        super().__init__(config)
        assert isinstance(self.decoder, PixelShuffleDecoder)
        self.fed = (self.decoder.conv_out.out_channels, self.feature_channels)
        stem = self.unet.conv_in
        self.unet.conv_in = nn.Conv2d(
            stem.in_channels + sum(self.fed), stem.out_channels, 3, padding=1
        )

    @classmethod
    def of(cls, network: AdcVsr) -> FedBack:
        """The network with zero weights for what is fed back."""
        made = cls(network.config)
        tensors = network.state_dict()
        more = torch.zeros_like(made.unet.conv_in.weight)
        stem = tensors["unet.conv_in.weight"]
        more[:, : stem.shape[1]] = stem
        made.load_state_dict({**tensors, "unet.conv_in.weight": more})
        return made.train(network.training)

    def forward(
        self, clip: Tensor, state: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Upscale a clip frame by frame; see `AdcVsr.forward`."""
        unshuffle = self.config.unshuffle
        frames = [F.pixel_unshuffle(frame, unshuffle) for frame in clip.unbind(1)]
        n, _, h, w = frames[0].shape
        output, features = (clip.new_zeros(n, channels, h, w) for channels in self.fed)
        if state is not None:
            output, features = state["state_output"], state["state_features"]
        shown: list[Tensor] = []
        for frame in frames:
            features = self.unet(torch.cat([frame, output, features], 1), StateFlow(1))
            packed = self.decoder(features)
            output = packed.clamp(-1, 1)
            shown.append(unpack_frames(packed, self.decoder.pack_factor))
        return torch.stack(shown, 1), {"state_output": output, "state_features": features}


@dataclasses.dataclass(frozen=True)
class Student:
    """A network of the table."""

    config: AdcVsrConfig
    """What it starts as."""

    finish: Callable[[AdcVsr], AdcVsr] = lambda network: network
    """Adds what a config cannot say; it must not change what the network computes."""

    def build(self) -> AdcVsr:
        """The untrained network."""
        return self.finish(AdcVsr(self.config))


def students(base: AdcVsrConfig) -> dict[str, Student]:
    """The networks by what they are called in the table."""
    one, every = (
        base.temporal_sites,
        tuple(
            f"down_blocks.{level}.resnets.{block}"
            for level, count in enumerate(base.down_blocks)
            for block in range(count)
        ),
    )
    assert one != "all"
    longer = [(*base.down_blocks[:-1], base.down_blocks[-1] + extra) for extra in (1, 2)]
    recurrent = {"temporal_side": 3, "temporal_past": "recurrent"}
    kinds: Mapping[str, dict[str, Any]] = {
        NO_STATE: {"temporal_sites": ()},
        f"{NO_STATE}, a block more": {"temporal_sites": (), "down_blocks": longer[0]},
        f"{NO_STATE}, two blocks more": {"temporal_sites": (), "down_blocks": longer[1]},
        "1x1 tap": {"temporal_sites": one},
        "3x3 tap": {"temporal_sites": one, "temporal_side": 3},
        "3x3 taps, every block": {"temporal_sites": every, "temporal_side": 3},
        "recurrent 3x3": {"temporal_sites": one, **recurrent},
        "recurrent 3x3, every block": {"temporal_sites": every, **recurrent},
    }
    plain = dataclasses.replace(base, temporal_sites=())
    taps = {
        "recurrent 3x3, gated": GatedTap,
        "recurrent 3x3 and at half size": WideTap,
        "recurrent 3x3, matched": MatchedTap,
    }
    return {
        **{name: Student(dataclasses.replace(base, **kind)) for name, kind in kinds.items()},
        **{
            name: Student(plain, functools.partial(add_taps, sites=one, kind=kind))
            for name, kind in taps.items()
        },
        "output and features fed back": Student(plain, FedBack.of),
    }
