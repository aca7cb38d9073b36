"""Bundles of small networks, causal and not, as the exporter writes them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from adcvsr.bundle.schema import Window
from adcvsr.config import AdcVsrConfig
from adcvsr.export.bundle_writer import export_bundle
from adcvsr.export.manifest import BundleSettings
from adcvsr.model import AdcVsr, save_checkpoint
from tiny_configs import CAUSAL_ADD, CLIP_ADD


def random_network(config: AdcVsrConfig) -> AdcVsr:
    """A network with random weights and a temporal part that matters."""
    torch.manual_seed(0)
    network = AdcVsr(config).eval()
    network.start_as_interpolation()
    for name, parameter in network.named_parameters():
        if "temporal" in name:
            nn.init.normal_(parameter, std=0.1)
    return network


def clip_network() -> AdcVsr:
    """The network of `write_clip_bundle`'s fixture."""
    return random_network(CLIP_ADD)


def write_tiny_bundle(folder: Path) -> None:
    """Write `checkpoint.safetensors` and the bundle `tiny` made of it."""
    checkpoint = folder / "checkpoint.safetensors"
    provenance = {"recipe": "random", "licences": ["CC0-1.0"]}
    save_checkpoint(checkpoint, random_network(CAUSAL_ADD), provenance=provenance)
    export_bundle(checkpoint, folder / "tiny", report=lambda line: None)


def write_clip_bundle(path: Path, network: AdcVsr, window: Window) -> Path:
    """Write its bundle with these windows, by way of a checkpoint beside it."""
    checkpoint = path.with_suffix(".safetensors")
    save_checkpoint(checkpoint, network, provenance={"recipe": "random", "licences": ["CC0-1.0"]})
    export_bundle(checkpoint, path, BundleSettings(window=window), report=lambda line: None)
    return path
