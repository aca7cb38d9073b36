"""The feature domain: what the student's decoder gives at its mid block, and the like of pictures.

A picture's features go the way AdcSR's `train.py` takes: SD's VAE encoder, then the first layers of
the half decoder (arXiv 2603.00458, section 3.1).

    student = Student(network, features=True)
    frames, features = student(low)  # features (N, T, 256, H/8, W/8)
    encoder = read_feature_encoder(Path("sd21"), Path("halfDecoder.ckpt"))
    encoder(teacher_frames)  # the same shape
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, missing_package
from ..model import AdcVsr
from ..model.checkpoint import check_tensors
from ..model.decoder import MidBlock, VaeDecoder
from ..model.published import read_decoder_entry


class Student(nn.Module):
    """The network as the stages use it: a clip from no past, and its features where asked for.

    Args:
        network: The student.
        features: Whether to give the mid block's output too; the network has a VAE decoder then.
    """

    def __init__(self, network: AdcVsr, *, features: bool) -> None:
        super().__init__()
        self.network = network
        self.features = features

    def forward(self, low: Tensor) -> tuple[Tensor, Tensor | None]:
        """Upscale (N, T, 3, h, w) in [-1, 1] to (N, T, 3, 4h, 4w).

        Returns:
            The clip and None, or the clip and its features (N, T, C, h/2, w/2).
        """
        if not self.features:
            return self.network(low)[0], None
        kept: list[Tensor] = []
        decoder = self.network.decoder
        assert isinstance(decoder, VaeDecoder)
        handle = decoder.mid_block.register_forward_hook(
            lambda module, inputs, output: kept.append(output)
        )
        try:
            frames, _ = self.network(low)
        finally:
            handle.remove()
        return frames, kept[0].view(*low.shape[:2], *kept[0].shape[1:])


class FeatureEncoder(nn.Module):
    """Pictures to mid-block features: SD's VAE encoder, then the half decoder's first layers.

    Args:
        vae: Diffusers' AutoencoderKL.
        conv_in: The half decoder's first convolution.
        mid_block: The half decoder's mid block, as it was before training.
    """

    def __init__(self, vae: Any, conv_in: nn.Conv2d, mid_block: MidBlock) -> None:
        super().__init__()
        del vae.decoder  # 50 M parameters that nothing here uses
        self.vae, self.conv_in, self.mid_block = vae, conv_in, mid_block
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, clip: Tensor) -> Tensor:
        """Encode (N, T, 3, H, W) in [-1, 1], H and W multiples of 8, to (N, T, C, H/8, W/8)."""
        # The mean, unscaled: AdcSR samples nothing and skips the latent's scaling factor.
        latent = self.vae.encode(clip.flatten(0, 1)).latent_dist.mean
        features = self.mid_block(self.conv_in(self.vae.post_quant_conv(latent)))
        out: Tensor = features.view(*clip.shape[:2], *features.shape[1:])
        return out


def read_feature_encoder(vae: Path, half_decoder: Path) -> FeatureEncoder:
    """Read the encoder's parts.

    Args:
        vae: A diffusers folder of Stable Diffusion 2.1, or its `vae` folder.
        half_decoder: AdcSR's `halfDecoder.ckpt` or one trained with LDM's code.

    Raises:
        CheckpointError: A part is missing or does not fit the other.
        MissingPackageError: diffusers is not installed.
    """
    folder = vae / "vae" if (vae / "vae").is_dir() else vae
    if not (folder / "config.json").is_file():
        raise CheckpointError(
            f"no config.json in '{folder}'; expected a Stable Diffusion 2.1 folder in diffusers "
            "layout, or its vae folder"
        )
    try:
        diffusers: Any = importlib.import_module("diffusers")  # untyped
    except ImportError as error:
        raise missing_package("diffusers", "train", "encoding features") from error
    try:
        encoder, found = diffusers.AutoencoderKL.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # diffusers and safetensors raise several kinds of their own
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise CheckpointError(f"'{folder}' is not a readable VAE: {first}") from error
    # diffusers fills what a file lacks with random numbers and goes on.
    if found["missing_keys"]:
        raise CheckpointError(
            f"'{folder}' lacks {len(found['missing_keys'])} of the VAE's tensors, the first is "
            f"{min(found['missing_keys'])}; download it again"
        )
    conv_in, mid_block = _decoder_entry(half_decoder)
    if encoder.config["latent_channels"] != conv_in.in_channels:
        raise CheckpointError(
            f"'{half_decoder}' takes {conv_in.in_channels} latent channels, '{folder}' gives "
            f"{encoder.config['latent_channels']}; expected parts of the same model"
        )
    return FeatureEncoder(encoder, conv_in, mid_block)


def _decoder_entry(path: Path) -> tuple[nn.Conv2d, MidBlock]:
    """The half decoder's layers up to its mid block."""
    tensors = read_decoder_entry(path)
    if "conv_in.weight" not in tensors:
        raise CheckpointError(f"'{path}' holds no conv_in; expected a whole half decoder")
    width, latent = tensors["conv_in.weight"].shape[:2]
    entry = nn.ModuleDict(
        {"conv_in": nn.Conv2d(latent, width, 3, padding=1), "mid_block": MidBlock(width)}
    )
    check_tensors(tensors, entry.state_dict(), source=str(path))
    entry.load_state_dict({key: value.float() for key, value in tensors.items()})
    conv_in, mid_block = entry["conv_in"], entry["mid_block"]
    assert isinstance(conv_in, nn.Conv2d)
    assert isinstance(mid_block, MidBlock)
    return conv_in, mid_block
