"""How far a network sees, from its config alone: across the picture and across time.

The runtime needs it where there is no torch: the halo of a tile and the exact part of a window.

    spatial_radius(PRESETS["nano"])   # 10: pixels of input around an output position
    temporal_reach(PRESETS["paper"])  # (76, 76): frames before and after
"""

from __future__ import annotations

from ..adopted_network import AdoptedNetwork
from ..config import AdcVsrConfig
from ..errors import ConfigError


def spatial_radius(config: AdcVsrConfig | AdoptedNetwork) -> int | None:
    """Input pixels to each side that an output position can depend on, or None for all of them.

    GroupNorm's statistics and attention see the whole picture. Without them the dependence ends
    after the same distance whatever a stream's length: a carried state holds features of a frame,
    whose distance counts once, and a tap of 3x3 pixels adds one pixel at its place. A recurrent
    network's 3x3 taps add a pixel with every frame, so that its sight has no end.

    Args:
        config: The network.

    Returns:
        The largest distance over all phases of the network's strides, for a picture that starts at
        a multiple of `config.size_multiple`; None where the network is global.
    """
    if isinstance(config, AdoptedNetwork):
        return config.radius
    if config.is_recurrent and config.temporal_side > 1:
        return None
    if config.norm == "group" or _attentions(config) or config.decoder == "vae":
        return None
    return max(
        max(position - low, high - position)
        for position in range(config.size_multiple)
        for low, high in [_seen_from(config, position)]
    )


def temporal_reach(config: AdcVsrConfig | AdoptedNetwork) -> tuple[int, int]:
    """Frames before and after an output frame that it can depend on.

    Every temporal convolution stands on the one way through the network, so their reaches add up.

    Raises:
        ConfigError: The network is recurrent: its past ends at resets alone.
    """
    if isinstance(config, AdoptedNetwork):
        return config.past, config.delay
    if config.is_recurrent:
        raise ConfigError(f"'{config.name}' is recurrent: no number of frames is all of its past")
    sites = len(config.temporal_sites)
    if config.temporal_sites == "all":
        sites = sum(config.down_blocks) + config.mid_blocks + sum(config.up_blocks)
        sites += _attentions(config)
    convs = sites * config.temporal_convs
    if config.causal:
        return (config.temporal_kernel - 1) * convs, 0
    return config.temporal_kernel // 2 * convs, config.temporal_kernel // 2 * convs


def _attentions(config: AdcVsrConfig) -> int:
    """Transformer blocks of the UNet."""
    levels = (config.down_blocks[i] + config.up_blocks[i] for i in config.attention_levels)
    return sum(levels) + int(config.mid_attention and config.mid_blocks > 1)


def _seen_from(config: AdcVsrConfig, position: int) -> tuple[int, int]:
    """First and last input position that the output of an input position depends on.

    Walks the network from its end to its start; skips see less than the way around them.
    """
    low = high = position // config.unshuffle
    low, high = low - 1, high + 1  # the decoder's convolution
    levels = len(config.widths)
    for level in range(levels):
        if level:  # upsampling: nearest neighbour, then a 3x3 convolution
            low, high = (low - 1) // 2, (high + 1) // 2
        reach = 2 * config.up_blocks[level] + _taps(config, f"up_blocks.{levels - 1 - level}")
        low, high = low - reach, high + reach
    reach = 2 * config.mid_blocks + _taps(config, "mid_block")
    low, high = low - reach, high + reach
    for level in reversed(range(levels)):
        reach = 2 * config.down_blocks[level] + _taps(config, f"down_blocks.{level}")
        low, high = low - reach, high + reach
        if level:  # downsampling: a 3x3 convolution of stride 2
            low, high = 2 * low - 1, 2 * high + 1
    low, high = low - 1, high + 1  # the stem
    return low * config.unshuffle, high * config.unshuffle + config.unshuffle - 1


def _taps(config: AdcVsrConfig, part: str) -> int:
    """Pixels that the temporal convolutions of a part of the UNet see to each side, together."""
    if config.temporal_sites == "all":
        name, _, level = part.partition(".")
        blocks = getattr(config, {"mid_block": "mid_blocks"}.get(name, name))
        if name == "up_blocks":
            level = str(len(blocks) - 1 - int(level))
        sites = blocks[int(level)] if level else blocks
    else:
        sites = sum(site.startswith(f"{part}.") for site in config.temporal_sites)
    return int(sites) * config.temporal_convs * (config.temporal_side // 2)
