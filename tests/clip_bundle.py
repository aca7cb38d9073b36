"""A bundle of a small network that is not causal, made the short way: two graphs and a manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adcvsr.bundle_schema import SCHEMA_VERSION, Window
from adcvsr.config import AdcVsrConfig
from adcvsr.model import AdcVsr
from adcvsr.model.decoder import unpack_frames
from adcvsr.model.temporal import StateFlow

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


class Encoder(nn.Module):
    """uint8 (T, H, W, 3) to features (T, C, H/2, W/2)."""

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        self.network = network

    def forward(self, clip: Tensor) -> Tensor:
        frames = clip.float().permute(0, 3, 1, 2) / 127.5 - 1
        packed = F.pixel_unshuffle(frames, self.network.config.unshuffle)
        out: Tensor = self.network.unet(packed, StateFlow(clip.shape[0]))
        return out


class Decoder(nn.Module):
    """Features (1, C, h, w) to uint8 (1, 4H, 4W, 3)."""

    def __init__(self, network: AdcVsr) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        picture = unpack_frames(self.network.decoder(features), self.network.decoder.pack_factor)
        levels = picture.permute(0, 2, 3, 1) * 127.5 + 128
        return levels.clamp(0.0, 255.5).to(torch.uint8)


def clip_network(config: AdcVsrConfig = CONFIG) -> AdcVsr:
    """The network with random weights and a temporal part that matters."""
    torch.manual_seed(0)
    network = AdcVsr(config).eval()
    network.start_as_interpolation()
    for name, parameter in network.named_parameters():
        if "temporal" in name:
            nn.init.normal_(parameter, std=0.1)
    return network


def write_clip_bundle(path: Path, network: AdcVsr, window: Window, **fields: Any) -> Path:
    """Write a bundle with windows as given; `fields` replace entries of the manifest."""
    config, multiple = network.config, network.config.size_multiple
    clip = torch.zeros(3, 4 * multiple, 4 * multiple, 3, dtype=torch.uint8)
    features = Encoder(network)(clip)
    divisor = clip.shape[1] // features.shape[2]
    graphs = {
        "encoder.onnx": _onnx(Encoder(network), clip, ("clip", "features"), (0, 1, 2)),
        "decoder.onnx": _onnx(Decoder(network), features[:1], ("features", "upscaled"), (2, 3)),
    }
    shape = ["T", features.shape[1], {"of": "H", "div": divisor}, {"of": "W", "div": divisor}]
    manifest = {
        "schema": SCHEMA_VERSION,
        "name": config.name,
        "config": config.to_dict(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "trained": True,
        "size_multiple": multiple,
        "colour_match": {"mode": "none"},
        "window": dataclasses.asdict(window),
        "interface": {
            "kind": "clip",
            "input": {"name": "clip"},
            "output": {"name": "upscaled"},
            "state": [],
            "features": {"name": "features", "shape": shape},
        },
        "variants": {
            "fp32-onnx": {
                "file": "encoder.onnx",
                "decoder_file": "decoder.onnx",
                "state_dtype": "float32",
            }
        },
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
            for name, data in graphs.items()
        },
        **fields,
    }
    path.mkdir()
    (path / "manifest.json").write_text(json.dumps(manifest))
    for name, data in graphs.items():
        (path / name).write_bytes(data)
    return path


def _onnx(
    module: nn.Module, example: Tensor, names: tuple[str, str], dynamic: tuple[int, ...]
) -> bytes:
    """The graph by torch's older exporter: a tenth of the newer one's time."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and traces sizes as it should
        torch.onnx.export(
            module.eval(),
            (example,),
            buffer,
            dynamo=False,
            opset_version=20,
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={names[0]: {axis: f"{names[0]}{axis}" for axis in dynamic}},
        )
    return buffer.getvalue()
