"""The network: published sizes, and the temporal contract."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.model import AdcVsr
from adcvsr.model.decoder import pack_frames, unpack_frames
from tiny_configs import CAUSAL_ADD, CAUSAL_RECURRENT, CAUSAL_UNET, CAUSAL_WIDE

CAUSAL = {
    "nano": PRESETS["nano"],
    "small": PRESETS["small"],
    "tiny": CAUSAL_UNET,
    "tiny-add": CAUSAL_ADD,
    "tiny-wide": CAUSAL_WIDE,
    "tiny-recurrent": CAUSAL_RECURRENT,
}


def random_network(config: AdcVsrConfig) -> AdcVsr:
    """A network whose temporal part is not the identity it starts as."""
    torch.manual_seed(0)
    network = AdcVsr(config).eval()
    for name, parameter in network.named_parameters():
        if "temporal" in name:
            torch.nn.init.normal_(parameter, std=0.6 * parameter.shape[0] ** -0.5)
    return network


def test_published_parameter_counts() -> None:
    """456,073,683 without the temporal part (in 662 tensors, as AdcSR) and 572.9 M with it."""
    with torch.device("meta"):
        paper = AdcVsr(PRESETS["paper"])
        still = AdcVsr(dataclasses.replace(PRESETS["paper"], temporal_sites=()))
    assert sum(p.numel() for p in still.parameters()) == 456_073_683
    assert len(still.state_dict()) == 662
    assert sum(p.numel() for p in paper.parameters()) == 572_935_443
    blocks = {n.split(".conv")[0] for n in paper.state_dict() if "temporal" in n}
    assert len(blocks) == 38


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("chunks", [[1] * 7, [3, 4], [2, 1, 4], [6, 1]])
def test_any_chunking_equals_the_whole_clip(name: str, chunks: list[int]) -> None:
    network = random_network(CAUSAL[name])
    clip = torch.rand(2, 7, 3, 16, 24) * 2 - 1
    whole, last = network(clip)
    state, parts = None, []
    for part in clip.split(chunks, 1):
        out, state = network(part, state)
        parts.append(out)
    assert (torch.cat(parts, 1) - whole).abs().max() <= 1e-5
    assert state is not None
    assert state.keys() == last.keys() == network.state_divisors().keys()
    for key, tensor in state.items():
        assert (tensor - last[key]).abs().max() <= 1e-5


@torch.no_grad()
@pytest.mark.parametrize("name", CAUSAL)
def test_the_past_matters_and_reset_forgets_it(name: str) -> None:
    network = random_network(CAUSAL[name])
    clip = torch.rand(1, 4, 3, 16, 16) * 2 - 1
    whole, _ = network(clip)
    fresh, _ = network(clip[:, 2:])
    assert (fresh[:, :1] - whole[:, 2:3]).abs().max() > 1e-3
    zero = {key: torch.zeros(1, *shape) for key, shape in network.state_shapes(16, 16).items()}
    reset, _ = network(clip[:, 2:], zero)
    assert torch.equal(reset, fresh)


@torch.no_grad()
def test_causal_sees_no_future_and_the_other_does() -> None:
    clip = torch.rand(1, 5, 3, 16, 16) * 2 - 1
    changed = clip.clone()
    changed[:, 4] = 0
    causal = random_network(CAUSAL_UNET)
    assert torch.equal(causal(clip)[0][:, :4], causal(changed)[0][:, :4])
    symmetric = random_network(dataclasses.replace(CAUSAL_UNET, causal=False))
    assert symmetric.state_divisors() == {}
    assert not torch.allclose(symmetric(clip)[0][:, 3], symmetric(changed)[0][:, 3], atol=1e-4)
    with pytest.raises(ConfigError, match="not causal and carries no state"):
        symmetric(clip, {})


@torch.no_grad()
def test_temporal_blocks_start_as_identity_and_can_learn() -> None:
    network = AdcVsr(CAUSAL_UNET).eval()
    still = AdcVsr(dataclasses.replace(CAUSAL_UNET, temporal_sites=())).eval()
    still.load_state_dict({k: v for k, v in network.state_dict().items() if "temporal" not in k})
    clip = torch.rand(1, 3, 3, 16, 16) * 2 - 1
    assert (network(clip)[0] - still(clip)[0]).abs().max() <= 1e-6
    with torch.enable_grad():
        network(clip)[0].square().mean().backward()
    block = network.unet.down_blocks[0].temporal_resnets["0"]  # type: ignore[index,union-attr]
    assert block.conv2.taps[0].weight.grad.abs().max() > 0


def test_size_must_be_a_multiple() -> None:
    network = AdcVsr(CAUSAL_UNET)
    with pytest.raises(ConfigError, match="18x16 pixels, expected multiples of 4"):
        network(torch.zeros(1, 1, 3, 16, 18))


def test_unknown_temporal_site() -> None:
    with pytest.raises(ConfigError, match=r"down_blocks\.0\.temporal_resnets\.9"):
        AdcVsr(dataclasses.replace(PRESETS["nano"], temporal_sites=("down_blocks.0.resnets.9",)))


def test_packing_is_inverse_and_pixel_ordered() -> None:
    frames = torch.arange(2 * 3 * 8 * 12.0).view(2, 3, 8, 12)
    packed = pack_frames(frames, 4)
    assert torch.equal(unpack_frames(packed, 4), frames)
    # Channels are (row, column, colour): channel 3 is the next pixel's red.
    assert packed[0, 3, 0, 0] == frames[0, 0, 0, 1]


@torch.no_grad()
@pytest.mark.parametrize("unshuffle", [1, 2])
def test_start_as_interpolation(unshuffle: int) -> None:
    """With the disturbing weights at zero, the start is bilinear interpolation inside."""
    config = dataclasses.replace(PRESETS["nano"], unshuffle=unshuffle, temporal_sites=())
    network = AdcVsr(config)
    network.start_as_interpolation()
    for name, parameter in network.named_parameters():
        if "resnets" in name:
            parameter.zero_()
    network.decoder.conv_out.weight[:, 3 * unshuffle**2 :] = 0
    image = torch.rand(1, 1, 3, 16, 16) * 2 - 1
    expected = F.interpolate(image[0], scale_factor=4, mode="bilinear", align_corners=False)
    inside = slice(8 * unshuffle, -8 * unshuffle)
    difference = (network(image)[0][0] - expected)[..., inside, inside].abs().max()
    assert difference <= 1e-5


@torch.no_grad()
def test_a_wide_tap_with_only_its_middle_is_the_narrow_one() -> None:
    """So weights trained with 1x1 taps go on in a network of 3x3 ones."""
    torch.manual_seed(2)
    narrow = random_network(PRESETS["nano"])
    wide = AdcVsr(dataclasses.replace(PRESETS["nano"], temporal_side=3)).eval()
    tensors = narrow.state_dict()
    (name,) = [key for key in tensors if key.endswith("taps.0.weight")]
    wide.load_state_dict(tensors | {name: torch.nn.functional.pad(tensors[name], (1, 1, 1, 1))})
    clip = torch.rand(1, 4, 3, 16, 24) * 2 - 1
    assert (wide(clip)[0] - narrow(clip)[0]).abs().max() <= 1e-5


def test_wide_taps_need_causality() -> None:
    with pytest.raises(ConfigError, match="temporal_side=3, expected 1 when"):
        dataclasses.replace(PRESETS["paper"], temporal_side=3)


def test_configs_written_before_wide_taps_are_read() -> None:
    values = PRESETS["nano"].to_dict()
    assert "temporal_side" not in values  # the same network has the same values as before
    assert AdcVsrConfig.from_dict(values) == PRESETS["nano"]


@torch.no_grad()
def test_a_recurrent_past_ends_at_resets_alone() -> None:
    """The first frame changes the last one, however far; a finite past has forgotten it."""
    clip = torch.rand(1, 8, 3, 16, 16) * 2 - 1
    other = clip.clone()
    other[:, 0] *= -1
    for config, remembers in ((CAUSAL_RECURRENT, True), (CAUSAL_ADD, False)):
        network = random_network(config)
        changed = (network(clip)[0][:, -1] - network(other)[0][:, -1]).abs().max()
        assert bool(changed > 1e-6) == remembers


def test_a_recurrent_past_needs_one_causal_convolution_of_two_frames() -> None:
    for wrong in ({"temporal_kernel": 3}, {"temporal_convs": 2}, {"causal": False}):
        with pytest.raises(ConfigError, match="temporal_past='recurrent', expected 'finite'|odd"):
            dataclasses.replace(CAUSAL_RECURRENT, temporal_side=1, **wrong)
    with pytest.raises(ConfigError, match="'gated', expected one of 'finite', 'recurrent'"):
        AdcVsrConfig.from_dict({**CAUSAL_ADD.to_dict(), "temporal_past": "gated"})
    assert CAUSAL_RECURRENT.is_recurrent
    assert not dataclasses.replace(CAUSAL_RECURRENT, temporal_sites=()).is_recurrent
    assert AdcVsrConfig.from_dict(CAUSAL_RECURRENT.to_dict()) == CAUSAL_RECURRENT
