"""Networks small enough for tests, one of each kind."""

from __future__ import annotations

import dataclasses

from adcvsr.config import AdcVsrConfig

CAUSAL_ADD = AdcVsrConfig(
    name="tiny",
    unshuffle=1,
    widths=(8, 12),
    down_blocks=(1, 1),
    mid_blocks=0,
    up_blocks=(1, 0),
    skip="add",
    norm="none",
    activation="relu",
    temporal_sites=("down_blocks.1.resnets.0", "up_blocks.1.resnets.0"),
)
"""Causal, with two states at half the resolution."""

CAUSAL_WIDE = dataclasses.replace(
    CAUSAL_ADD, temporal_sites="all", temporal_side=3, temporal_kernel=3, temporal_convs=2
)
"""Taps of 3x3 pixels after every block, two convolutions of three frames each."""

CAUSAL_RECURRENT = dataclasses.replace(
    CAUSAL_ADD, temporal_sites="all", temporal_side=3, temporal_past="recurrent"
)
"""Taps of 3x3 pixels after every block that see what the block gave a frame before."""

CLIP_ADD = dataclasses.replace(
    CAUSAL_ADD,
    name="clip",
    unshuffle=2,
    widths=(12, 12),
    temporal_sites=("down_blocks.0.resnets.0", "up_blocks.1.resnets.0"),
    temporal_kernel=3,
    causal=False,
)
"""Sees two frames to each side."""

CAUSAL_UNET = AdcVsrConfig(
    name="tiny",
    unshuffle=2,
    widths=(8, 16),
    down_blocks=(2, 1),
    mid_blocks=2,
    up_blocks=(3, 2),
    skip="concat",
    norm="group",
    activation="silu",
    attention_levels=(1,),
    mid_attention=True,
    attention_heads=(2, 4),
    temporal_sites="all",
    temporal_kernel=3,
    temporal_convs=2,
    causal=True,
    decoder="vae",
    decoder_widths=(8, 8, 8, 8),
)
"""The published network's parts: concatenated skips, attention, VAE decoder; causal."""

CLIP_UNET = dataclasses.replace(
    CAUSAL_UNET,
    name="tiny-vae",
    widths=(8, 8),
    down_blocks=(1, 1),
    up_blocks=(2, 2),
    attention_levels=(0,),
    attention_heads=(1, 1),
    causal=False,
    decoder_widths=(8, 8, 8, 16),
)
"""Not causal, as the published network is."""
