"""A bundle of a small network that is not causal, as the exporter writes it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from adcvsr.bundle_schema import Window
from adcvsr.config import AdcVsrConfig
from adcvsr.export.bundle_writer import export_bundle
from adcvsr.export.manifest import BundleSettings
from adcvsr.model import AdcVsr, save_checkpoint

CONFIG = AdcVsrConfig(
    name="clip",
    unshuffle=2,
    widths=(12, 12),
    down_blocks=(1, 1),
    mid_blocks=0,
    up_blocks=(1, 0),
    skip="add",
    norm="none",
    activation="relu",
    temporal_sites=("down_blocks.0.resnets.0", "up_blocks.1.resnets.0"),
    temporal_kernel=3,
    causal=False,
)
"""Sees two frames to each side."""


def clip_network(config: AdcVsrConfig = CONFIG) -> AdcVsr:
    """The network with random weights and a temporal part that matters."""
    torch.manual_seed(0)
    network = AdcVsr(config).eval()
    network.start_as_interpolation()
    for name, parameter in network.named_parameters():
        if "temporal" in name:
            nn.init.normal_(parameter, std=0.1)
    return network


def write_clip_bundle(path: Path, network: AdcVsr, window: Window) -> Path:
    """Write its bundle with these windows, by way of a checkpoint beside it."""
    checkpoint = path.with_suffix(".safetensors")
    save_checkpoint(checkpoint, network, provenance={"recipe": "random", "licences": ["CC0-1.0"]})
    export_bundle(checkpoint, path, BundleSettings(window=window), report=lambda line: None)
    return path
