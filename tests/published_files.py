"""Files as AdcSR publishes them, written with random weights, and the names in them."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from adcvsr.config import AdcVsrConfig
from adcvsr.model import AdcVsr

LIGHTNING = "pytorch_lightning.callbacks.model_checkpoint"


def published_key(key: str) -> str:
    if key.startswith("unet."):
        return key.replace("unet.", "body.1.", 1)
    return key.replace("decoder.mid_block.", "body.2.", 1)


def write_adcsr(folder: Path, config: AdcVsrConfig) -> tuple[AdcVsr, Path, Path]:
    """A network without temporal part, and the two files AdcSR would publish it in."""
    torch.manual_seed(1)
    network = AdcVsr(dataclasses.replace(config, temporal_sites=())).eval()
    weights = network.state_dict()
    net, tail = {}, {}
    for key, tensor in weights.items():
        name = published_key(key)
        if name.startswith("body."):
            net[f"module.{name}"] = tensor
            alias = _alias(name)
            if alias:
                net[f"module.{alias}"] = tensor
        else:
            tail[key] = tensor
    torch.save(net, folder / "net_params_200.pkl")
    middle = {
        f"decoder.mid_block.{k.split('mid_block.')[1]}": v
        for k, v in weights.items()
        if "mid_block" in k and k.startswith("decoder")
    }
    width = config.decoder_widths[-1]
    stem = {"weight": torch.zeros(width, 4, 3, 3), "bias": torch.zeros(width)}
    half = {"loss.logvar": torch.zeros(1), **{f"decoder.conv_in.{k}": v for k, v in stem.items()}}
    write_lightning(folder / "halfDecoder.ckpt", {**half, **tail, **middle})
    return network, folder / "net_params_200.pkl", folder / "halfDecoder.ckpt"


def _alias(name: str) -> str | None:
    """The second name AdcSR's file has for a tensor of the UNet's body."""
    heads = ["down_blocks.0", "down_blocks.1", "down_blocks.2", "down_blocks.3", "mid_block"]
    heads += ["up_blocks.0", "up_blocks.1", "up_blocks.2", "up_blocks.3", "conv_norm_out"]
    for index, head in enumerate([*heads, "", "conv_out"]):
        if head and name.startswith(f"body.1.{head}."):
            return f"body.1.body.{index}." + name.removeprefix(f"body.1.{head}.")
    return None


def write_lightning(path: Path, state: dict[str, Tensor]) -> None:
    """A Lightning checkpoint: with a class of that package's name, forgotten as soon as written."""
    names = ("pytorch_lightning", "pytorch_lightning.callbacks", LIGHTNING)
    known = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    sys.modules.update({name: ModuleType(name) for name in names})
    try:
        hook = type("ModelCheckpoint", (), {"__module__": LIGHTNING})
        setattr(sys.modules[LIGHTNING], hook.__name__, hook)
        instance = hook()
        instance.best = 3
        callbacks = {hook: {"best": 1}, "x": instance}
        torch.save({"epoch": 3, "callbacks": callbacks, "state_dict": state}, path)
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(known)
