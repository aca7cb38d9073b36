"""The reach computed from a config is that of the network itself, found by its gradient."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from adcvsr.config import PRESETS, AdcVsrConfig
from adcvsr.errors import ConfigError
from adcvsr.graph.receptive import spatial_radius, temporal_reach

torch = pytest.importorskip("torch", reason="finding the real reach needs torch")

PLAIN = AdcVsrConfig(
    name="plain",
    unshuffle=1,
    widths=(4,),
    down_blocks=(2,),
    mid_blocks=0,
    up_blocks=(0,),
    skip="none",
    norm="none",
    activation="relu",
)


def changed(config: AdcVsrConfig, **fields: Any) -> AdcVsrConfig:
    return dataclasses.replace(config, **fields)


TWO_LEVELS = changed(PLAIN, widths=(4, 4), down_blocks=(1, 1), up_blocks=(1, 0), skip="add")
THREE_LEVELS = changed(PLAIN, widths=(4,) * 3, down_blocks=(1, 0, 1), up_blocks=(1, 1, 0))
MIDDLE = changed(TWO_LEVELS, unshuffle=2, mid_blocks=2, up_blocks=(0, 1))
CONCAT = changed(TWO_LEVELS, skip="concat", up_blocks=(2, 2))


def positive_network(config: AdcVsrConfig) -> Any:
    """With positive weights nothing cancels and no ReLU closes: the gradient shows every path."""
    from adcvsr.model import AdcVsr

    network = AdcVsr(config).double()
    for parameter in network.parameters():
        parameter.data = parameter.data.abs() + 0.01
    return network


@pytest.mark.parametrize(
    "config",
    [
        PLAIN,
        changed(PLAIN, unshuffle=4, down_blocks=(1,)),
        TWO_LEVELS,
        THREE_LEVELS,
        changed(THREE_LEVELS, unshuffle=2, skip="add"),
        MIDDLE,
        CONCAT,
    ],
)
def test_spatial_radius_is_the_networks(config: AdcVsrConfig) -> None:
    radius, multiple = spatial_radius(config), config.size_multiple
    assert radius is not None
    middle = (radius // multiple + 2) * multiple
    width = 2 * middle + multiple
    clip = torch.ones(1, 1, 3, 2 * multiple, width, dtype=torch.float64, requires_grad=True)
    (out,) = positive_network(config)(clip)[0]
    found = 0
    for position in range(middle, middle + multiple):
        pixels = out[..., 4 * position : 4 * position + 4].sum()
        (gradient,) = torch.autograd.grad(pixels, clip, retain_graph=True)
        columns = gradient.sum((0, 1, 2, 3)).nonzero().flatten()
        found = max(found, position - int(columns.min()), int(columns.max()) - position)
    assert found == radius


@pytest.mark.parametrize(
    "config",
    [
        changed(
            PLAIN, temporal_sites=("down_blocks.0.resnets.0",), temporal_side=3, temporal_kernel=3
        ),
        changed(PLAIN, temporal_sites="all", temporal_side=3, temporal_convs=2),
        changed(TWO_LEVELS, temporal_sites="all", temporal_side=3),
        changed(TWO_LEVELS, temporal_sites=("up_blocks.1.resnets.0",), temporal_side=3),
        changed(MIDDLE, temporal_sites="all", temporal_side=3),
    ],
)
def test_taps_of_more_than_a_pixel_widen_the_radius(config: AdcVsrConfig) -> None:
    """The radius is what the last frame's output sees of all frames together."""
    radius, multiple = spatial_radius(config), config.size_multiple
    still = spatial_radius(changed(config, temporal_side=1))
    assert radius is not None
    assert still is not None
    assert radius > still
    before, _ = temporal_reach(config)
    middle = (radius // multiple + 2) * multiple
    size = 2 * multiple, 2 * middle + multiple
    clip = torch.ones(1, before + 1, 3, *size, dtype=torch.float64, requires_grad=True)
    last = positive_network(config)(clip)[0][0, -1]
    found = 0
    for position in range(middle, middle + multiple):
        pixels = last[..., 4 * position : 4 * position + 4].sum()
        (gradient,) = torch.autograd.grad(pixels, clip, retain_graph=True)
        columns = gradient.sum((0, 1, 2, 3)).nonzero().flatten()
        found = max(found, position - int(columns.min()), int(columns.max()) - position)
    assert found == radius


def test_global_networks_have_no_radius() -> None:
    assert spatial_radius(PRESETS["paper"]) is None
    assert spatial_radius(changed(PLAIN, norm="group")) is None
    attentive = changed(TWO_LEVELS, attention_levels=(1,), attention_heads=(1, 1))
    assert spatial_radius(attentive) is None
    assert spatial_radius(changed(MIDDLE, mid_attention=True, attention_heads=(1, 1))) is None
    assert spatial_radius(PRESETS["nano"]) == 10


@pytest.mark.parametrize(
    "config",
    [
        changed(PLAIN, temporal_sites=("down_blocks.0.resnets.1",)),
        changed(TWO_LEVELS, temporal_sites="all", temporal_kernel=3, temporal_convs=2),
        changed(MIDDLE, temporal_sites="all", temporal_kernel=3, causal=False),
        changed(
            MIDDLE,
            temporal_sites="all",
            temporal_kernel=3,
            temporal_convs=2,
            causal=False,
            attention_levels=(1,),
            mid_attention=True,
            attention_heads=(1, 1),
        ),
    ],
)
def test_temporal_reach_is_the_networks(config: AdcVsrConfig) -> None:
    before, after = temporal_reach(config)
    frames = before + after + 5
    middle = before + 2
    size = 4 * config.size_multiple
    clip = torch.ones(1, frames, 3, size, size, dtype=torch.float64, requires_grad=True)
    network = positive_network(config)
    network(clip)[0][:, middle].sum().backward()
    seen = clip.grad.abs().sum((0, 2, 3, 4)).nonzero().flatten()
    assert (middle - int(seen.min()), int(seen.max()) - middle) == (before, after)


def test_published_reach() -> None:
    assert temporal_reach(PRESETS["paper"]) == (76, 76)
    assert temporal_reach(PRESETS["nano"]) == (1, 0)


def test_recurrent_networks_see_ever_further() -> None:
    config = changed(PLAIN, temporal_sites="all", temporal_past="recurrent")
    assert spatial_radius(config) == spatial_radius(PLAIN)  # one pixel's past is its own
    assert spatial_radius(changed(config, temporal_side=3)) is None
    with pytest.raises(ConfigError, match="is recurrent"):
        temporal_reach(config)
